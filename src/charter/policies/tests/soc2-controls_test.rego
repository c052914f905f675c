package soc2_controls_test

import rego.v1

import data.fixtures

test_policy_change_reason if {
	fixtures.fires("soc2/policy-change-reason", fixtures.person_acts("policy.apply"))
	fixtures.silent("soc2/policy-change-reason", fixtures.context(fixtures.person_acts("policy.apply"), {"justification": "A new region."}))
}

test_audit_export_reason if {
	fixtures.fires("soc2/audit-export-reason", fixtures.person_acts("audit.export"))
	fixtures.silent("soc2/audit-export-reason", fixtures.context(fixtures.person_acts("audit.export"), {"justification": "The yearly audit."}))
}

test_own_request if {
	fixtures.fires("soc2/own-request", fixtures.person_acts("approval.vote"))
	fixtures.silent("soc2/own-request", fixtures.resource(fixtures.person_acts("approval.vote"), {"owner": "per_lee"}))
}

test_privileged_role_expiry if {
	fixtures.fires("soc2/privileged-role-expiry", fixtures.resource(fixtures.person_acts("role.bind"), {"spec": {"role": "platform-admin"}}))
	fixtures.silent("soc2/privileged-role-expiry", fixtures.resource(fixtures.person_acts("role.bind"), {"spec": {"role": "platform-admin", "expires_at": "2026-06-01T00:00:00Z"}}))
}

test_quota_change_reason if {
	fixtures.fires("soc2/quota-change-reason", fixtures.person_acts("quota.manage"))
	fixtures.silent("soc2/quota-change-reason", fixtures.context(fixtures.person_acts("quota.manage"), {"justification": "A larger team."}))
}
