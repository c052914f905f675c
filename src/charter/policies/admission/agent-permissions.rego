# What agents may ask for, apart from the rules for people: a smaller box, no network of the host,
# a task and a sponsor for everything, and no part in governing themselves.
package admission.agent_permissions

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Agent workspaces state where they may connect"
# custom:
#   id: agent/egress-allowlist-missing
#   severity: high
#   controls: ["SOC2 CC6.6", "EU-AI-Act Art.15"]
#   owner: security-team
#   fix: "Send egress_allowlist (in an admission review: network.egressAllowlist), the hosts that the task needs; an empty list means none."
deny contains {
	"id": "agent/egress-allowlist-missing",
	"message": "Agent workspaces require explicit egress allowlist",
} if {
	facts.placing
	facts.agent_workspace
	not allowlist_given
}

# METADATA
# title: "A tier with network names its destinations"
# custom:
#   id: agent/allowlist-empty
#   severity: medium
#   controls: ["SOC2 CC6.6", "EU-AI-Act Art.15"]
#   owner: security-team
#   fix: "Name at least one host, or use a tier without network."
deny contains {
	"id": "agent/allowlist-empty",
	"message": "The workspace asks for network and names no destination.",
} if {
	facts.placing
	facts.agent_workspace
	facts.spec.network.mode == "egress"
	facts.spec.network.egressAllowlist == []
}

# METADATA
# title: "A long allowlist is pointed out"
# custom:
#   id: agent/allowlist-long
#   severity: low
#   controls: ["SOC2 CC6.6"]
#   owner: security-team
#   fix: "Keep to the hosts that this task needs."
warn contains {
	"id": "agent/allowlist-long",
	"message": sprintf("%v allowed destinations are many for one task.", [entries]),
} if {
	facts.placing
	facts.agent_workspace
	allowlist_given
	entries := count(facts.spec.network.egressAllowlist)
	entries > data.settings.network.agent_allowlist_entries
}

# METADATA
# title: "An agent acts only on a task"
# custom:
#   id: agent/no-task
#   severity: critical
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Let the sponsor create the agent for a task."
deny contains {
	"id": "agent/no-task",
	"message": "An agent without a task may not act.",
} if {
	facts.agent
	object.get(input.subject, "task", null) in {null, ""}
}

# METADATA
# title: "Every agent has a human sponsor"
# custom:
#   id: agent/no-sponsor
#   severity: critical
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Let a person sponsor the agent."
deny contains {
	"id": "agent/no-sponsor",
	"message": "An agent without a human sponsor may not act.",
} if {
	facts.agent
	object.get(input.subject, "sponsor", null) in {null, ""}
}

# METADATA
# title: "Every agent has a known tier"
# custom:
#   id: agent/unknown-tier
#   severity: critical
#   controls: ["SOC2 CC6.3"]
#   owner: security-team
#   fix: "Give the agent one of the tiers read-only, sandboxed, standard, trusted."
deny contains {
	"id": "agent/unknown-tier",
	"message": "The agent has no tier that the policy knows.",
} if {
	facts.agent
	not facts.tier
}

# METADATA
# title: "An agent's workspace is marked as one"
# custom:
#   id: agent/not-marked
#   severity: high
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.50"]
#   owner: security-team
#   fix: "Mark the workspace as an agent's (spec.agent)."
deny contains {
	"id": "agent/not-marked",
	"message": "An agent asks for a workspace that is not marked as an agent's.",
} if {
	facts.placing
	facts.agent
	facts.spec.agent != true
}

# METADATA
# title: "Agents never share the host's network"
# custom:
#   id: agent/host-network
#   severity: critical
#   controls: ["SOC2 CC6.6", "EU-AI-Act Art.15"]
#   owner: security-team
#   fix: "Use the network mode none, or egress with an allowlist."
deny contains {
	"id": "agent/host-network",
	"message": "Agent workspaces never get the network of the host.",
} if {
	facts.placing
	facts.agent_workspace
	facts.spec.network.mode == "host"
}

