# Editors, extensions, AI assistants, services and technologies that are approved. Asked with tool.use,
# by whoever installs or starts one. The lists stand in data/catalogue.json.
package admission.developer_tools

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Editors are approved"
# custom:
#   id: tools/ide-not-approved
#   severity: medium
#   controls: ["SOC2 CC6.8", "ISO27001 A.8.19"]
#   owner: platform-team
#   fix: "Use an approved editor, or ask for this one to be assessed; data/catalogue.json lists the approved ones."
deny contains {
	"id": "tools/ide-not-approved",
	"message": sprintf("The editor %v is not approved.", [name]),
} if {
	category == "ide"
	not approved
}

# METADATA
# title: "Extensions of editors are approved"
# custom:
#   id: tools/extension-not-approved
#   severity: medium
#   controls: ["SOC2 CC6.8", "ISO27001 A.8.19"]
#   owner: platform-team
#   fix: "Use an approved extension, or ask for this one to be assessed; data/catalogue.json lists the approved ones."
deny contains {
	"id": "tools/extension-not-approved",
	"message": sprintf("The extension %v is not approved.", [name]),
} if {
	category == "extension"
	not approved
}

# METADATA
# title: "AI coding assistants are approved"
# custom:
#   id: tools/assistant-not-approved
#   severity: high
#   controls: ["SOC2 CC9.2", "ISO27001 A.5.23", "EU-AI-Act Art.26"]
#   owner: security-team
#   fix: "Use an approved AI assistant, or ask for this one to be assessed; data/catalogue.json lists the approved ones."
deny contains {
	"id": "tools/assistant-not-approved",
	"message": sprintf("The AI assistant %v is not approved.", [name]),
} if {
	category == "assistant"
	not approved
}

# METADATA
# title: "Development tools are approved"
# custom:
#   id: tools/tool-not-approved
#   severity: medium
#   controls: ["SOC2 CC6.8", "ISO27001 A.8.19"]
#   owner: platform-team
#   fix: "Use an approved tool, or ask for this one to be assessed; data/catalogue.json lists the approved ones."
deny contains {
	"id": "tools/tool-not-approved",
	"message": sprintf("The tool %v is not approved.", [name]),
} if {
	category == "tool"
	not approved
}

# METADATA
# title: "Services of others are approved"
# custom:
#   id: tools/service-not-approved
#   severity: high
#   controls: ["SOC2 CC9.2", "ISO27001 A.5.19", "HIPAA 164.308(b)(1)"]
#   owner: security-team
#   fix: "Use an approved service, or ask for this one to be assessed; data/catalogue.json lists the approved ones."
deny contains {
	"id": "tools/service-not-approved",
	"message": sprintf("The service %v is not approved.", [name]),
} if {
	category == "service"
	not approved
}

# METADATA
# title: "Technologies come from the approved stack"
# custom:
#   id: tools/technology-not-approved
#   severity: low
#   controls: ["ISO27001 A.8.27"]
#   owner: platform-team
#   fix: "Use the approved stack, or say in the design why not."
warn contains {
	"id": "tools/technology-not-approved",
	"message": sprintf("%v does not belong to the approved technologies.", [name]),
} if {
	category == "technology"
	not approved
}

# METADATA
# title: "The kind of a tool is known"
# custom:
#   id: tools/category-unknown
#   severity: medium
#   controls: ["SOC2 CC6.8"]
#   owner: platform-team
#   fix: "Use one of the categories of data/catalogue.json."
deny contains {
	"id": "tools/category-unknown",
	"message": sprintf("There is no category %v of tools.", [category]),
} if {
	facts.action == "tool.use"
	not data.settings.catalogue.approved[category]
}

# METADATA
# title: "What is on its way out is pointed out"
# custom:
#   id: tools/deprecated
#   severity: low
#   controls: ["ISO27001 A.8.8"]
#   owner: platform-team
#   fix: "Move to what takes its place."
warn contains {
	"id": "tools/deprecated",
	"message": sprintf("%v is deprecated; %v takes its place.", [name, data.settings.catalogue.deprecated[name]]),
} if {
	facts.action == "tool.use"
	data.settings.catalogue.deprecated[name]
}

category := input.resource.spec.category if facts.action == "tool.use"

name := object.get(input, ["resource", "spec", "name"], "")

approved if name in object.get(data.settings.catalogue.approved, category, [])
