package services_test

import rego.v1

import data.fixtures

service := {"kind": "service", "id": "system:serviceaccount:workspaces:controller", "roles": [], "teams": []}

machine(action) := {
	"subject": service, "action": {"name": action}, "resource": fixtures.workspace,
	"context": {"now": fixtures.now},
}

test_unknown_subject_kind if {
	fixtures.fires("admission/unknown-subject-kind", machine("policy.apply"))
	fixtures.silent("admission/unknown-subject-kind", machine("workspace.stop"))
}

test_unknown_subject_kind_2 if {
	fixtures.fires("admission/unknown-subject-kind", machine("agent.create"))
	fixtures.silent("admission/unknown-subject-kind", fixtures.person_acts("policy.apply"))
}

test_missing_subject_facts if {
	fixtures.fires("admission/missing-subject-facts", fixtures.subject(machine("workspace.stop"), {"id": ""}))
	fixtures.silent("admission/missing-subject-facts", machine("workspace.stop"))
}

# An agent's workspace is an agent's workspace, whoever brings the request.
test_agent_rules_hold_for_what_a_machine_asks_for if {
	document := object.union(fixtures.agent_creates, {"subject": {"kind": "service", "id": "controller"}})
	fixtures.fires("agent/host-network", fixtures.spec(document, {"network": {"mode": "host"}}))
	fixtures.silent("agent/host-network", document)
}
