package code_changes_test

import rego.v1

import data.fixtures
import data.scenes

test_review_missing if {
	fixtures.fires("code/review-missing", fixtures.context(scenes.person_merges, {"change": {"reviewers": []}}))
	fixtures.silent("code/review-missing", scenes.person_merges)
}

test_review_missing_2 if {
	fixtures.fires("code/review-missing", fixtures.context(scenes.person_merges, {"change": {"reviewers": [{"kind": "agent", "id": "agt_2"}, {"kind": "human", "id": "per_dana"}]}}))
	fixtures.silent("code/review-missing", fixtures.context(scenes.person_merges, {"environment": "development"}))
}

test_tests_not_passed if {
	fixtures.fires("code/tests-not-passed", fixtures.context(scenes.person_merges, {"change": {"tests": "failed"}}))
	fixtures.silent("code/tests-not-passed", scenes.person_merges)
}

test_unsigned_commits if {
	fixtures.fires("code/unsigned-commits", fixtures.context(scenes.person_merges, {"change": {"signed": false}}))
	fixtures.silent("code/unsigned-commits", scenes.person_pushes)
}

test_branch_not_protected if {
	fixtures.fires("code/branch-not-protected", fixtures.context(scenes.person_merges, {"change": {"protected": false}}))
	fixtures.silent("code/branch-not-protected", scenes.person_merges)
}

test_direct_push if {
	fixtures.fires("code/direct-push", fixtures.context(scenes.person_pushes, {"change": {"target": "main"}}))
	fixtures.silent("code/direct-push", scenes.person_pushes)
}

test_secret_found if {
	fixtures.fires("code/secret-found", fixtures.context(scenes.person_pushes, {"change": {"secrets_found": 1}}))
	fixtures.silent("code/secret-found", scenes.person_pushes)
}

test_scan_not_passed if {
	fixtures.fires("code/scan-not-passed", fixtures.context(scenes.person_merges, {"change": {"scans": {"dependencies": "failed"}}}))
	fixtures.silent("code/scan-not-passed", scenes.person_merges)
}

test_api_not_documented if {
	fixtures.fires("code/api-not-documented", fixtures.context(scenes.person_merges, {"change": {"undocumented_endpoints": ["GET /v1/refunds"]}}))
	fixtures.silent("code/api-not-documented", scenes.person_merges)
}

test_no_description if {
	fixtures.fires("code/no-description", fixtures.context(scenes.person_merges, {"change": {"description": ""}}))
	fixtures.silent("code/no-description", scenes.person_merges)
}

test_reviews_own if {
	fixtures.fires("code/reviews-own", fixtures.person_acts("code.review"))
	fixtures.silent("code/reviews-own", fixtures.resource(fixtures.person_acts("code.review"), {"owner": "per_lee"}))
}
