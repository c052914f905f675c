package agent_templates_test

import rego.v1

import data.fixtures
import data.scenes

test_template_image if {
	fixtures.fires("agent/template-image", fixtures.resource(scenes.agent_template_published, {"spec": {"image": "registry.example.org/base/python"}}))
	fixtures.silent("agent/template-image", scenes.agent_template_published)
}

test_template_editor if {
	fixtures.fires("agent/template-editor", fixtures.resource(scenes.agent_template_published, {"spec": {"tools": [{"category": "ide", "name": "vscode"}]}}))
	fixtures.silent("agent/template-editor", fixtures.resource(scenes.template_published, {"spec": {"tools": [{"category": "ide", "name": "vscode"}]}}))
}

test_template_network if {
	fixtures.fires("agent/template-network", json.remove(scenes.agent_template_published, ["resource/spec/network"]))
	fixtures.silent("agent/template-network", scenes.agent_template_published)
}

test_template_runtime if {
	fixtures.fires("agent/template-runtime", json.remove(scenes.agent_template_published, ["resource/spec/max_runtime_seconds"]))
	fixtures.silent("agent/template-runtime", scenes.agent_template_published)
}
