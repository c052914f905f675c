package agent_tools_test

import rego.v1

import data.fixtures
import data.scenes

test_editor if {
	fixtures.fires("agent/editor", object.union(fixtures.agent_acts("tool.use"), {"resource": {"spec": {"category": "ide", "name": "vscode"}}}))
	fixtures.silent("agent/editor", scenes.tool("ide", "vscode"))
}
