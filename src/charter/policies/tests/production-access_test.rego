package production_access_test

import rego.v1

import data.fixtures
import data.scenes

test_needs_approval if {
	fixtures.fires("production/needs-approval", scenes.person_enters_production)
	fixtures.silent("production/needs-approval", fixtures.person_creates)
}

test_no_end if {
	fixtures.fires("production/no-end", fixtures.resource(scenes.person_enters_production, {"spec": {"seconds": 0}}))
	fixtures.silent("production/no-end", scenes.person_enters_production)
}

test_no_end_2 if {
	fixtures.fires("production/no-end", fixtures.resource(scenes.person_enters_production, {"spec": {"seconds": "for ever"}}))
	fixtures.silent("production/no-end", fixtures.person_creates)
}

test_too_long if {
	fixtures.fires("production/too-long", fixtures.resource(scenes.person_enters_production, {"spec": {"seconds": 14401}}))
	fixtures.silent("production/too-long", fixtures.resource(scenes.person_enters_production, {"spec": {"seconds": 14400}}))
}

test_no_second_factor if {
	fixtures.fires("production/no-second-factor", fixtures.subject(scenes.person_enters_production, {"mfa": false}))
	fixtures.silent("production/no-second-factor", scenes.person_enters_production)
}

test_outside_pipeline if {
	fixtures.fires("production/outside-pipeline", fixtures.resource(scenes.person_deploys, {"spec": {"via": "laptop"}}))
	fixtures.silent("production/outside-pipeline", scenes.person_deploys)
}

test_outside_pipeline_2 if {
	fixtures.fires("production/outside-pipeline", fixtures.resource(scenes.person_deploys, {"spec": {"environment": "production", "via": "laptop"}}))
	fixtures.silent("production/outside-pipeline", fixtures.resource(scenes.person_deploys, {"spec": {"environment": "test", "via": "laptop"}}))
}

test_deployment_needs_approval if {
	fixtures.fires("production/deployment-needs-approval", scenes.person_deploys)
	fixtures.silent("production/deployment-needs-approval", fixtures.resource(scenes.person_deploys, {"spec": {"environment": "staging"}}))
}

test_own_deployment if {
	fixtures.fires("production/own-deployment", fixtures.resource(scenes.person_deploys, {"spec": {"author": "per_dana"}}))
	fixtures.silent("production/own-deployment", scenes.person_deploys)
}
