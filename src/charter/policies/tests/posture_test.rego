package posture_test

import rego.v1

import data.fixtures
import data.scenes

test_access_review_overdue if {
	fixtures.fires("soc2/access-review-overdue", scenes.posture("access", {"reviewed_at": "2020-01-01T00:00:00Z"}))
	fixtures.silent("soc2/access-review-overdue", scenes.posture("access", {}))
}

test_access_review_overdue_2 if {
	fixtures.fires("soc2/access-review-overdue", json.remove(scenes.posture("access", {}), ["context/posture/reviewed_at"]))
	fixtures.silent("soc2/access-review-overdue", fixtures.person_creates)
}

test_policy_review_overdue if {
	fixtures.fires("soc2/policy-review-overdue", scenes.posture("installation", {"policy_reviewed_at": "2020-01-01T00:00:00Z"}))
	fixtures.silent("soc2/policy-review-overdue", scenes.posture("installation", {}))
}

test_policy_review_overdue_2 if {
	fixtures.fires("soc2/policy-review-overdue", json.remove(scenes.posture("installation", {}), ["context/posture/policy_reviewed_at"]))
	fixtures.silent("soc2/policy-review-overdue", fixtures.person_creates)
}

test_compliance_scan_overdue if {
	fixtures.fires("soc2/compliance-scan-overdue", scenes.posture("installation", {"scanned_at": "2020-01-01T00:00:00Z"}))
	fixtures.silent("soc2/compliance-scan-overdue", scenes.posture("installation", {}))
}

test_compliance_scan_overdue_2 if {
	fixtures.fires("soc2/compliance-scan-overdue", json.remove(scenes.posture("installation", {}), ["context/posture/scanned_at"]))
	fixtures.silent("soc2/compliance-scan-overdue", fixtures.person_creates)
}

test_retention_too_short if {
	fixtures.fires("soc2/retention-too-short", fixtures.resource(fixtures.person_acts("retention.set"), {"spec": {"days": 365}}))
	fixtures.silent("soc2/retention-too-short", fixtures.resource(fixtures.person_acts("retention.set"), {"spec": {"days": 2557}}))
}

test_retention_found_short if {
	fixtures.fires("soc2/retention-found-short", scenes.posture("installation", {"audit_retention_days": 365}))
	fixtures.silent("soc2/retention-found-short", scenes.posture("installation", {}))
}

test_audit_trail_off if {
	fixtures.fires("soc2/audit-trail-off", scenes.posture("installation", {"audit_trail": false}))
	fixtures.silent("soc2/audit-trail-off", scenes.posture("installation", {}))
}

test_not_segmented if {
	fixtures.fires("network/not-segmented", scenes.posture("installation", {"segmented": false}))
	fixtures.silent("network/not-segmented", scenes.posture("installation", {}))
}

test_not_encrypted if {
	fixtures.fires("security/not-encrypted", scenes.posture("installation", {"encrypted_at_rest": false}))
	fixtures.silent("security/not-encrypted", scenes.posture("installation", {}))
}

test_no_self_hosted_option if {
	answer := data.charter.decision with input as scenes.posture("installation", {})
		with data.settings.llm.providers as {"openai": {"self_hosted": false, "classes": ["public"]}}
	"llm/no-self-hosted-option" in {violation.id | some violation in answer.violations}

	# With the shipped providers: fires("llm/no-self-hosted-option", ...) says no.
	fixtures.silent("llm/no-self-hosted-option", scenes.posture("installation", {}))
}
