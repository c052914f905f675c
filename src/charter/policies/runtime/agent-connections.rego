# Where agents connect: what their workspace lists and what every agent needs (registries, the gateway to
# models, Git), internal services by the scope of the task, and nothing unlogged.
package runtime.agent_connections

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Agents reach listed destinations only"
# custom:
#   id: agent/destination-not-listed
#   severity: high
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.23", "EU-AI-Act Art.15"]
#   owner: security-team
#   fix: "Add the host to the workspace's allowlist when the task needs it."
deny contains {
	"id": "agent/destination-not-listed",
	"message": sprintf("%v is not among the destinations of this agent.", [host]),
} if {
	facts.action == "network.connect"
	facts.agent
	not inside
	not listed
}

# METADATA
# title: "Agents look up listed names only"
# custom:
#   id: agent/name-not-listed
#   severity: medium
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.23", "EU-AI-Act Art.15"]
#   owner: security-team
#   fix: "Add the host to the workspace's allowlist when the task needs it."
deny contains {
	"id": "agent/name-not-listed",
	"message": sprintf("The name %v is not looked up for this agent.", [host]),
} if {
	facts.action == "network.resolve"
	facts.agent
	not inside
	not listed
}

# METADATA
# title: "Agents reach the internal services of their task"
# custom:
#   id: agent/internal-service
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.22", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Let the sponsor add the service to the task."
deny contains {
	"id": "agent/internal-service",
	"message": sprintf("The internal service %v does not belong to the task.", [host]),
} if {
	leaving
	facts.agent
	inside
	not host in object.get(input, ["context", "task", "services"], [])
}

# METADATA
# title: "Every connection of an agent is logged"
# custom:
#   id: agent/connection-not-logged
#   severity: high
#   controls: ["SOC2 CC7.2", "ISO27001 A.8.15", "EU-AI-Act Art.12"]
#   owner: security-team
#   fix: "Switch the connection log of the gateway on."
deny contains {
	"id": "agent/connection-not-logged",
	"message": "The connection would not be logged.",
} if {
	facts.action == "network.connect"
	facts.agent
	object.get(input, ["context", "connection", "logged"], false) != true
}

# METADATA
# title: "Tiers without network stay without"
# custom:
#   id: agent/no-network-tier
#   severity: critical
#   controls: ["SOC2 CC6.6", "EU-AI-Act Art.15"]
#   owner: security-team
#   fix: "Ask the team lead for a tier with network."
deny contains {
	"id": "agent/no-network-tier",
	"message": sprintf("An agent of the tier %v has no network.", [input.subject.tier]),
} if {
	leaving
	facts.agent
	facts.tier
	not "egress" in facts.tier.network_modes
}

leaving if facts.action in {"network.connect", "network.resolve"}

host := lower(object.get(input, ["resource", "spec", "host"], ""))

below(name, suffix) if name == suffix

below(name, suffix) if endswith(name, concat("", [".", suffix]))

listed if {
	some entry in data.settings.network.agent_destinations
	below(host, entry)
}

listed if {
	some entry in object.get(input, ["context", "egress", "allowlist"], [])
	entry_covers(lower(split(entry, ":")[0]))
}

entry_covers(name) if name == host

# *.example.org stands for what is below example.org.
entry_covers(name) if {
	startswith(name, "*.")
	endswith(host, trim_prefix(name, "*"))
}

inside if {
	some suffix in data.settings.network.internal_suffixes
	below(host, suffix)
}
