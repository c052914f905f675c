package agent_runtime_limits_test

import rego.v1

import data.fixtures

test_deadline_unreadable if {
	fixtures.fires("runtime/deadline-unreadable", fixtures.resource(fixtures.person_sponsors, {"spec": {"deadline": "tomorrow"}}))
	fixtures.silent("runtime/deadline-unreadable", fixtures.person_sponsors)
}

test_deadline_past if {
	fixtures.fires("runtime/deadline-past", fixtures.resource(fixtures.person_sponsors, {"spec": {"deadline": "2026-03-02T09:00:00Z"}}))
	fixtures.silent("runtime/deadline-past", fixtures.person_sponsors)
}

test_task_too_long if {
	fixtures.fires("runtime/task-too-long", fixtures.resource(fixtures.person_sponsors, {"spec": {"deadline": "2026-03-02T11:00:01Z"}}))
	fixtures.silent("runtime/task-too-long", fixtures.resource(fixtures.person_sponsors, {"spec": {"deadline": "2026-03-02T11:00:00Z"}}))
}

test_task_too_short if {
	fixtures.fires("runtime/task-too-short", fixtures.resource(fixtures.person_sponsors, {"spec": {"deadline": "2026-03-02T09:00:30Z"}}))
	fixtures.silent("runtime/task-too-short", fixtures.person_sponsors)
}

test_after_deadline if {
	fixtures.fires("runtime/after-deadline", fixtures.context(fixtures.agent_acts("workspace.execute"), {"task": {"deadline": "2026-03-02T09:00:00Z"}}))
	fixtures.silent("runtime/after-deadline", fixtures.agent_acts("workspace.execute"))
}

test_task_ended if {
	fixtures.fires("runtime/task-ended", fixtures.context(fixtures.agent_acts("workspace.execute"), {"task": {"state": "completed"}}))
	fixtures.silent("runtime/task-ended", fixtures.agent_acts("workspace.execute"))
}

test_agent_session_too_old if {
	fixtures.fires("runtime/agent-session-too-old", fixtures.context(fixtures.agent_creates, {"session": {"issued_at": "2026-03-02T06:59:00Z"}}))
	fixtures.silent("runtime/agent-session-too-old", fixtures.context(fixtures.agent_creates, {"session": {"issued_at": "2026-03-02T07:00:00Z"}}))
}
