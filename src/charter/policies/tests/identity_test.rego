package identity_test

import rego.v1
import future.keywords.not

import data.fixtures

come(document, subject, networks) := answer if {
	answer := data.charter.decision with input as fixtures.subject(document, subject)
		with data.settings.access.networks as networks
}

lists(changed) := object.union({"organisation": [], "kinds": {}, "roles": {}}, changed)

office := lists({"organisation": ["10.0.0.0/8", "2001:db8::/32"]})

test_network_not_allowed_by_the_organisation if {
	spoken(come(fixtures.person_creates, {"ip": "192.0.2.7"}, office))
	spoken(come(fixtures.person_creates, {"ip": "not an address"}, office))
	spoken(come(fixtures.person_creates, {"ip": ""}, office))
	spoken(come(fixtures.person_creates, {}, office))
	spoken(come(fixtures.person_creates, {"ip": "2001:db9::7"}, office))
	spoken(come(fixtures.agent_creates, {"ip": "192.0.2.7"}, office))
	not spoken(come(fixtures.person_creates, {"ip": "10.1.2.3"}, office))
	not spoken(come(fixtures.person_creates, {"ip": "2001:db8::7"}, office))
	not spoken(come(fixtures.agent_creates, {"ip": "10.1.2.3"}, office))
	fixtures.silent("access/network-not-allowed", fixtures.person_creates)
}

test_network_not_allowed_by_kind if {
	people := lists({"kinds": {"human": ["10.0.0.0/8"]}})
	spoken(come(fixtures.person_creates, {"ip": "192.0.2.7"}, people))
	not spoken(come(fixtures.person_creates, {"ip": "10.0.0.7"}, people))
	not spoken(come(fixtures.agent_creates, {"ip": "192.0.2.7"}, people))
	agents := lists({"kinds": {"agent": ["10.0.0.0/8"]}})
	spoken(come(fixtures.agent_creates, {"ip": "192.0.2.7"}, agents))
	not spoken(come(fixtures.person_creates, {"ip": "192.0.2.7"}, agents))
}

test_network_not_allowed_by_role if {
	leads := lists({"roles": {"team-lead": ["10.0.0.0/8"], "read-only": []}})
	held := {"ip": "192.0.2.7", "roles": ["developer", "team-lead", "read-only"]}
	spoken(come(fixtures.person_creates, held, leads))
	not spoken(come(fixtures.person_creates, object.union(held, {"ip": "10.0.0.7"}), leads))
	not spoken(come(fixtures.person_creates, object.union(held, {"roles": ["developer"]}), leads))
	own := lists({"roles": {"own/release-manager": ["10.0.0.0/8"]}})
	holder := object.union(held, {"roles": ["release-manager"]})
	spoken(come(fixtures.person_creates, holder, own))
	not spoken(come(fixtures.person_creates, object.union(holder, {"ip": "10.0.0.7"}), own))
}

# A request must be inside every list about its subject: one that lets it in opens no other.
test_network_not_allowed_by_one_of_two if {
	both := lists({"organisation": ["192.0.2.0/24"], "kinds": {"human": ["10.0.0.0/8"]}})
	spoken(come(fixtures.person_creates, {"ip": "192.0.2.7"}, both))
	spoken(come(fixtures.person_creates, {"ip": "10.0.0.7"}, both))
}

test_network_lists_set_aside if {
	not spoken(come(fixtures.person_creates, {"ip": "192.0.2.7", "networks": "set-aside"}, office))
	not spoken(come(fixtures.person_creates, {"networks": "not-asked"}, office))
	spoken(come(fixtures.person_creates, {"ip": "192.0.2.7", "networks": "yes"}, office))
}

test_network_of_what_a_point_asks_about if {
	by_point := object.union(fixtures.person_creates, {"context": object.union(
		fixtures.person_creates.context,
		{"enforcement_point": {"id": "pep_1", "kind": "authzen", "name": "door"}},
	)})
	not spoken(come(by_point, {}, office))
	spoken(come(by_point, {"ip": "192.0.2.7"}, office))
	not spoken(come(by_point, {"ip": "10.0.0.7"}, office))
}

