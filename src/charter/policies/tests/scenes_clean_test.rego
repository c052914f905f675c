# The requests that the other tests start from are fine: what they change is what is found.
package scenes_clean_test

import rego.v1

import data.fixtures
import data.scenes

clean := {
	"image": scenes.person_uses_image, "secret": scenes.person_uses_secret, "agent's secret": scenes.agent_uses_secret,
	"tool": scenes.tool("ide", "vscode"), "template": scenes.template_published, "agent's template": scenes.agent_template_published,
	"llm": scenes.person_calls_llm, "own llm": scenes.self_hosted_call, "agent's llm": scenes.agent_calls_llm,
	"act": scenes.agent_tests, "connection": scenes.person_connects, "agent's connection": scenes.agent_connects,
	"name": scenes.agent_looks_up("git.example.org"), "merge": scenes.person_merges, "push": scenes.person_pushes,
	"agent's change": scenes.agent_change_merged, "access": scenes.posture("access", {}),
	"agent's posture": scenes.posture("agent", {}), "installation": scenes.posture("installation", {}),
	"person": fixtures.person_creates, "agent": fixtures.agent_creates, "connected agent": fixtures.agent_connects,
	"sponsor": fixtures.person_sponsors, "extension": fixtures.person_extends,
}

test_nothing_speaks_against_the_clean_ones if {
	count(clean) > 20
	spoken := {name: [v.id | some v in answer.violations] |
		some name, document in clean
		answer := data.charter.decision with input as document
		answer.effect != "allow"
	}
	spoken == {}
}

test_production_always_asks_somebody if {
	every document in [scenes.person_enters_production, scenes.person_deploys] {
		answer := data.charter.decision with input as document
		answer.effect == "require_approval"
		count(answer.violations) == 1
	}
}
