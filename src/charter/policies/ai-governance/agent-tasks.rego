# What people may send agents to do: named repositories, a tier that begins narrow, and a yes from
# the team lead where it is wide.
package ai_governance.agent_tasks

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "A task names its repositories"
# custom:
#   id: ai/repositories-missing
#   severity: medium
#   controls: ["EU-AI-Act Art.14", "SOC2 CC6.3"]
#   owner: security-team
#   fix: "Name at least one repository."
deny contains {
	"id": "ai/repositories-missing",
	"message": "The task names no repository.",
} if {
	facts.action == "agent.create"
	count(facts.repositories) == 0
}

# METADATA
# title: "Repositories are named one by one"
# custom:
#   id: ai/repository-wildcard
#   severity: high
#   controls: ["EU-AI-Act Art.14", "SOC2 CC6.3"]
#   owner: security-team
#   fix: "Name each repository."
deny contains {
	"id": "ai/repository-wildcard",
	"message": sprintf("The repository %v is a pattern; an agent is scoped to named ones.", [repository]),
} if {
	facts.action == "agent.create"
	some repository in facts.repositories
	contains(repository, "*")
}

# METADATA
# title: "A task over many repositories needs approval"
# custom:
#   id: ai/many-repositories
#   severity: medium
#   controls: ["EU-AI-Act Art.14", "SOC2 CC6.3"]
#   owner: security-team
#   fix: "Name fewer repositories, or ask for approval."
require_approval contains {
	"id": "ai/many-repositories",
	"message": sprintf("%v repositories are more than the %v of a usual task.", [count(facts.repositories), data.settings.tasks.repositories_max]),
} if {
	facts.action == "agent.create"
	count(facts.repositories) > data.settings.tasks.repositories_max
}

# METADATA
# title: "A new agent has a known tier"
# custom:
#   id: ai/tier-unknown
#   severity: high
#   controls: ["SOC2 CC6.3"]
#   owner: security-team
#   fix: "Use one of the tiers read-only, sandboxed, standard, trusted."
deny contains {
	"id": "ai/tier-unknown",
	"message": sprintf("There is no tier %v.", [facts.asked_tier]),
} if {
	facts.action == "agent.create"
	not data.settings.tiers[facts.asked_tier]
}

# METADATA
# title: "The trusted tier needs approval"
# custom:
#   id: ai/trusted-tier-needs-approval
#   severity: high
#   controls: ["EU-AI-Act Art.14", "SOC2 CC6.3"]
#   owner: security-team
#   fix: "Ask the team lead and say why, or begin with a narrower tier."
require_approval contains {
	"id": "ai/trusted-tier-needs-approval",
	"message": "An agent of the tier trusted can merge and trigger pipelines, and needs approval.",
} if {
	facts.action == "agent.create"
	facts.asked_tier == "trusted"
}

# METADATA
# title: "Begin narrow, widen deliberately"
# custom:
#   id: ai/standard-tier
#   severity: low
#   controls: ["EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Begin with the tier read-only or sandboxed where that is enough."
warn contains {
	"id": "ai/standard-tier",
	"message": "The agent begins with network; a narrower tier is the usual beginning.",
} if {
	facts.action == "agent.create"
	facts.asked_tier == "standard"
}

# METADATA
# title: "Only trusted agents merge"
# custom:
#   id: ai/merge-needs-trusted
#   severity: high
#   controls: ["EU-AI-Act Art.14", "SOC2 CC8.1"]
#   owner: security-team
#   fix: "Open a pull request and let a person merge it."
deny contains {
	"id": "ai/merge-needs-trusted",
	"message": sprintf("An agent of the tier %v may not merge or trigger pipelines.", [input.subject.tier]),
} if {
	facts.agent
	facts.action in {"code.merge", "pipeline.run"}
	input.subject.tier != "trusted"
}

# METADATA
# title: "Only standard and trusted agents propose changes"
# custom:
#   id: ai/propose-needs-standard
#   severity: medium
#   controls: ["EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Leave the change in the workspace for the sponsor."
deny contains {
	"id": "ai/propose-needs-standard",
	"message": sprintf("An agent of the tier %v may not open pull requests.", [input.subject.tier]),
} if {
	facts.agent
	facts.action == "code.propose"
	not input.subject.tier in {"standard", "trusted"}
}
