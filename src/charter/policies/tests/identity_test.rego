package identity_test

import rego.v1
import future.keywords.not

import data.fixtures


from_office(document, networks, address) := answer if {
	answer := data.charter.decision with input as fixtures.subject(document, {"ip": address})
		with data.settings.access.networks as networks
}

test_network_not_allowed if {
	spoken(from_office(fixtures.person_creates, ["10.0.0.0/8"], "192.0.2.7"))
	spoken(from_office(fixtures.person_creates, ["10.0.0.0/8"], "not an address"))
	spoken(from_office(fixtures.person_creates, ["10.0.0.0/8"], ""))
	not spoken(from_office(fixtures.person_creates, ["10.0.0.0/8", "2001:db8::/32"], "2001:db8::7"))
	not spoken(from_office(fixtures.agent_creates, ["10.0.0.0/8"], "192.0.2.7"))
	fixtures.silent("access/network-not-allowed", fixtures.person_creates)
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
