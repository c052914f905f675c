# From a template's proposal to its place in the catalogue: a version that means something, nothing
# mandatory left out or overridden, every check passed, and two different people who looked. Asked with
# template.publish; the lists stand in data/templates.json.
package admission.template_lifecycle

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Versions of templates are semantic"
# custom:
#   id: template/version-not-semantic
#   severity: medium
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.9"]
#   owner: platform-team
#   fix: "Number it MAJOR.MINOR.PATCH; a new MAJOR says that something breaks."
deny contains {
	"id": "template/version-not-semantic",
	"message": sprintf("%v is not a semantic version.", [object.get(asked, "version", "")]),
} if {
	publishing
	not semver.is_valid(object.get(asked, "version", ""))
}

# METADATA
# title: "Mandatory settings stand in every template"
# custom:
#   id: template/setting-missing
#   severity: high
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.9", "PCI-DSS 2.2.1"]
#   owner: security-team
#   fix: "Switch the setting on, or extend a base that does."
deny contains {
	"id": "template/setting-missing",
	"message": sprintf("The template does not set %v, which is mandatory.", [name]),
} if {
	publishing
	some name in data.settings.templates.mandatory_settings
	object.get(asked, ["settings", name], false) != true
}

# METADATA
# title: "Required security tools stand in every template"
# custom:
#   id: template/security-tool-missing
#   severity: high
#   controls: ["SOC2 CC7.1", "ISO27001 A.8.28", "PCI-DSS 6.3.2"]
#   owner: security-team
#   fix: "Add the tool, or extend a base that has it."
deny contains {
	"id": "template/security-tool-missing",
	"message": sprintf("The template lacks the required tool for %v.", [tool]),
} if {
	publishing
	some tool in data.settings.templates.security_tools
	not tool in object.get(asked, "security_tools", [])
}

# METADATA
# title: "Nobody overrides what is mandatory"
# custom:
#   id: template/override
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.9"]
#   owner: security-team
#   fix: "Take the override out; change the base template where the setting is wrong."
deny contains {
	"id": "template/override",
	"message": sprintf("The template overrides %v, which is mandatory.", [name]),
} if {
	publishing
	some name in object.get(asked, "overrides", [])
	name in data.settings.templates.mandatory_settings
}

# METADATA
# title: "A workspace does not override what its template makes mandatory"
# custom:
#   id: template/workspace-override
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.9"]
#   owner: security-team
#   fix: "Leave the setting to the template."
deny contains {
	"id": "template/workspace-override",
	"message": sprintf("The request overrides %v, which the template sets for everybody.", [name]),
} if {
	facts.placing
	some name in object.get(facts.spec, "overrides", [])
	name in data.settings.templates.mandatory_settings
}

# METADATA
# title: "Templates extend approved bases"
# custom:
#   id: template/base-not-approved
#   severity: medium
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.9"]
#   owner: platform-team
#   fix: "Extend one of the bases of data/templates.json."
deny contains {
	"id": "template/base-not-approved",
	"message": sprintf("The template extends %v, which is no approved base.", [object.get(asked, "extends", "nothing")]),
} if {
	publishing
	not base_approved
}

# METADATA
# title: "Every check passes before a template is published"
# custom:
#   id: template/check-not-passed
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.29", "PCI-DSS 6.2.4"]
#   owner: platform-team
#   fix: "Read the check's report, correct the template and run the checks again."
deny contains {
	"id": "template/check-not-passed",
	"message": sprintf("The check %v has not passed.", [check]),
} if {
	publishing
	some check in data.settings.templates.checks
	object.get(input, ["context", "publication", "checks", check], "") != "passed"
}

# METADATA
# title: "The security team signs templates off"
# custom:
#   id: template/no-security-sign-off
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.32"]
#   owner: security-team
#   fix: "Ask the security team for its sign-off."
deny contains {
	"id": "template/no-security-sign-off",
	"message": "The security team has not signed the template off.",
} if {
	publishing
	security_by == ""
}

# METADATA
# title: "The platform team reviews templates"
# custom:
#   id: template/no-platform-review
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.32"]
#   owner: platform-team
#   fix: "Ask the platform team for its review."
deny contains {
	"id": "template/no-platform-review",
	"message": "The platform team has not reviewed the template.",
} if {
	publishing
	platform_by == ""
}

# METADATA
# title: "Proposal, sign-off and review are different people's"
# custom:
#   id: template/one-pair-of-eyes
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.5.3"]
#   owner: security-team
#   fix: "Let three different people propose, sign off and review."
deny contains {
	"id": "template/one-pair-of-eyes",
	"message": sprintf("%v appears as more than one of proposer, security sign-off and platform review.", [twice]),
} if {
	publishing
	some twice in {security_by, platform_by}
	twice != ""
	count([who | some who in [proposed_by, security_by, platform_by]; who == twice]) > 1
}

# METADATA
# title: "A version says what changed"
# custom:
#   id: template/no-change-log
#   severity: low
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.32"]
#   owner: platform-team
#   fix: "Add an entry for this version to the change log."
deny contains {
	"id": "template/no-change-log",
	"message": "The change log says nothing of this version.",
} if {
	publishing
	object.get(asked, "change_log", "") in {"", null}
}

# METADATA
# title: "A template's proposal says what for"
# custom:
#   id: template/no-justification
#   severity: low
#   controls: ["SOC2 CC8.1"]
#   owner: platform-team
#   fix: "Say what the template is for (justification)."
deny contains {
	"id": "template/no-justification",
	"message": "The proposal does not say what the template is for.",
} if {
	publishing
	not facts.justified
}

# METADATA
# title: "Templates get security updates every month"
# custom:
#   id: template/security-update-overdue
#   severity: medium
#   controls: ["SOC2 CC7.1", "ISO27001 A.8.8", "PCI-DSS 6.3.3"]
#   owner: platform-team
#   fix: "Ask the template's owner for the monthly security update."
warn contains {
	"id": "template/security-update-overdue",
	"message": sprintf("The template has had no security update for more than %v days.", [data.settings.templates.security_update_seconds / facts.day]),
} if {
	facts.creating
	updated := facts.moment(facts.template.security_updated_at)
	facts.now_ns - updated > data.settings.templates.security_update_seconds * 1000000000
}

# METADATA
# title: "Templates get feature updates every quarter"
# custom:
#   id: template/feature-update-overdue
#   severity: low
#   controls: ["ISO27001 A.8.9"]
#   owner: platform-team
#   fix: "Ask the template's owner for the quarterly update."
warn contains {
	"id": "template/feature-update-overdue",
	"message": sprintf("The template has had no feature update for more than %v days.", [data.settings.templates.feature_update_seconds / facts.day]),
} if {
	facts.creating
	updated := facts.moment(facts.template.feature_updated_at)
	facts.now_ns - updated > data.settings.templates.feature_update_seconds * 1000000000
}

publishing if facts.action == "template.publish"

asked := object.get(input, ["resource", "spec"], {})

security_by := object.get(input, ["context", "publication", "security_sign_off", "by"], "")

platform_by := object.get(input, ["context", "publication", "platform_review", "by"], "")

proposed_by := object.get(input, ["context", "publication", "proposed_by"], "")

base_approved if {
	some base in data.settings.templates.bases
	asked.extends == base
}
