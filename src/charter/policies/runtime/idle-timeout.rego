# The time that people's workspaces and sessions have. The clocks themselves run in Charter's
# controllers on the same numbers (data/lifecycle.json); here is who may move them.
package runtime.idle_timeout

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "One extension has a limit"
# custom:
#   id: runtime/extension-too-long
#   severity: low
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Extend by less; you can extend again later."
deny contains {
	"id": "runtime/extension-too-long",
	"message": sprintf("%v seconds are more than the %v of one extension.", [seconds, data.settings.lifecycle.human.extension_seconds]),
} if {
	facts.action == "workspace.extend"
	facts.human
	seconds := input.context.extension.seconds
	seconds > data.settings.lifecycle.human.extension_seconds
}

# METADATA
# title: "An extension is a positive time"
# custom:
#   id: runtime/extension-invalid
#   severity: low
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Extend by at least one second."
deny contains {
	"id": "runtime/extension-invalid",
	"message": "The extension is not a positive number of seconds.",
} if {
	facts.action == "workspace.extend"
	not positive(input.context.extension.seconds)
}

# METADATA
# title: "Extending again needs a reason"
# custom:
#   id: runtime/extension-needs-justification
#   severity: low
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Say why the workspace must go on (justification)."
deny contains {
	"id": "runtime/extension-needs-justification",
	"message": sprintf("The %v extensions without a reason are used up.", [data.settings.lifecycle.human.free_extensions]),
} if {
	facts.action == "workspace.extend"
	facts.human
	input.context.extension.used >= data.settings.lifecycle.human.free_extensions
	not facts.justified
}

# METADATA
# title: "People sign in again after a while"
# custom:
#   id: runtime/session-too-old
#   severity: medium
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.5"]
#   owner: security-team
#   fix: "Sign in again."
deny contains {
	"id": "runtime/session-too-old",
	"message": "The session is older than the policy allows.",
} if {
	facts.human
	issued := facts.moment(input.context.session.issued_at)
	facts.now_ns - issued > data.settings.credentials.human_session_seconds * 1000000000
}

positive(seconds) if {
	is_number(seconds)
	seconds > 0
}
