package agent_code_test

import rego.v1

import data.fixtures
import data.scenes

test_code_review_missing if {
	fixtures.fires("agent/code-review-missing", fixtures.context(scenes.agent_change_merged, {"change": {"reviewers": [{"kind": "agent", "id": "agt_9"}]}}))
	fixtures.silent("agent/code-review-missing", scenes.agent_change_merged)
}

test_code_origin_missing if {
	fixtures.fires("agent/code-origin-missing", fixtures.context(scenes.person_merges, {"change": {"written_by": "nobody"}}))
	fixtures.silent("agent/code-origin-missing", scenes.person_merges)
}

test_merges_own if {
	fixtures.fires("agent/merges-own", fixtures.context(scenes.agent_merges, {"change": {"author": "agt_1"}}))
	fixtures.silent("agent/merges-own", scenes.agent_merges)
}

test_reviews_code if {
	fixtures.fires("agent/reviews-code", fixtures.agent_acts("code.review"))
	fixtures.silent("agent/reviews-code", fixtures.resource(fixtures.person_acts("code.review"), {"owner": "per_lee"}))
}

test_foreign_repository if {
	fixtures.fires("agent/foreign-repository", fixtures.resource(scenes.agent_merges, {"spec": {"repository": "git.example.org/salaries"}}))
	fixtures.silent("agent/foreign-repository", scenes.agent_merges)
}
