package agent_token_budgets_test

import rego.v1

import data.fixtures
import data.scenes

test_budget_missing if {
	fixtures.fires("agent/budget-missing", fixtures.context(scenes.agent_calls_llm, {"llm": {"budgets": []}}))
	fixtures.silent("agent/budget-missing", scenes.agent_calls_llm)
}

test_model_for_people if {
	fixtures.fires("agent/model-for-people", fixtures.resource(scenes.agent_calls_llm, {"spec": {"provider": "research-models"}}))
	fixtures.silent("agent/model-for-people", scenes.agent_calls_llm)
}
