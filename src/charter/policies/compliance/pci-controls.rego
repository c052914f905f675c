# Cardholder data (label data=pci): dedicated infrastructure.
package compliance.pci_controls

import rego.v1

import data.charter.facts

# METADATA
# title: "Cardholder data needs dedicated infrastructure"
# custom:
#   id: pci/dedicated
#   severity: critical
#   controls: ["PCI-DSS 2.2.1", "PCI-DSS 1.4.1"]
#   owner: security-team
#   fix: "Use a provider for dedicated infrastructure (label infrastructure=dedicated)."
deny contains {
	"id": "pci/dedicated",
	"message": "Cardholder data requires dedicated infrastructure.",
} if {
	facts.workspace_or_agent
	facts.label("data") == "pci"
	facts.label("infrastructure") != "dedicated"
}

# METADATA
# title: "Agents on cardholder data need the security team"
# custom:
#   id: pci/agents
#   severity: high
#   controls: ["PCI-DSS 7.2.1"]
#   owner: security-team
#   fix: "Ask the security team and say why an agent is needed."
require_approval contains {
	"id": "pci/agents",
	"message": "An agent that works on cardholder data needs the approval of the security team.",
} if {
	facts.action == "agent.create"
	facts.label("data") == "pci"
}
