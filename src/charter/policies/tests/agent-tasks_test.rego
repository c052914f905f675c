package agent_tasks_test

import rego.v1

import data.fixtures

test_repositories_missing if {
	fixtures.fires("ai/repositories-missing", fixtures.resource(fixtures.person_sponsors, {"spec": {"repositories": []}}))
	fixtures.silent("ai/repositories-missing", fixtures.person_sponsors)
}

test_repository_wildcard if {
	fixtures.fires("ai/repository-wildcard", fixtures.resource(fixtures.person_sponsors, {"spec": {"repositories": ["git.example.org/*"]}}))
	fixtures.silent("ai/repository-wildcard", fixtures.person_sponsors)
}

test_many_repositories if {
	fixtures.fires("ai/many-repositories", fixtures.resource(fixtures.person_sponsors, {"spec": {"repositories": ["a", "b", "c", "d", "e", "f"]}}))
	fixtures.silent("ai/many-repositories", fixtures.person_sponsors)
}

test_tier_unknown if {
	fixtures.fires("ai/tier-unknown", fixtures.resource(fixtures.person_sponsors, {"spec": {"tier": "godlike"}}))
	fixtures.silent("ai/tier-unknown", fixtures.person_sponsors)
}

test_trusted_tier_needs_approval if {
	fixtures.fires("ai/trusted-tier-needs-approval", fixtures.resource(fixtures.person_sponsors, {"spec": {"tier": "trusted"}}))
	fixtures.silent("ai/trusted-tier-needs-approval", fixtures.person_sponsors)
}

test_standard_tier if {
	fixtures.fires("ai/standard-tier", fixtures.resource(fixtures.person_sponsors, {"spec": {"tier": "standard"}}))
	fixtures.silent("ai/standard-tier", fixtures.person_sponsors)
}

test_merge_needs_trusted if {
	fixtures.fires("ai/merge-needs-trusted", fixtures.agent_acts("code.merge"))
	fixtures.silent("ai/merge-needs-trusted", fixtures.subject(fixtures.agent_acts("code.merge"), {"tier": "trusted"}))
}

test_propose_needs_standard if {
	fixtures.fires("ai/propose-needs-standard", fixtures.agent_acts("code.propose"))
	fixtures.silent("ai/propose-needs-standard", fixtures.subject(fixtures.agent_acts("code.propose"), {"tier": "standard"}))
}
