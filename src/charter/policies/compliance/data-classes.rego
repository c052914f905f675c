# Classes of data: everything has one, and the strict ones keep away from open networks.
package compliance.data_classes

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "The data class is known"
# custom:
#   id: compliance/data-class-unknown
#   severity: medium
#   controls: ["SOC2 C1.1", "ISO27001 A.5.12"]
#   owner: security-team
#   fix: "Use one of public, internal, confidential, regulated."
deny contains {
	"id": "compliance/data-class-unknown",
	"message": sprintf("There is no data class %v.", [facts.data_class]),
} if {
	facts.workspace_or_agent
	facts.data_class != ""
	not facts.data_class in data.settings.data_classes.classes
}

# METADATA
# title: "Everything has a data class"
# custom:
#   id: compliance/data-class-missing
#   severity: low
#   controls: ["SOC2 C1.1", "ISO27001 A.5.12"]
#   owner: security-team
#   fix: "Let an administrator classify the project."
warn contains {
	"id": "compliance/data-class-missing",
	"message": "Nothing says how sensitive the data is; it is treated as internal.",
} if {
	facts.action in {"workspace.create", "agent.create"}
	facts.data_class == ""
}

# METADATA
# title: "Classified data keeps off the host's network"
# custom:
#   id: compliance/host-network-classified
#   severity: high
#   controls: ["SOC2 CC6.7", "ISO27001 A.8.22"]
#   owner: security-team
#   fix: "Use the network mode none or egress."
deny contains {
	"id": "compliance/host-network-classified",
	"message": sprintf("Workspaces with %v data may not use the network of the host.", [facts.data_class]),
} if {
	facts.placing
	facts.data_class in {"confidential", "regulated"}
	facts.spec.network.mode == "host"
}
