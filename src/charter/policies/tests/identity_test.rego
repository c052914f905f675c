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
