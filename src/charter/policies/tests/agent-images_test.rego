package agent_images_test

import rego.v1

import data.fixtures
import data.scenes

test_image_not_minimal if {
	fixtures.fires("agent/image-not-minimal", fixtures.context(fixtures.agent_creates, {"images": [scenes.good_image]}))
	fixtures.silent("agent/image-not-minimal", fixtures.context(fixtures.agent_creates, {"images": [object.union(scenes.good_image, {"base": "registry.example.org/base/agent"})]}))
}

test_image_not_minimal_2 if {
	fixtures.fires("agent/image-not-minimal", fixtures.context(fixtures.agent_creates, {"images": [object.remove(scenes.good_image, ["base"])]}))
	fixtures.silent("agent/image-not-minimal", fixtures.context(fixtures.person_creates, {"images": [scenes.good_image]}))
}