# METADATA
# title: "An agent's network follows its tier"
# custom:
#   id: agent/network-outside-tier
#   severity: high
#   controls: ["SOC2 CC6.6", "EU-AI-Act Art.15"]
#   owner: security-team
#   fix: "Use the network mode none, or ask the team lead for a wider tier."
deny contains {
	"id": "agent/network-outside-tier",
	"message": sprintf("The tier %v does not include the network mode %v.", [facts.spec.tier, facts.spec.network.mode]),
} if {
	facts.placing
	facts.agent_workspace
	facts.workspace_tier
	facts.spec.network.mode != "host"
	not facts.spec.network.mode in facts.workspace_tier.network_modes
}

# METADATA
# title: "An agent's workspace has a known tier"
# custom:
#   id: agent/workspace-tier-unknown
#   severity: high
#   controls: ["SOC2 CC6.6"]
#   owner: security-team
#   fix: "Give spec.tier, the tier of the agent."
deny contains {
	"id": "agent/workspace-tier-unknown",
	"message": "The agent workspace has no tier that the policy knows.",
} if {
	facts.placing
	facts.agent_workspace
	not facts.workspace_tier
}

# METADATA
# title: "A workspace is not wider than its agent"
# custom:
#   id: agent/wider-than-tier
#   severity: critical
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Ask for a workspace of the agent's own tier."
deny contains {
	"id": "agent/wider-than-tier",
	"message": "The workspace has another tier than the agent that asks for it.",
} if {
	facts.placing
	facts.agent
	facts.spec.tier != input.subject.tier
}

# METADATA
# title: "CPUs of an agent's workspace are limited"
# custom:
#   id: agent/cpu-above-maximum
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take fewer CPUs; agents work in small workspaces."
deny contains {
	"id": "agent/cpu-above-maximum",
	"message": sprintf("%v vCPU are more than the %v that an agent's workspace can have.", [facts.cpu, data.settings.limits.agent_cpu_max]),
} if {
	facts.placing
	facts.agent_workspace
	facts.cpu > data.settings.limits.agent_cpu_max
}

# METADATA
# title: "Memory of an agent's workspace is limited"
# custom:
#   id: agent/memory-above-maximum
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take less memory; agents work in small workspaces."
deny contains {
	"id": "agent/memory-above-maximum",
	"message": sprintf("%s of memory are more than the %s that an agent's workspace can have.", [facts.size(facts.memory_mib), facts.size(data.settings.limits.agent_memory_max_mib)]),
} if {
	facts.placing
	facts.agent_workspace
	facts.memory_mib > data.settings.limits.agent_memory_max_mib
}

# METADATA
# title: "Storage of an agent's workspace is limited"
# custom:
#   id: agent/disk-above-maximum
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take less storage; agents keep their results in the repository."
deny contains {
	"id": "agent/disk-above-maximum",
	"message": sprintf("%s of storage are more than the %s that an agent's workspace can have.", [facts.size(facts.disk_mib), facts.size(data.settings.limits.agent_disk_max_mib)]),
} if {
	facts.placing
	facts.agent_workspace
	facts.disk_mib > data.settings.limits.agent_disk_max_mib
}

# METADATA
# title: "Agents get no GPU"
# custom:
#   id: agent/gpu
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Let a person run the GPU work."
deny contains {
	"id": "agent/gpu",
	"message": "Agent workspaces get no GPU.",
} if {
	facts.placing
	facts.agent_workspace
	facts.gpu > 0
}

# METADATA
# title: "Agents use the sizes made for them"
# custom:
#   id: agent/size-not-for-agents
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Choose the size agent."
deny contains {
	"id": "agent/size-not-for-agents",
	"message": sprintf("The size %v is not made for agents.", [facts.spec.size]),
} if {
	facts.placing
	facts.agent_workspace
	size := data.settings.sizes.sizes[object.get(facts.spec, "size", "")]
	not "agent" in size.kinds
}

