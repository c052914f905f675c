# Code that agents wrote: the same review as everybody's, by people; its origin stays visible; and no agent
# has a say about its own work.
package compliance.agent_code

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Agents' code passes the same review as people's"
# custom:
#   id: agent/code-review-missing
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.28", "EU-AI-Act Art.14", "PCI-DSS 6.2.3"]
#   owner: security-team
#   fix: "Ask as many people for a review as for a colleague's change."
deny contains {
	"id": "agent/code-review-missing",
	"message": sprintf("%v people have reviewed the agent's change; %v are needed, as for everybody.", [count(people), needed]),
} if {
	facts.action == "code.merge"
	change.written_by == "agent"
	count(people) < needed
}

# METADATA
# title: "It stays visible who wrote the code"
# custom:
#   id: agent/code-origin-missing
#   severity: medium
#   controls: ["EU-AI-Act Art.50", "SOC2 CC8.1"]
#   owner: security-team
#   fix: "Say in the change whether a person, an agent, or a person with an assistant wrote it (written_by)."
deny contains {
	"id": "agent/code-origin-missing",
	"message": "The change does not say whether a person or an agent wrote it.",
} if {
	facts.action == "code.merge"
	not object.get(change, "written_by", "") in data.settings.code.origins
}

# METADATA
# title: "No agent merges its own change"
# custom:
#   id: agent/merges-own
#   severity: critical
#   controls: ["SOC2 CC6.3", "ISO27001 A.5.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Let a person merge it."
deny contains {
	"id": "agent/merges-own",
	"message": "An agent may not merge its own change.",
} if {
	facts.action == "code.merge"
	facts.agent
	change.author == input.subject.id
}

# METADATA
# title: "No agent approves code"
# custom:
#   id: agent/reviews-code
#   severity: critical
#   controls: ["SOC2 CC6.3", "ISO27001 A.5.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Let a person review the change; an agent may comment."
deny contains {
	"id": "agent/reviews-code",
	"message": "An agent may not approve a change, its own or another's.",
} if {
	facts.action == "code.review"
	facts.agent
}

# METADATA
# title: "Agents work on the repositories of their task"
# custom:
#   id: agent/foreign-repository
#   severity: high
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Let the sponsor name the repository in the task."
deny contains {
	"id": "agent/foreign-repository",
	"message": sprintf("The repository %v does not belong to the task.", [input.resource.spec.repository]),
} if {
	facts.action in {"code.merge", "code.push", "code.propose"}
	facts.agent
	not input.resource.spec.repository in object.get(input, ["context", "task", "repositories"], [])
}

change := object.get(input, ["context", "change"], {})

people := {who.id |
	some who in object.get(change, "reviewers", [])
	who.kind == "human"
}

needed := object.get(data.settings.code.reviews, object.get(input, ["context", "environment"], "development"), 1)