test_network_lists_of_older_bundles if {
	spoken(come(fixtures.person_creates, {"ip": "192.0.2.7"}, ["10.0.0.0/8"]))
	not spoken(come(fixtures.person_creates, {"ip": "10.0.0.7"}, ["10.0.0.0/8"]))
	not spoken(come(fixtures.agent_creates, {"ip": "192.0.2.7"}, ["10.0.0.0/8"]))
	not spoken(come(fixtures.person_creates, {"ip": "192.0.2.7"}, []))
}

# As fixtures.fires("access/network-not-allowed", ...) asks, with other networks.
spoken(answer) if {
	some violation in answer.violations
	violation.id == "access/network-not-allowed"
}

# Somebody binds a role a quarter of an hour after they signed in, with one factor.
binds := object.union(fixtures.person_acts("role.bind"), {
	"subject": {"via": "session", "mfa": false, "has_passkey": false},
	"resource": {"kind": "role-binding", "spec": {"role": "developer"}},
	"context": {"session": {"method": "link", "authenticated_at": "2026-03-02T08:45:00Z"}},
})

signed_in(document, at) := object.union(document, {"context": {"session": {"authenticated_at": at}}})

test_step_up_wants_a_fresh_sign_in if {
	fixtures.silent("access/step-up", binds)
	fixtures.silent("access/step-up", signed_in(binds, "2026-03-02T08:00:00Z"))
	fixtures.fires("access/step-up", signed_in(binds, "2026-03-02T07:59:59Z"))
	fixtures.fires("access/step-up", signed_in(binds, "yesterday"))
	fixtures.fires("access/step-up", object.remove(binds, ["context"]))
	fixtures.silent("access/step-up", object.union(signed_in(binds, "2026-03-02T01:00:00Z"), {"action": {"name": "agent.kill"}}))
	fixtures.silent("access/step-up", fixtures.person_creates)
}

test_step_up_wants_the_second_factor_of_whoever_has_one if {
	has := fixtures.subject(binds, {"has_passkey": true})
	fixtures.fires("access/step-up", has)
	fixtures.silent("access/step-up", fixtures.subject(has, {"mfa": true}))
	asked(binds, {"max_age_seconds": 3600, "mfa": "always", "tokens": "fresh"})
	not asked(has, {"max_age_seconds": 3600, "mfa": "never", "tokens": "fresh"})
}

test_step_up_of_tokens_follows_the_data if {
	token := fixtures.subject(signed_in(binds, "2026-03-01T09:00:00Z"), {"via": "token"})
	asked(token, {"max_age_seconds": 3600, "mfa": "never", "tokens": "fresh"})
	asked(token, {"max_age_seconds": 864000, "mfa": "never", "tokens": "never"})
	not asked(token, {"max_age_seconds": 864000, "mfa": "never", "tokens": "fresh"})
	not asked(token, {"max_age_seconds": 60, "mfa": "always", "tokens": "always"})
}

test_step_up_is_asked_of_people_who_act_themselves if {
	old := signed_in(binds, "2026-03-01T09:00:00Z")
	fixtures.silent("access/step-up", fixtures.subject(old, {"via": "approval"}))
	fixtures.silent("access/step-up", fixtures.subject(old, {"via": "why"}))
	fixtures.fires("access/step-up", fixtures.subject(old, {"via": "anything else"}))
}

test_step_up_of_votes_on_some_requests if {
	votes := object.union(signed_in(binds, "2026-03-01T09:00:00Z"), {"action": {"name": "approval.vote"}})
	fixtures.silent("access/step-up", fixtures.resource(votes, {"spec": {"rules": ["admission/gpu-needs-approval"]}}))
	fixtures.fires("access/step-up", fixtures.resource(votes, {"spec": {"rules": ["production/needs-approval"]}}))
	fixtures.fires("access/step-up", votes)
}

asked(document, entry) if {
	answer := data.charter.decision with input as document
		with data.settings.step_up.actions as {"role.bind": entry}
	some violation in answer.violations
	violation.id == "access/step-up"
}
