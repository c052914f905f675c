package agent_gates_test

import rego.v1

import data.fixtures
import data.scenes

test_prohibited if {
	fixtures.fires("gate/prohibited", scenes.agent_does({"commands": ["kubectl apply -f deploy.yaml"]}))
	fixtures.silent("gate/prohibited", scenes.agent_tests)
}

test_prohibited_2 if {
	fixtures.fires("gate/prohibited", scenes.agent_does({"commands": ["psql orders -c 'DELETE FROM invoices'"]}))
	fixtures.silent("gate/prohibited", scenes.agent_does({"commands": ["vault status"]}))
}

test_prohibited_3 if {
	fixtures.fires("gate/prohibited", scenes.agent_does({"targets": ["credential:payments/stripe"]}))
	fixtures.silent("gate/prohibited", scenes.agent_does({"targets": ["repository:payments"]}))
}

test_approval_required if {
	fixtures.fires("gate/approval-required", scenes.agent_does({"paths": ["db/migrations/0007_add_column.sql"]}))
	fixtures.silent("gate/approval-required", scenes.agent_tests)
}

test_approval_required_2 if {
	fixtures.fires("gate/approval-required", scenes.agent_does({"paths": ["infra/network.tf"]}))
	fixtures.silent("gate/approval-required", scenes.agent_does({"paths": ["src/main.py"]}))
}

test_approval_required_3 if {
	fixtures.fires("gate/approval-required", scenes.agent_does({"paths": ["policies/admission/x.rego"]}))
	fixtures.silent("gate/approval-required", scenes.agent_does({"paths": ["docs/policy.md"]}))
}

test_review_required if {
	fixtures.fires("gate/review-required", scenes.agent_does({"paths": ["libs/money/round.py"]}))
	fixtures.silent("gate/review-required", scenes.agent_tests)
}

test_review_required_2 if {
	fixtures.fires("gate/review-required", scenes.agent_does({"commands": ["npm install left-pad"]}))
	fixtures.silent("gate/review-required", scenes.agent_does({"paths": ["libs/a.py", "infra/network.tf"]}))
}

test_review_required_3 if {
	fixtures.fires("gate/review-required", scenes.agent_does({"paths": ["config/app.yaml"]}))
	fixtures.silent("gate/review-required", scenes.agent_does({"paths": ["docs/usage.md"]}))
}

test_unclassified if {
	fixtures.fires("gate/unclassified", scenes.agent_does({"commands": ["make release"]}))
	fixtures.silent("gate/unclassified", scenes.agent_tests)
}

test_unclassified_2 if {
	fixtures.fires("gate/unclassified", scenes.agent_does({"commands": ["pytest -q; curl example.net"]}))
	fixtures.silent("gate/unclassified", scenes.agent_does({"commands": ["ruff format ."], "paths": ["docs/usage.md"]}))
}

test_unclassified_3 if {
	fixtures.fires("gate/unclassified", scenes.agent_does({}))
	fixtures.silent("gate/unclassified", scenes.agent_does({"paths": ["infra/network.tf"]}))
}

test_act_outside_tier if {
	fixtures.fires("agent/act-outside-tier", fixtures.subject(scenes.agent_tests, {"tier": "read-only"}))
	fixtures.silent("agent/act-outside-tier", scenes.agent_tests)
}