# METADATA
# title: "Writing follows the tier"
# custom:
#   id: agent/write-outside-tier
#   severity: high
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Suggest the change in words, or ask the team lead for a wider tier."
deny contains {
	"id": "agent/write-outside-tier",
	"message": sprintf("An agent of the tier %v may not write files.", [input.subject.tier]),
} if {
	facts.action == "workspace.write-files"
	facts.agent
	facts.tier.write == false
}

# METADATA
# title: "Running commands follows the tier"
# custom:
#   id: agent/execute-outside-tier
#   severity: high
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Read the files instead, or ask the team lead for a wider tier."
deny contains {
	"id": "agent/execute-outside-tier",
	"message": sprintf("An agent of the tier %v may not run commands.", [input.subject.tier]),
} if {
	facts.action == "workspace.execute"
	facts.agent
	facts.tier.execute == false
}

# METADATA
# title: "Reading follows the tier"
# custom:
#   id: agent/read-outside-tier
#   severity: high
#   controls: ["SOC2 CC6.3"]
#   owner: security-team
#   fix: "Ask the team lead for a wider tier."
deny contains {
	"id": "agent/read-outside-tier",
	"message": sprintf("An agent of the tier %v may not read files.", [input.subject.tier]),
} if {
	facts.action == "workspace.read-files"
	facts.agent
	facts.tier.read == false
}

# METADATA
# title: "The provider confines agents"
# custom:
#   id: agent/capability-missing
#   severity: critical
#   controls: ["SOC2 CC6.6", "EU-AI-Act Art.15"]
#   owner: security-team
#   fix: "Choose another provider for agents: charter provider capabilities."
deny contains {
	"id": "agent/capability-missing",
	"message": sprintf("The provider cannot enforce %v, which agent workspaces need.", [needed]),
} if {
	facts.placing
	facts.agent_workspace
	some needed in data.settings.providers.required_capabilities.agent
	not needed in facts.capabilities
}

# METADATA
# title: "Agents do not govern"
# custom:
#   id: agent/humans-only
#   severity: critical
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Let a person do this."
deny contains {
	"id": "agent/humans-only",
	"message": sprintf("%v is for people only.", [facts.action]),
} if {
	facts.agent
	facts.action in data.settings.actions.humans_only
}

# METADATA
# title: "Agents never approve"
# custom:
#   id: agent/approves
#   severity: critical
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Let a person with the approver's role vote."
deny contains {
	"id": "agent/approves",
	"message": "An agent may not approve anything, least of all its own work.",
} if {
	facts.agent
	facts.action == "approval.vote"
}

# METADATA
# title: "Agents do not create agents"
# custom:
#   id: agent/creates-agents
#   severity: critical
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Ask the sponsor to create the other agent."
deny contains {
	"id": "agent/creates-agents",
	"message": "An agent may not create another agent.",
} if {
	facts.agent
	facts.action == "agent.create"
}

# METADATA
# title: "Agents do not extend their own time"
# custom:
#   id: agent/extends
#   severity: high
#   controls: ["SOC2 CC6.3"]
#   owner: security-team
#   fix: "Finish within the time of the task, or ask the sponsor for a new task."
deny contains {
	"id": "agent/extends",
	"message": "An agent may not extend the time of a workspace.",
} if {
	facts.agent
	facts.action == "workspace.extend"
}

# METADATA
# title: "An agent stays in its sponsor's teams"
# custom:
#   id: agent/foreign-team
#   severity: high
#   controls: ["SOC2 CC6.3"]
#   owner: security-team
#   fix: "Ask for a workspace in one of the agent's teams."
deny contains {
	"id": "agent/foreign-team",
	"message": "The workspace would belong to a team that is not the agent's.",
} if {
	facts.creating
	facts.agent
	team := object.get(input.resource, "team", null)
	team != null
	not team in object.get(input.subject, "teams", [])
}

# Defined and a list; an explicit empty list is an answer: nowhere.
allowlist_given if is_array(facts.spec.network.egressAllowlist)
