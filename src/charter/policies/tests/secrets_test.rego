package secrets_test

import rego.v1

import data.fixtures
import data.scenes

test_not_in_vault if {
	fixtures.fires("secret/not-in-vault", fixtures.resource(scenes.person_uses_secret, {"spec": {"reference": "hunter2"}}))
	fixtures.silent("secret/not-in-vault", scenes.person_uses_secret)
}

test_literal_in_environment if {
	fixtures.fires("secret/literal-in-environment", fixtures.spec(fixtures.person_creates, {"environment": {"KEY": concat("", ["AKIA", "ABCDEFGHIJKLMNOP"])}}))
	fixtures.silent("secret/literal-in-environment", fixtures.spec(fixtures.person_creates, {"environment": {"KEY": "vault:team/payments#key", "COUNT": 3}}))
}

test_rotation_overdue if {
	fixtures.fires("secret/rotation-overdue", fixtures.context(scenes.person_uses_secret, {"secret": {"rotated_at": "2025-12-01T09:00:00Z"}}))
	fixtures.silent("secret/rotation-overdue", scenes.person_uses_secret)
}

test_rotation_unknown if {
	fixtures.fires("secret/rotation-unknown", fixtures.context(scenes.person_uses_secret, {"secret": {"rotated_at": null}}))
	fixtures.silent("secret/rotation-unknown", scenes.person_uses_secret)
}

test_lease_too_long if {
	fixtures.fires("secret/lease-too-long", fixtures.resource(scenes.person_uses_secret, {"spec": {"seconds": 3601}}))
	fixtures.silent("secret/lease-too-long", fixtures.resource(scenes.person_uses_secret, {"spec": {"seconds": 3600}}))
}
