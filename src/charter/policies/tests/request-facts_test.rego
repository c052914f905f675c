package request_facts_test

import rego.v1

import data.fixtures

test_unknown_action if {
	fixtures.fires("admission/unknown-action", fixtures.person_acts("workspace.teleport"))
	fixtures.silent("admission/unknown-action", fixtures.person_acts("workspace.stop"))
}

test_missing_facts if {
	fixtures.fires("admission/missing-facts", json.remove(fixtures.person_creates, ["request/object/spec/network/mode"]))
	fixtures.silent("admission/missing-facts", fixtures.person_creates)
}

test_missing_facts_2 if {
	fixtures.fires("admission/missing-facts", json.remove(fixtures.person_creates, ["context/provider"]))
	fixtures.silent("admission/missing-facts", fixtures.agent_creates)
}

test_missing_facts_3 if {
	fixtures.fires("admission/missing-facts", json.remove(fixtures.person_creates, ["request"]))
	fixtures.silent("admission/missing-facts", fixtures.person_acts("policy.view"))
}

test_missing_subject_facts if {
	fixtures.fires("admission/missing-subject-facts", json.remove(fixtures.agent_creates, ["subject/tier"]))
	fixtures.silent("admission/missing-subject-facts", fixtures.agent_creates)
}

test_missing_subject_facts_2 if {
	fixtures.fires("admission/missing-subject-facts", {"action": {"name": "policy.view"}, "context": {"now": fixtures.now}})
	fixtures.silent("admission/missing-subject-facts", fixtures.person_acts("policy.view"))
}

test_unknown_subject_kind if {
	fixtures.fires("admission/unknown-subject-kind", fixtures.subject(fixtures.person_creates, {"kind": "robot"}))
	fixtures.silent("admission/unknown-subject-kind", fixtures.person_creates)
}

test_unknown_subject_kind_2 if {
	directory := {"kind": "system", "id": "scim_1", "name": "okta"}
	fixtures.fires("admission/unknown-subject-kind", fixtures.subject(fixtures.person_acts("role.bind"), directory))
	fixtures.silent("admission/unknown-subject-kind", fixtures.subject(fixtures.person_acts("people.manage"), directory))
}

test_unreadable_time if {
	fixtures.fires("admission/unreadable-time", fixtures.context(fixtures.person_creates, {"now": "yesterday"}))
	fixtures.silent("admission/unreadable-time", fixtures.person_creates)
}

test_unreadable_time_2 if {
	fixtures.fires("admission/unreadable-time", json.remove(fixtures.person_creates, ["context/now"]))
	fixtures.silent("admission/unreadable-time", fixtures.agent_creates)
}
