# Who may come in, and from where. Signing in itself is Charter's; here is what every request of a
# person is held against. The networks stand in data/access.json; an empty list means everywhere.
package admission.identity

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "People come from known networks"
# custom:
#   id: access/network-not-allowed
#   severity: high
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.20", "PCI-DSS 1.4.1"]
#   owner: security-team
#   fix: "Connect through the company network or its VPN."
deny contains {
	"id": "access/network-not-allowed",
	"message": "The request does not come from a network that the policy lets in.",
} if {
	facts.human
	count(data.settings.access.networks) > 0
	not inside(object.get(input, ["subject", "ip"], ""))
}

inside(address) if {
	net.cidr_is_valid(sprintf("%s/0", [address]))
	some network in data.settings.access.networks
	net.cidr_contains(network, address)
}
