# Where workspaces may connect.
package runtime.network_policies

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "The network mode is known"
# custom:
#   id: network/mode-unknown
#   severity: high
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.20"]
#   owner: security-team
#   fix: "Use one of the modes none, egress, host."
deny contains {
	"id": "network/mode-unknown",
	"message": sprintf("The network mode %v is not known.", [object.get(facts.spec.network, "mode", "")]),
} if {
	facts.placing
	not facts.spec.network.mode in data.settings.network.modes
}

# METADATA
# title: "The host's network is not for workspaces"
# custom:
#   id: network/host-for-humans
#   severity: high
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.22"]
#   owner: security-team
#   fix: "Use the network mode none or egress; an administrator may allow host for people in data/limits.json."
deny contains {
	"id": "network/host-for-humans",
	"message": "The policy does not let workspaces use the network of the host.",
} if {
	facts.placing
	facts.human_workspace
	facts.spec.network.mode == "host"
	data.settings.limits.allow_host_network_for_humans != true
}

# METADATA
# title: "Allowlists name hosts"
# custom:
#   id: network/allowlist-wildcard
#   severity: high
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.23"]
#   owner: security-team
#   fix: "Name the hosts, or a wildcard below one registered domain such as *.example.org."
deny contains {
	"id": "network/allowlist-wildcard",
	"message": sprintf("The destination %v is too wide to mean anything.", [entry]),
} if {
	facts.placing
	some entry in allowlist
	regex.match(`^\*(\.[^.]+)?$|^\*\*|^[^.]*$`, entry)
}

# METADATA
# title: "Allowlists do not name addresses"
# custom:
#   id: network/allowlist-address
#   severity: high
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.23"]
#   owner: security-team
#   fix: "Name the host by its domain name; internal services are reached through the gateway."
deny contains {
	"id": "network/allowlist-address",
	"message": sprintf("The destination %v is an address or an internal name.", [entry]),
} if {
	facts.placing
	some entry in allowlist
	regex.match(`^\[?[0-9a-fA-F:]*:[0-9a-fA-F:]*:[0-9a-fA-F:.]*\]?(:\d+)?$|^\d+\.\d+\.\d+\.\d+(:\d+)?$|^(.*\.)?(localhost|internal|local)(:\d+)?$`, entry)
}

# METADATA
# title: "Some destinations are never allowed"
# custom:
#   id: network/allowlist-denied
#   severity: high
#   controls: ["SOC2 CC6.7", "ISO27001 A.8.12"]
#   owner: security-team
#   fix: "Use the approved service for this purpose."
deny contains {
	"id": "network/allowlist-denied",
	"message": sprintf("The destination %v is never allowed, because data leaves the house there unseen.", [entry]),
} if {
	facts.placing
	some entry in allowlist
	some suffix in data.settings.network.never_allowed
	matches(entry, suffix)
}

# METADATA
# title: "An allowlist without network is pointed out"
# custom:
#   id: network/allowlist-without-effect
#   severity: low
#   controls: ["ISO27001 A.8.20"]
#   owner: security-team
#   fix: "Use the network mode egress, or leave the list out."
warn contains {
	"id": "network/allowlist-without-effect",
	"message": "The allowlist has no effect, because the workspace has no network.",
} if {
	facts.creating
	facts.human_workspace
	facts.spec.network.mode == "none"
	count(allowlist) > 0
}

allowlist := [entry |
	some entry in facts.allowlist
	is_string(entry)
]

matches(entry, suffix) if split(entry, ":")[0] == suffix

matches(entry, suffix) if endswith(split(entry, ":")[0], concat("", [".", suffix]))
