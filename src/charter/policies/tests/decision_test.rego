# The aggregator: precedence, modes, exemptions, completed violations.
package decision_test

import rego.v1
import future.keywords.not

import data.fixtures

decided(document) := answer if answer := data.charter.decision with input as document

test_what_nobody_objects_to_is_allowed if {
	every document in [fixtures.person_creates, fixtures.agent_creates, fixtures.agent_connects, fixtures.person_sponsors, fixtures.person_extends] {
		decided(document).effect == "allow"
		decided(document).violations == []
	}
}

test_deny_is_stronger_than_approval if {
	document := fixtures.spec(fixtures.person_creates, {"resources": {"cpu": 129}})
	decided(document).effect == "deny"
	{v.effect | some v in decided(document).violations} == {"deny", "require_approval"}
}

test_approval_is_stronger_than_warn if {
	document := fixtures.resource(fixtures.spec(fixtures.person_creates, {"resources": {"cpu": 40}}), {"project": null})
	decided(document).effect == "require_approval"
}

test_warn_alone_warns if decided(fixtures.resource(fixtures.person_creates, {"project": null})).effect == "warn"

test_a_rule_that_is_off_is_not_heard if {
	answer := data.charter.decision with input as unapproved
		with data.settings.enforcement.rules as {"admission/template-not-approved": "off"}
	answer.effect == "allow"
	answer.shadow == []
}

test_a_rule_in_dry_run_speaks_in_the_shadow if {
	answer := data.charter.decision with input as unapproved
		with data.settings.enforcement.rules as {"admission/template-not-approved": "dry-run"}
	answer.effect == "allow"
	[v.id | some v in answer.shadow] == ["admission/template-not-approved"]
}

test_a_rule_in_warn_mode_warns if {
	answer := data.charter.decision with input as unapproved
		with data.settings.enforcement.rules as {"admission/template-not-approved": "warn"}
	answer.effect == "warn"
	[v.mode | some v in answer.violations] == ["warn"]
}

test_an_exemption_holds_in_its_scope_until_it_expires if {
	exempt("team_1", "2026-03-02T09:00:01Z").effect == "allow"
	exempt("team_2", "2026-03-02T09:00:01Z").effect == "deny"
	exempt("team_1", "2026-03-02T09:00:00Z").effect == "deny"
	count(exempt("team_1", "2026-03-02T09:00:01Z").shadow) == 1
}

test_every_scope_of_an_exemption_must_match if {
	every name, value in {
		"subject": "per_dana", "owner": "per_dana", "team": "team_1", "project": "prj_1",
		"workspace": "ws_1", "template": "python", "action": "workspace.create",
	} {
		scoped({name: value, "_why": "a test"}) == "allow"
		scoped({name: "another"}) == "deny"
		scoped({name: value, "planet": "mars"}) == "deny"
	}
	scoped({"planet": "mars"}) == "deny"
}

test_an_exemption_needs_a_readable_time if {
	answer := data.charter.decision with input as json.remove(unapproved, ["context/now"])
		with data.settings.exemptions.exemptions as [{"rule": "admission/template-not-approved", "scope": {"team": "team_1"}, "expires_at": "2030-01-01T00:00:00Z"}]
	answer.effect == "deny"
}

test_texts_get_the_package_as_their_id if {
	answer := data.charter.decision with input as fixtures.person_creates
		with data.charter.sources.spoken as {{"effect": "deny", "rule": "some.package/deny", "said": "No."}}
	[[v.id, v.message, v.effect] | some v in answer.violations] == [["some.package/deny", "No.", "deny"]]
}

test_anything_but_texts_and_objects_denies if {
	answer := data.charter.decision with input as fixtures.person_creates
		with data.charter.sources.spoken as {{"effect": "warn", "rule": "some.package/warn", "said": 7}}
	answer.effect == "deny"
}

test_obligations_come_along if {
	answer := data.charter.decision with input as fixtures.person_creates
		with data.charter.sources.spoken as {{"effect": "obligation", "rule": "p/obligation", "said": {"type": "notify", "params": {"whom": "owner"}}}}
	answer.effect == "allow"
	answer.obligations == [{"type": "notify", "params": {"whom": "owner"}}]
}

test_an_approval_without_settings_falls_back if {
	answer := data.charter.decision with input as fixtures.person_creates
		with data.charter.sources.spoken as {{"effect": "require_approval", "rule": "p/require_approval", "said": "Ask."}}
	[v.approvers | some v in answer.violations] == [data.settings.approvals.fallback.approvers]
}

unapproved := fixtures.spec(fixtures.person_creates, {"template": {"approved": false}})

exempt(team, until) := answer if {
	answer := data.charter.decision with input as unapproved
		with data.settings.exemptions.exemptions as [{"rule": "admission/template-not-approved", "scope": {"team": team}, "expires_at": until}]
}

scoped(scope) := answer.effect if {
	answer := data.charter.decision with input as unapproved
		with data.settings.exemptions.exemptions as [{"rule": "admission/template-not-approved", "scope": scope, "expires_at": "2030-01-01T00:00:00Z"}]
}
