package agent_production_test

import rego.v1

import data.fixtures
import data.scenes

test_production_credential if {
	fixtures.fires("agent/production-credential", fixtures.resource(scenes.agent_uses_secret, {"spec": {"environment": "production"}}))
	fixtures.silent("agent/production-credential", scenes.agent_uses_secret)
}

test_production_credential_2 if {
	fixtures.fires("agent/production-credential", json.remove(scenes.agent_uses_secret, ["resource/spec/environment"]))
	fixtures.silent("agent/production-credential", scenes.person_uses_secret)
}

test_production_access if {
	fixtures.fires("agent/production-access", object.union(fixtures.agent_acts("production.access"), {"resource": {"spec": {"seconds": 60}}}))
	fixtures.silent("agent/production-access", scenes.person_enters_production)
}

test_deploys if {
	fixtures.fires("agent/deploys", scenes.agent_deploys)
	fixtures.silent("agent/deploys", fixtures.subject(scenes.agent_deploys, {"tier": "trusted"}))
}
