package idle_timeout_test

import rego.v1

import data.fixtures

test_extension_too_long if {
	fixtures.fires("runtime/extension-too-long", fixtures.context(fixtures.person_extends, {"extension": {"seconds": 7201}}))
	fixtures.silent("runtime/extension-too-long", fixtures.context(fixtures.person_extends, {"extension": {"seconds": 7200}}))
}

test_extension_invalid if {
	fixtures.fires("runtime/extension-invalid", fixtures.context(fixtures.person_extends, {"extension": {"seconds": 0}}))
	fixtures.silent("runtime/extension-invalid", fixtures.person_extends)
}

test_extension_needs_justification if {
	fixtures.fires("runtime/extension-needs-justification", fixtures.context(fixtures.person_extends, {"extension": {"used": 2}}))
	fixtures.silent("runtime/extension-needs-justification", fixtures.context(fixtures.person_extends, {"extension": {"used": 2}, "justification": "The build is not finished."}))
}

test_extension_needs_justification_2 if {
	fixtures.fires("runtime/extension-needs-justification", fixtures.context(fixtures.person_extends, {"extension": {"used": 2}, "justification": "  "}))
	fixtures.silent("runtime/extension-needs-justification", fixtures.context(fixtures.person_extends, {"extension": {"used": 1}}))
}

test_session_too_old if {
	fixtures.fires("runtime/session-too-old", fixtures.context(fixtures.person_creates, {"session": {"issued_at": "2026-03-01T20:59:00Z"}}))
	fixtures.silent("runtime/session-too-old", fixtures.context(fixtures.person_creates, {"session": {"issued_at": "2026-03-01T21:00:00Z"}}))
}
