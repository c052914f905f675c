# What can be had for a while: more room for an agent in one task, more of a quota, and an emergency
# role that nobody has to approve beforehand. The bounds stand in data/elevation.json, the approvers in
# data/approvals.json. Charter's invariants hold beside: an agent never exceeds its role or its sponsor.
package admission.temporary_elevation

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "More room for an agent needs the team lead's yes"
# custom:
#   id: elevation/agent-needs-approval
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.2", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Ask the team lead, and say what the task needs it for; it ends with the task."
require_approval contains {
	"id": "elevation/agent-needs-approval",
	"message": "An agent gets more room for its task when the team lead says yes.",
} if {
	elevating
}

# METADATA
# title: "Agents are raised to listed tiers only"
# custom:
#   id: elevation/tier-not-given
#   severity: high
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Ask for one of the tiers in data/elevation.json."
deny contains {
	"id": "elevation/tier-not-given",
	"message": sprintf("No agent is raised to the tier %v.", [tier]),
} if {
	elevating
	tier := object.get(asked, "tier", null)
	tier != null
	not tier in data.settings.elevation.agents.tiers
}

# METADATA
# title: "Agents get listed permissions only"
# custom:
#   id: elevation/permission-not-given
#   severity: critical
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Let a person do this part of the work."
deny contains {
	"id": "elevation/permission-not-given",
	"message": sprintf("%v is given to no agent beside its tier.", [permission]),
} if {
	elevating
	some permission in object.get(asked, "permissions", [])
	not permission in data.settings.elevation.agents.permissions
}

# METADATA
# title: "A task touches few repositories, elevated or not"
# custom:
#   id: elevation/too-many-repositories
#   severity: medium
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Split the work into tasks."
deny contains {
	"id": "elevation/too-many-repositories",
	"message": sprintf("%v repositories are more than the %v of one task.", [count(together), data.settings.elevation.agents.repositories_max]),
} if {
	elevating
	together := {each | some each in object.get(asked, "repositories", [])} | {each | some each in object.get(input, ["context", "task", "repositories"], [])}
	count(together) > data.settings.elevation.agents.repositories_max
}

# METADATA
# title: "More of one's own quota needs a yes"
# custom:
#   id: quota/raise-needs-approval
#   severity: medium
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Ask for it, and say what the work needs it for; it ends by itself."
require_approval contains {
	"id": "quota/raise-needs-approval",
	"message": "More than the quota gives is had with a yes, and for a while.",
} if {
	raising
	not shared
}

# METADATA
# title: "More of a shared quota needs the platform's yes"
# custom:
#   id: quota/shared-raise-needs-approval
#   severity: medium
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Ask for it, and say what the team needs it for; it ends by itself."
require_approval contains {
	"id": "quota/shared-raise-needs-approval",
	"message": "More than a team's or project's quota gives is had with a platform admin's yes, and for a while.",
} if {
	raising
	shared
}

# METADATA
# title: "A raised quota has an end in sight"
# custom:
#   id: quota/raise-too-long
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Ask for less time, or ask for another quota for good."
deny contains {
	"id": "quota/raise-too-long",
	"message": sprintf("%v seconds are not within the %v of one override.", [asked.seconds, data.settings.elevation.quotas.max_seconds]),
} if {
	raising
	not within(asked.seconds, data.settings.elevation.quotas.max_seconds)
}

# METADATA
# title: "A quota is raised within bounds"
# custom:
#   id: quota/raise-too-much
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Ask for less, or ask for another quota for good."
deny contains {
	"id": "quota/raise-too-much",
	"message": sprintf("%v more of %v is not within the %v of one override.", [asked.amount, asked.dimension, most]),
} if {
	raising
	most := object.get(data.settings.elevation.quotas.most, asked.dimension, 0)
	not within(asked.amount, most)
}

# METADATA
# title: "An emergency role is for the people that policy names"
# custom:
#   id: break-glass/not-named
#   severity: critical
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.2", "HIPAA 164.312(a)(2)(ii)"]
#   owner: security-team
#   fix: "Call somebody whom data/elevation.json names, or ask for a role in the ordinary way."
deny contains {
	"id": "break-glass/not-named",
	"message": sprintf("The policy does not name you for the emergency role %v.", [asked.role]),
} if {
	breaking
	not named
}

# METADATA
# title: "An emergency role is short"
# custom:
#   id: break-glass/too-long
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.2"]
#   owner: security-team
#   fix: "Take it for less time."
deny contains {
	"id": "break-glass/too-long",
	"message": sprintf("%v seconds are not within the %v of this emergency role.", [asked.seconds, emergency.seconds]),
} if {
	breaking
	not within(asked.seconds, emergency.seconds)
}

# METADATA
# title: "An emergency role is taken for a reason"
# custom:
#   id: break-glass/no-reason
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.2"]
#   owner: security-team
#   fix: "Say what happened; whoever reviews it reads it."
deny contains {
	"id": "break-glass/no-reason",
	"message": "Nobody breaks the glass without saying why.",
} if {
	breaking
	not facts.justified
}

# METADATA
# title: "An emergency is reviewed by those whom policy names"
# custom:
#   id: break-glass/not-a-reviewer
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.5.3"]
#   owner: security-team
#   fix: "Leave it to one of the reviewers in data/elevation.json."
deny contains {
	"id": "break-glass/not-a-reviewer",
	"message": "Your roles are not among those that review an emergency.",
} if {
	facts.action == "break-glass.review"
	count({role | some role in input.subject.roles} & {role | some role in data.settings.elevation.break_glass.reviewers}) == 0
}

asked := object.get(input, ["resource", "spec"], {})

elevating if facts.action == "agent.elevate"

raising if facts.action == "quota.request"

breaking if facts.action == "break-glass.start"

shared if not startswith(asked.scope, "user:")

within(number, most) if {
	is_number(number)
	number > 0
	number <= most
}

emergency := object.get(data.settings.elevation.break_glass.roles, asked.role, {"seconds": 0, "eligible_roles": [], "eligible_people": []})

named if {
	some role in asked.held_roles
	role in emergency.eligible_roles
}

named if {
	some handle in emergency.eligible_people
	handle == object.get(input, ["subject", "handle"], "")
}
