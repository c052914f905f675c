package cost_controls_test

import rego.v1

import data.fixtures
import data.scenes

test_tags_missing if {
	fixtures.fires("cost/tags-missing", fixtures.context(fixtures.person_creates, {"environment": "staging"}))
	fixtures.silent("cost/tags-missing", fixtures.resource(fixtures.context(fixtures.person_creates, {"environment": "staging"}), {"labels": {"cost-center": "4711"}}))
}

test_budget_exhausted if {
	fixtures.fires("cost/budget-exhausted", scenes.costly(100001))
	fixtures.silent("cost/budget-exhausted", scenes.costly(90000))
}

test_budget_nearly_used if {
	fixtures.fires("cost/budget-nearly-used", scenes.costly(80000))
	fixtures.silent("cost/budget-nearly-used", scenes.costly(70000))
}

test_budget_nearly_used_2 if {
	fixtures.fires("cost/budget-nearly-used", scenes.costly(100000))
	fixtures.silent("cost/budget-nearly-used", fixtures.context(fixtures.person_creates, {"budgets": [{"scope": "team:team_1", "unit": "cents", "limit": 0, "used": 0, "wanted": 0}]}))
}

test_home_too_large if {
	fixtures.fires("cost/home-too-large", fixtures.spec(fixtures.person_creates, {"resources": {"homeMib": 20480}}))
	fixtures.silent("cost/home-too-large", fixtures.spec(fixtures.person_creates, {"resources": {"homeMib": 10240}}))
}

test_gpu_idle if {
	fixtures.fires("cost/gpu-idle", fixtures.context(fixtures.person_extends, {"gpu": {"idle_seconds": 1800}}))
	fixtures.silent("cost/gpu-idle", fixtures.context(fixtures.person_extends, {"gpu": {"idle_seconds": 1799}}))
}
