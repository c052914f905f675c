# The modes of rules by environment, and what an exemption leaves behind.
package strictness_test

import rego.v1
import future.keywords.not

import data.fixtures

unlabelled := fixtures.resource(fixtures.person_creates, {"project": null, "labels": {"cost-center": "4711"}})

floating := fixtures.spec(fixtures.person_creates, {"template": {"version": "latest"}})

unapproved := fixtures.spec(fixtures.person_creates, {"template": {"approved": false}})

in_environment(document, name) := fixtures.context(document, {"environment": name})

effect_in(document, name) := answer.effect if {
	answer := data.charter.decision with input as in_environment(document, name)
}

test_a_warning_refuses_where_it_is_strict if {
	effect_in(unlabelled, "development") == "warn"
	effect_in(unlabelled, "production") == "deny"
}

test_a_rule_in_warn_mode_stays_a_warning_even_where_it_is_strict if {
	answer := data.charter.decision with input as in_environment(unlabelled, "production")
		with data.settings.enforcement.rules as {"admission/labels-missing": "warn"}
	answer.effect == "warn"
}

test_experimental_projects_hear_of_medium_findings_and_go_on if {
	effect_in(floating, "production") == "deny"
	effect_in(floating, "test") == "deny"
	effect_in(floating, "experimental") == "warn"
}

test_experimental_projects_are_not_told_of_low_findings if {
	effect_in(unlabelled, "experimental") == "allow"
	answer := data.charter.decision with input as in_environment(unlabelled, "experimental")
	[v.mode | some v in answer.shadow] == ["dry-run"]
}

test_high_and_critical_findings_are_not_loosened if {
	effect_in(unapproved, "experimental") == "deny"
	answer := data.charter.decision with input as in_environment(unapproved, "experimental")
		with data.charter.sources.spoken as {{"effect": "deny", "rule": "p/deny", "said": {"id": "agent/approves", "severity": "low", "message": "Less than it is."}}}
	answer.effect == "deny"
}

test_who_must_be_asked_is_not_loosened if {
	effect_in(fixtures.spec(fixtures.person_creates, {"resources": {"cpu": 40}}), "experimental") == "require_approval"
}

test_agents_are_not_loosened if {
	effect_in(fixtures.spec(fixtures.agent_creates, {"template": {"version": "latest"}}), "experimental") == "deny"
}

test_the_nearest_word_counts if {
	mode_of({"rules": {"admission/template-version-floating": "off"}}, {}) == "allow"
	mode_of({"rules": {"admission/template-version-floating": "warn"}}, {"admission/template-version-floating": "off"}) == "warn"
	mode_of({"severity": {"medium": "warn"}}, {"admission/template-version-floating": "dry-run"}) == "allow"
	mode_of({"severity": {"high": "warn"}}, {}) == "deny"
	mode_of("no object", {}) == "deny"
}

mode_of(strictness, rules) := answer.effect if {
	answer := data.charter.decision with input as in_environment(floating, "elsewhere")
		with data.settings.enforcement as {"rules": rules, "environments": {"elsewhere": strictness}}
}

test_environment_unknown if {
	fixtures.fires("admission/environment-unknown", in_environment(fixtures.person_creates, "Production"))
	fixtures.silent("admission/environment-unknown", in_environment(fixtures.person_creates, "production"))
}

test_environment_unknown_2 if {
	fixtures.fires("admission/environment-unknown", in_environment(fixtures.person_acts("policy.view"), 7))
	fixtures.silent("admission/environment-unknown", fixtures.person_acts("policy.view"))
}

test_an_exempted_rule_says_who_answers_for_it if {
	answer := data.charter.decision with input as unapproved
		with data.settings.exemptions.exemptions as [
			exemption("security-admin", "The migration of the archive", "2026-03-03T00:00:00Z"),
			exemption("platform-admin", "Until the new image is there", "2026-03-04T00:00:00Z"),
		]
	answer.effect == "allow"
	[v.exemption | some v in answer.shadow] == [{"owner": "platform-admin", "reason": "Until the new image is there", "expires_at": "2026-03-04T00:00:00Z"}]
}

test_what_is_not_exempted_says_nothing_of_exemptions if {
	answer := data.charter.decision with input as unapproved
		with data.settings.enforcement.rules as {"admission/template-not-approved": "dry-run"}
		with data.settings.exemptions.exemptions as [exemption("security-admin", "A test", "2026-03-03T00:00:00Z")]
	every v in answer.shadow {
		not v.exemption
	}
}

exemption(owner, reason, until) := {
	"rule": "admission/template-not-approved", "owner": owner, "reason": reason,
	"scope": {"team": "team_1"}, "expires_at": until,
}
