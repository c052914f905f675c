package security_controls_test

import rego.v1

import data.fixtures

test_capability_missing if {
	fixtures.fires("security/capability-missing", fixtures.context(fixtures.person_creates, {"provider": {"capabilities": [c | some c in fixtures.strong; c != "seccomp"]}}))
	fixtures.silent("security/capability-missing", fixtures.person_creates)
}

test_capability_missing_2 if {
	fixtures.fires("security/capability-missing", fixtures.context(fixtures.agent_creates, {"provider": {"capabilities": []}}))
	fixtures.silent("security/capability-missing", fixtures.agent_creates)
}

test_secret_in_labels if {
	fixtures.fires("security/secret-in-labels", fixtures.resource(fixtures.person_creates, {"labels": {"note": concat("", ["AKIA", "ABCDEFGHIJKLMNOP"])}}))
	fixtures.silent("security/secret-in-labels", fixtures.resource(fixtures.person_creates, {"labels": {"note": "AKIA"}}))
}

test_regulated_capability_missing if {
	fixtures.fires("security/regulated-capability-missing", fixtures.context(fixtures.resource(fixtures.person_creates, {"data_class": "regulated"}), {"provider": {"capabilities": [c | some c in fixtures.strong; c != "memory-limit"]}}))
	fixtures.silent("security/regulated-capability-missing", fixtures.context(fixtures.person_creates, {"provider": {"capabilities": [c | some c in fixtures.strong; c != "memory-limit"]}}))
}

test_foreign_workspace if {
	fixtures.fires("security/foreign-workspace", fixtures.resource(fixtures.person_acts("workspace.execute"), {"owner": "per_lee"}))
	fixtures.silent("security/foreign-workspace", fixtures.person_acts("workspace.execute"))
}
