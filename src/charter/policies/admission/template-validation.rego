# Templates: what is not approved does not start, and the message says what to use instead.
package admission.template_validation

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "A workspace uses an approved template"
# custom:
#   id: admission/template-not-approved
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.9"]
#   owner: platform-team
#   fix: "Choose an approved template: charter template list."
deny contains {
	"id": "admission/template-not-approved",
	"message": sprintf("The template %v is not approved.", [template_name]),
	"fix": alternative,
} if {
	facts.placing
	facts.spec.template.approved != true
}

# METADATA
# title: "A workspace is pinned to one template version"
# custom:
#   id: admission/template-version-missing
#   severity: medium
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.9"]
#   owner: platform-team
#   fix: "Name the version of the template."
deny contains {
	"id": "admission/template-version-missing",
	"message": sprintf("The template %v has no version, so nobody could say later what was started.", [template_name]),
} if {
	facts.placing
	object.get(facts.spec.template, "version", "") in {"", null}
}

# METADATA
# title: "A template version does not float"
# custom:
#   id: admission/template-version-floating
#   severity: medium
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.9"]
#   owner: platform-team
#   fix: "Name a fixed version such as 1.4.0."
deny contains {
	"id": "admission/template-version-floating",
	"message": sprintf("%v is not a version that stays what it is.", [facts.spec.template.version]),
} if {
	facts.placing
	object.get(facts.spec.template, "version", "") in {"latest", "stable", "main", "*"}
}

# METADATA
# title: "A template is used by those it is made for"
# custom:
#   id: admission/template-kind
#   severity: medium
#   controls: ["ISO27001 A.8.9"]
#   owner: platform-team
#   fix: "Choose a template made for this kind of workspace: charter template list."
deny contains {
	"id": "admission/template-kind",
	"message": sprintf("The template %v is not made for workspaces of this kind (%v).", [template_name, facts.workspace_kind]),
} if {
	facts.placing
	kinds := object.get(facts.template, "for_kinds", [])
	count(kinds) > 0
	not facts.workspace_kind in kinds
}

# METADATA
# title: "A newer template is preferred"
# custom:
#   id: admission/template-superseded
#   severity: low
#   controls: ["ISO27001 A.8.8"]
#   owner: platform-team
#   fix: "Use the newer template next time."
warn contains {
	"id": "admission/template-superseded",
	"message": sprintf("The template %v is still approved, and %v takes its place.", [template_name, instead]),
} if {
	facts.creating
	facts.spec.template.approved == true
	instead := object.get(facts.template, "use_instead", null)
	instead != null
}

template_name := object.get(facts.spec.template, "name", "without a name")

default alternative := "Choose an approved template: charter template list."

alternative := sprintf("Use the approved template %v instead.", [instead]) if {
	instead := object.get(facts.template, "use_instead", null)
	instead != null
}
