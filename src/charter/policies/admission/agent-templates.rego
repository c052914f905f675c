# Templates for agents: minimal, strictly connected, short-lived and without an editor.
package admission.agent_templates

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Templates for agents are minimal"
# custom:
#   id: agent/template-image
#   severity: medium
#   controls: ["ISO27001 A.8.9", "EU-AI-Act Art.15"]
#   owner: platform-team
#   fix: "Build the template on a minimal image of data/images.json."
deny contains {
	"id": "agent/template-image",
	"message": sprintf("The image %v is not one of the minimal images for agents.", [object.get(asked, "image", "without a name")]),
} if {
	for_agents
	not minimal
}

# METADATA
# title: "Templates for agents have no editor"
# custom:
#   id: agent/template-editor
#   severity: low
#   controls: ["ISO27001 A.8.9"]
#   owner: platform-team
#   fix: "Take the editor out of the template."
deny contains {
	"id": "agent/template-editor",
	"message": sprintf("The template for agents brings the %v %v.", [tool.category, tool.name]),
} if {
	for_agents
	some tool in object.get(asked, "tools", [])
	tool.category in data.settings.catalogue.not_for_agents
}

# METADATA
# title: "Templates for agents name their destinations"
# custom:
#   id: agent/template-network
#   severity: high
#   controls: ["SOC2 CC6.6", "EU-AI-Act Art.15"]
#   owner: security-team
#   fix: "List the destinations in network.egressAllowlist; an empty list means none."
deny contains {
	"id": "agent/template-network",
	"message": "The template for agents does not say where they may connect.",
} if {
	for_agents
	not is_array(object.get(asked, ["network", "egressAllowlist"], null))
}

# METADATA
# title: "Templates for agents end soon"
# custom:
#   id: agent/template-runtime
#   severity: medium
#   controls: ["ISO27001 A.8.6", "EU-AI-Act Art.14"]
#   owner: platform-team
#   fix: "Set max_runtime_seconds to what agents have at most."
deny contains {
	"id": "agent/template-runtime",
	"message": sprintf("A longest run of %v seconds is more than the %v that agents have.", [runtime, data.settings.lifecycle.agent.max_runtime_seconds]),
} if {
	for_agents
	runtime := object.get(asked, "max_runtime_seconds", data.settings.lifecycle.human.max_runtime_seconds)
	runtime > data.settings.lifecycle.agent.max_runtime_seconds
}

for_agents if {
	facts.action == "template.publish"
	"agent" in object.get(input, ["resource", "spec", "for_kinds"], [])
}

asked := object.get(input, ["resource", "spec"], {})

minimal if {
	some prefix in data.settings.images.minimal
	startswith(object.get(asked, "image", ""), prefix)
}
