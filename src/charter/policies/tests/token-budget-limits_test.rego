package token_budget_limits_test

import rego.v1

import data.fixtures
import data.scenes

test_budget_exhausted if {
	fixtures.fires("llm/budget-exhausted", scenes.spent(999999))
	fixtures.silent("llm/budget-exhausted", scenes.spent(990000))
}

test_budget_nearly_used if {
	fixtures.fires("llm/budget-nearly-used", scenes.spent(799000))
	fixtures.silent("llm/budget-nearly-used", scenes.spent(700000))
}

test_budget_nearly_used_2 if {
	fixtures.fires("llm/budget-nearly-used", scenes.spent(999000))
	fixtures.silent("llm/budget-nearly-used", fixtures.context(scenes.person_calls_llm, {"llm": {"budgets": [{"scope": "team:team_1", "unit": "tokens", "limit": 0, "used": 0, "wanted": 0}, {"scope": "user:per_dana", "unit": "tokens", "limit": 10, "used": 0, "wanted": 0}]}}))
}

test_budget_missing if {
	fixtures.fires("llm/budget-missing", fixtures.context(scenes.person_calls_llm, {"llm": {"budgets": []}}))
	fixtures.silent("llm/budget-missing", scenes.person_calls_llm)
}

test_request_too_large if {
	fixtures.fires("llm/request-too-large", fixtures.resource(scenes.person_calls_llm, {"spec": {"tokens": 200001}}))
	fixtures.silent("llm/request-too-large", scenes.person_calls_llm)
}

test_too_many_calls if {
	fixtures.fires("llm/too-many-calls", fixtures.context(scenes.person_calls_llm, {"llm": {"calls_last_minute": 61}}))
	fixtures.silent("llm/too-many-calls", fixtures.context(scenes.person_calls_llm, {"llm": {"calls_last_minute": 60}}))
}
