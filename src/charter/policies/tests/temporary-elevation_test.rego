package temporary_elevation_test

import rego.v1

import data.fixtures

elevated := object.union(fixtures.person_acts("agent.elevate"), {
	"resource": {"kind": "agent", "id": "agt_1", "spec": {"tier": "standard", "permissions": ["code.propose"], "repositories": ["git.example.org/a"], "deadline": "2026-03-02T10:00:00Z"}},
	"context": {"justification": "The fix is ready.", "task": {"repositories": ["git.example.org/b"]}},
})

raised := object.union(fixtures.person_acts("quota.request"), {
	"resource": {"kind": "quota", "spec": {"scope": "user:per_dana", "dimension": "vcpu", "amount": 16, "seconds": 86400}},
	"context": {"justification": "The release."},
})

emergency := object.union(fixtures.person_acts("break-glass.start"), {
	"subject": {"handle": "lee"},
	"resource": {"kind": "break-glass", "spec": {"role": "platform-admin", "seconds": 3600, "held_roles": ["team-lead"]}},
	"context": {"justification": "Nothing starts any more."},
})

reviewed := object.union(fixtures.person_acts("break-glass.review"), {"subject": {"roles": ["security-admin"]}})

test_agent_needs_approval if {
	fixtures.fires("elevation/agent-needs-approval", elevated)
	fixtures.silent("elevation/agent-needs-approval", raised)
}

test_tier_not_given if {
	fixtures.fires("elevation/tier-not-given", fixtures.resource(elevated, {"spec": {"tier": "root"}}))
	fixtures.silent("elevation/tier-not-given", elevated)
}

test_no_tier_is_no_tier_too_many if {
	fixtures.silent("elevation/tier-not-given", fixtures.resource(elevated, {"spec": {"tier": null}}))
}

test_permission_not_given if {
	fixtures.fires("elevation/permission-not-given", fixtures.resource(elevated, {"spec": {"permissions": ["production.access"]}}))
	fixtures.silent("elevation/permission-not-given", elevated)
}

test_too_many_repositories if {
	many := [name | some number in numbers.range(1, 10); name := sprintf("git.example.org/%d", [number])]
	fixtures.fires("elevation/too-many-repositories", fixtures.resource(elevated, {"spec": {"repositories": many}}))
	fixtures.silent("elevation/too-many-repositories", elevated)
}

test_raise_needs_approval if {
	fixtures.fires("quota/raise-needs-approval", raised)
	fixtures.silent("quota/raise-needs-approval", fixtures.resource(raised, {"spec": {"scope": "team:team_1"}}))
}

test_shared_raise_needs_approval if {
	fixtures.fires("quota/shared-raise-needs-approval", fixtures.resource(raised, {"spec": {"scope": "project:prj_1"}}))
	fixtures.silent("quota/shared-raise-needs-approval", raised)
}

test_raise_too_long if {
	fixtures.fires("quota/raise-too-long", fixtures.resource(raised, {"spec": {"seconds": 2592001}}))
	fixtures.silent("quota/raise-too-long", raised)
}

test_raise_too_much if {
	fixtures.fires("quota/raise-too-much", fixtures.resource(raised, {"spec": {"amount": 257}}))
	fixtures.silent("quota/raise-too-much", raised)
}

test_nothing_is_no_raise if {
	fixtures.fires("quota/raise-too-much", fixtures.resource(raised, {"spec": {"amount": 0}}))
	fixtures.fires("quota/raise-too-much", fixtures.resource(raised, {"spec": {"dimension": "luck"}}))
}

test_not_named if {
	fixtures.fires("break-glass/not-named", fixtures.resource(emergency, {"spec": {"held_roles": ["developer"]}}))
	fixtures.silent("break-glass/not-named", emergency)
}

test_named_by_handle if {
	only_lee := {"platform-admin": {"seconds": 3600, "eligible_roles": [], "eligible_people": ["lee"]}}
	fixtures.silent("break-glass/not-named", emergency) with data.settings.elevation.break_glass.roles as only_lee
	fixtures.fires("break-glass/not-named", fixtures.subject(emergency, {"handle": "otto"})) with data.settings.elevation.break_glass.roles as only_lee
}

test_no_such_emergency_role if {
	fixtures.fires("break-glass/not-named", fixtures.resource(emergency, {"spec": {"role": "security-admin"}}))
}

test_too_long if {
	fixtures.fires("break-glass/too-long", fixtures.resource(emergency, {"spec": {"seconds": 3601}}))
	fixtures.silent("break-glass/too-long", emergency)
}

test_no_reason if {
	fixtures.fires("break-glass/no-reason", fixtures.context(emergency, {"justification": " "}))
	fixtures.silent("break-glass/no-reason", emergency)
}

test_not_a_reviewer if {
	fixtures.fires("break-glass/not-a-reviewer", fixtures.subject(reviewed, {"roles": ["platform-admin"]}))
	fixtures.silent("break-glass/not-a-reviewer", reviewed)
}
