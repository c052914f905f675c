package llm_provider_allowlist_test

import rego.v1

import data.fixtures
import data.scenes

test_provider_not_approved if {
	fixtures.fires("llm/provider-not-approved", fixtures.resource(scenes.person_calls_llm, {"spec": {"provider": "cheap-tokens"}}))
	fixtures.silent("llm/provider-not-approved", scenes.person_calls_llm)
}

test_model_not_approved if {
	fixtures.fires("llm/model-not-approved", fixtures.resource(scenes.person_calls_llm, {"spec": {"model": "frontier-9"}}))
	fixtures.silent("llm/model-not-approved", scenes.person_calls_llm)
}

test_model_not_approved_2 if {
	fixtures.fires("llm/model-not-approved", fixtures.resource(scenes.self_hosted_call, {"spec": {"model": "unknown-7b"}}))
	fixtures.silent("llm/model-not-approved", scenes.self_hosted_call)
}

test_no_agreement if {
	fixtures.fires("llm/no-agreement", fixtures.context(scenes.person_calls_llm, {"now": "2031-03-02T09:00:00Z"}))
	fixtures.silent("llm/no-agreement", scenes.person_calls_llm)
}

test_no_agreement_2 if {
	fixtures.fires("llm/no-agreement", fixtures.resource(scenes.person_calls_llm, {"spec": {"provider": "hosted-open-models", "model": "open-70b"}}))
	fixtures.silent("llm/no-agreement", fixtures.resource(scenes.person_calls_llm, {"data_class": "public", "spec": {"provider": "hosted-open-models", "model": "open-70b"}}))
}

test_trains_on_data if {
	fixtures.fires("llm/trains-on-data", fixtures.resource(scenes.person_calls_llm, {"spec": {"provider": "hosted-open-models", "model": "open-70b"}}))
	fixtures.silent("llm/trains-on-data", scenes.person_calls_llm)
}

test_not_for_role if {
	fixtures.fires("llm/not-for-role", object.union(scenes.self_hosted_call, {"subject": {"roles": ["read-only"]}}))
	fixtures.silent("llm/not-for-role", scenes.self_hosted_call)
}

test_not_for_team if {
	fixtures.fires("llm/not-for-team", fixtures.resource(scenes.person_calls_llm, {"spec": {"provider": "research-models", "model": "lab-1"}}))
	fixtures.silent("llm/not-for-team", object.union(scenes.person_calls_llm, {"subject": {"teams": ["team_research"]}, "resource": {"spec": {"provider": "research-models", "model": "lab-1"}}}))
}

test_floating_model if {
	fixtures.fires("llm/floating-model", fixtures.context(fixtures.resource(scenes.person_calls_llm, {"spec": {"model": "gpt-5-latest"}}), {"environment": "production"}))
	fixtures.silent("llm/floating-model", fixtures.resource(scenes.person_calls_llm, {"spec": {"model": "gpt-5-latest"}}))
}

test_past_the_gateway if {
	fixtures.fires("llm/past-the-gateway", fixtures.context(scenes.person_calls_llm, {"llm": {"gateway": false}}))
	fixtures.silent("llm/past-the-gateway", scenes.person_calls_llm)
}

test_premium_for_simple_task if {
	fixtures.fires("llm/premium-for-simple-task", fixtures.context(scenes.premium_call, {"llm": {"task": "commit-message"}}))
	fixtures.silent("llm/premium-for-simple-task", fixtures.context(scenes.premium_call, {"llm": {"task": "design"}}))
}

test_premium_for_simple_task_2 if {
	fixtures.fires("llm/premium-for-simple-task", fixtures.context(scenes.premium_call, {"llm": {"task": "summary"}}))
	fixtures.silent("llm/premium-for-simple-task", fixtures.context(scenes.person_calls_llm, {"llm": {"task": "summary"}}))
}
