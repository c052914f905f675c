package agent_posture_test

import rego.v1

import data.fixtures
import data.scenes

test_key_rotation_overdue if {
	fixtures.fires("agent/key-rotation-overdue", scenes.posture("agent", {"key_rotated_at": "2020-01-01T00:00:00Z"}))
	fixtures.silent("agent/key-rotation-overdue", scenes.posture("agent", {}))
}

test_key_rotation_overdue_2 if {
	fixtures.fires("agent/key-rotation-overdue", json.remove(scenes.posture("agent", {}), ["context/posture/key_rotated_at"]))
	fixtures.silent("agent/key-rotation-overdue", fixtures.person_creates)
}

test_kill_switch_not_drilled if {
	fixtures.fires("agent/kill-switch-not-drilled", scenes.posture("installation", {"kill_switch_drilled_at": "2020-01-01T00:00:00Z"}))
	fixtures.silent("agent/kill-switch-not-drilled", scenes.posture("installation", {}))
}

test_kill_switch_not_drilled_2 if {
	fixtures.fires("agent/kill-switch-not-drilled", json.remove(scenes.posture("installation", {}), ["context/posture/kill_switch_drilled_at"]))
	fixtures.silent("agent/kill-switch-not-drilled", fixtures.person_creates)
}

test_incident_plan_missing if {
	fixtures.fires("agent/incident-plan-missing", scenes.posture("installation", {"incident_plan_reviewed_at": "2020-01-01T00:00:00Z"}))
	fixtures.silent("agent/incident-plan-missing", scenes.posture("installation", {}))
}

test_incident_plan_missing_2 if {
	fixtures.fires("agent/incident-plan-missing", json.remove(scenes.posture("installation", {}), ["context/posture/incident_plan_reviewed_at"]))
	fixtures.silent("agent/incident-plan-missing", fixtures.person_creates)
}

test_trail_off if {
	fixtures.fires("agent/trail-off", scenes.posture("agent", {"audit_trail": false}))
	fixtures.silent("agent/trail-off", scenes.posture("agent", {}))
}

test_identity_shared if {
	fixtures.fires("agent/identity-shared", scenes.posture("agent", {"instances": 2}))
	fixtures.silent("agent/identity-shared", scenes.posture("agent", {}))
}
