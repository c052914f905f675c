package eu_ai_act_controls_test

import rego.v1

import data.fixtures

test_prohibited_practice if {
	fixtures.fires("eu-ai-act/prohibited-practice", fixtures.resource(fixtures.agent_creates, {"labels": {"ai-risk": "unacceptable"}}))
	fixtures.silent("eu-ai-act/prohibited-practice", fixtures.resource(fixtures.person_creates, {"labels": {"ai-risk": "unacceptable"}}))
}

test_high_risk_oversight if {
	fixtures.fires("eu-ai-act/high-risk-oversight", fixtures.resource(fixtures.person_sponsors, {"labels": {"ai-risk": "high"}}))
	fixtures.silent("eu-ai-act/high-risk-oversight", fixtures.person_sponsors)
}
