# Single connections out of workspaces, for people and agents. Asked with network.connect and
# network.resolve by the egress gateway. The lists stand in data/network.json.
package runtime.connections

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Some destinations are reached by nobody"
# custom:
#   id: network/destination-denied
#   severity: high
#   controls: ["SOC2 CC6.7", "ISO27001 A.8.12", "ISO27001 A.8.23"]
#   owner: security-team
#   fix: "Use the approved service for this purpose."
deny contains {
	"id": "network/destination-denied",
	"message": sprintf("The destination %v is never allowed, because data leaves the house there unseen.", [host]),
} if {
	leaving
	some suffix in data.settings.network.never_allowed
	below(host, suffix)
}

# METADATA
# title: "Connections are encrypted"
# custom:
#   id: network/plaintext
#   severity: medium
#   controls: ["SOC2 CC6.7", "ISO27001 A.8.24", "HIPAA 164.312(e)(1)", "PCI-DSS 4.2.1"]
#   owner: security-team
#   fix: "Use TLS (https, ssh)."
deny contains {
	"id": "network/plaintext",
	"message": sprintf("The connection to %v is not encrypted.", [host]),
} if {
	connecting
	object.get(input, ["resource", "spec", "encrypted"], false) != true
	not host in data.settings.network.plaintext_hosts
}

# METADATA
# title: "Secrets do not leave through the network"
# custom:
#   id: network/leak
#   severity: critical
#   controls: ["SOC2 CC6.7", "ISO27001 A.8.12", "HIPAA 164.312(e)(1)"]
#   owner: security-team
#   fix: "Do not send it; what was about to leave counts as leaked and is rotated."
deny contains {
	"id": "network/leak",
	"message": sprintf("The traffic to %v holds what must not leave: %v.", [host, kind]),
} if {
	connecting
	some kind in found
	kind in data.settings.network.dlp_blocked
}

# METADATA
# title: "Sensitive traffic is pointed out"
# custom:
#   id: network/sensitive-traffic
#   severity: medium
#   controls: ["ISO27001 A.8.12", "GDPR Art.32"]
#   owner: security-team
#   fix: "See whether this has to leave."
warn contains {
	"id": "network/sensitive-traffic",
	"message": sprintf("The traffic to %v holds %v.", [host, kind]),
} if {
	connecting
	some kind in found
	kind in data.settings.network.dlp_alerted
}

connecting if facts.action == "network.connect"

leaving if facts.action in {"network.connect", "network.resolve"}

host := lower(object.get(input, ["resource", "spec", "host"], ""))

below(name, suffix) if name == suffix

below(name, suffix) if endswith(name, concat("", [".", suffix]))

found contains finding.kind if {
	connecting
	some finding in object.get(input, ["context", "dlp", "findings"], [])
}
