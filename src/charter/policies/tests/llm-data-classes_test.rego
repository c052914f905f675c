package llm_data_classes_test

import rego.v1

import data.fixtures
import data.scenes

test_class_not_for_provider if {
	fixtures.fires("llm/class-not-for-provider", fixtures.resource(scenes.person_calls_llm, {"data_class": "confidential"}))
	fixtures.silent("llm/class-not-for-provider", scenes.person_calls_llm)
}

test_regulated_needs_self_hosted if {
	fixtures.fires("llm/regulated-needs-self-hosted", fixtures.resource(scenes.person_calls_llm, {"data_class": "regulated"}))
	fixtures.silent("llm/regulated-needs-self-hosted", fixtures.resource(scenes.self_hosted_call, {"data_class": "regulated"}))
}

test_class_unknown if {
	fixtures.fires("llm/class-unknown", fixtures.resource(scenes.person_calls_llm, {"data_class": "top-secret"}))
	fixtures.silent("llm/class-unknown", scenes.person_calls_llm)
}

test_blocked_content if {
	fixtures.fires("llm/blocked-content", fixtures.context(scenes.person_calls_llm, {"llm": {"findings": [{"kind": "secret"}]}}))
	fixtures.silent("llm/blocked-content", scenes.person_calls_llm)
}

test_alerted_content if {
	fixtures.fires("llm/alerted-content", fixtures.context(scenes.person_calls_llm, {"llm": {"findings": [{"kind": "personal-data"}]}}))
	fixtures.silent("llm/alerted-content", scenes.person_calls_llm)
}

test_prompts_not_logged if {
	fixtures.fires("llm/prompts-not-logged", fixtures.context(scenes.person_calls_llm, {"llm": {"prompt_log": "off"}}))
	fixtures.silent("llm/prompts-not-logged", scenes.person_calls_llm)
}

test_prompts_not_logged_2 if {
	fixtures.fires("llm/prompts-not-logged", fixtures.context(fixtures.resource(scenes.self_hosted_call, {"data_class": "regulated"}), {"llm": {"prompt_log": "metadata"}}))
	fixtures.silent("llm/prompts-not-logged", fixtures.resource(scenes.self_hosted_call, {"data_class": "regulated"}))
}
