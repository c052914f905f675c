# The images of agents, apart from those of people: small ones, because an agent needs no editor, and
# every tool in the box is one that it can misuse.
package admission.agent_images

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Agents start from minimal images"
# custom:
#   id: agent/image-not-minimal
#   severity: medium
#   controls: ["SOC2 CC6.8", "ISO27001 A.8.9", "EU-AI-Act Art.15"]
#   owner: platform-team
#   fix: "Use one of the images made for agents; data/images.json lists them."
deny contains {
	"id": "agent/image-not-minimal",
	"message": sprintf("The image %v is not one of the minimal images for agents.", [image.reference]),
} if {
	facts.placing
	facts.agent_workspace
	some image in facts.images
	not minimal(image)
}

minimal(image) if {
	some prefix in data.settings.images.minimal
	startswith(object.get(image, "base", image.reference), prefix)
}
