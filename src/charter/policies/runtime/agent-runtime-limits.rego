# The time that agents have: a task with an end, a credential that ages, nothing after the end.
package runtime.agent_runtime_limits

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "A task has a readable deadline"
# custom:
#   id: runtime/deadline-unreadable
#   severity: high
#   controls: ["EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Send the deadline as RFC 3339 with a zone."
deny contains {
	"id": "runtime/deadline-unreadable",
	"message": "The deadline of the task cannot be read.",
} if {
	facts.action == "agent.create"
	not facts.moment(input.resource.spec.deadline)
}

# METADATA
# title: "A task ends in the future"
# custom:
#   id: runtime/deadline-past
#   severity: medium
#   controls: ["EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Give a deadline that lies ahead."
deny contains {
	"id": "runtime/deadline-past",
	"message": "The deadline of the task has passed already.",
} if {
	facts.action == "agent.create"
	facts.moment(input.resource.spec.deadline) <= facts.now_ns
}

# METADATA
# title: "A task ends within the agents' maximum runtime"
# custom:
#   id: runtime/task-too-long
#   severity: medium
#   controls: ["EU-AI-Act Art.14", "ISO27001 A.8.6"]
#   owner: security-team
#   fix: "Give an earlier deadline, or split the work into several tasks."
deny contains {
	"id": "runtime/task-too-long",
	"message": sprintf("The task would last longer than the %v seconds that agents have.", [data.settings.tasks.max_seconds]),
} if {
	facts.action == "agent.create"
	facts.moment(input.resource.spec.deadline) - facts.now_ns > data.settings.tasks.max_seconds * 1000000000
}

# METADATA
# title: "A task with hardly any time is pointed out"
# custom:
#   id: runtime/task-too-short
#   severity: low
#   controls: ["ISO27001 A.8.6"]
#   owner: security-team
#   fix: "Give a later deadline."
warn contains {
	"id": "runtime/task-too-short",
	"message": "The deadline leaves hardly any time to work.",
} if {
	facts.action == "agent.create"
	left := facts.moment(input.resource.spec.deadline) - facts.now_ns
	left > 0
	left < data.settings.tasks.min_seconds * 1000000000
}

# METADATA
# title: "An agent stops at its deadline"
# custom:
#   id: runtime/after-deadline
#   severity: high
#   controls: ["EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Ask the sponsor for a new task."
deny contains {
	"id": "runtime/after-deadline",
	"message": "The agent's task has reached its deadline.",
} if {
	facts.agent
	facts.moment(input.context.task.deadline) <= facts.now_ns
}

# METADATA
# title: "An agent stops when its task ends"
# custom:
#   id: runtime/task-ended
#   severity: high
#   controls: ["EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Ask the sponsor for a new task."
deny contains {
	"id": "runtime/task-ended",
	"message": sprintf("The agent's task has ended (%v).", [state]),
} if {
	facts.agent
	state := input.context.task.state
	state != "open"
}

# METADATA
# title: "An agent's session ages"
# custom:
#   id: runtime/agent-session-too-old
#   severity: high
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.5"]
#   owner: security-team
#   fix: "Let the agent's task end; a new task gives a new session."
deny contains {
	"id": "runtime/agent-session-too-old",
	"message": "The session of the agent is older than the policy allows.",
} if {
	facts.agent
	issued := facts.moment(input.context.session.issued_at)
	facts.now_ns - issued > data.settings.credentials.agent_session_seconds * 1000000000
}
