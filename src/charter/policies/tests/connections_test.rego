package connections_test

import rego.v1

import data.fixtures
import data.scenes

test_destination_denied if {
	fixtures.fires("network/destination-denied", scenes.person_connects_to("paste.webhook.site"))
	fixtures.silent("network/destination-denied", scenes.person_connects)
}

test_plaintext if {
	fixtures.fires("network/plaintext", fixtures.resource(scenes.person_connects, {"spec": {"encrypted": false}}))
	fixtures.silent("network/plaintext", fixtures.resource(scenes.person_connects, {"spec": {"encrypted": false, "host": "localhost"}}))
}

test_leak if {
	fixtures.fires("network/leak", fixtures.context(scenes.person_connects, {"dlp": {"findings": [{"kind": "secret"}]}}))
	fixtures.silent("network/leak", scenes.person_connects)
}

test_sensitive_traffic if {
	fixtures.fires("network/sensitive-traffic", fixtures.context(scenes.person_connects, {"dlp": {"findings": [{"kind": "personal-data"}]}}))
	fixtures.silent("network/sensitive-traffic", scenes.person_connects)
}
