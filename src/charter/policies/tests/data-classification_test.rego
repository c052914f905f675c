package data_classification_test

import rego.v1

import data.fixtures

test_regulated_tier if {
	fixtures.fires("ai/regulated-tier", fixtures.resource(fixtures.agent_connects, {"data_class": "regulated"}))
	fixtures.silent("ai/regulated-tier", fixtures.resource(fixtures.agent_creates, {"data_class": "regulated"}))
}

test_regulated_task_tier if {
	fixtures.fires("ai/regulated-task-tier", fixtures.resource(fixtures.resource(fixtures.person_sponsors, {"spec": {"tier": "standard"}}), {"data_class": "regulated"}))
	fixtures.silent("ai/regulated-task-tier", fixtures.resource(fixtures.person_sponsors, {"data_class": "regulated"}))
}

test_regulated_task_needs_approval if {
	fixtures.fires("ai/regulated-task-needs-approval", fixtures.resource(fixtures.person_sponsors, {"data_class": "regulated"}))
	fixtures.silent("ai/regulated-task-needs-approval", fixtures.person_sponsors)
}

test_confidential_destinations if {
	fixtures.fires("ai/confidential-destinations", fixtures.resource(fixtures.spec(fixtures.agent_connects, {"network": {"mode": "egress", "egressAllowlist": ["files.example.com"]}}), {"data_class": "confidential"}))
	fixtures.silent("ai/confidential-destinations", fixtures.resource(fixtures.agent_connects, {"data_class": "confidential"}))
}
