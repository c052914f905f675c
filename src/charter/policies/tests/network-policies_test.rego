package network_policies_test

import rego.v1

import data.fixtures

test_mode_unknown if {
	fixtures.fires("network/mode-unknown", fixtures.spec(fixtures.person_creates, {"network": {"mode": "bridge"}}))
	fixtures.silent("network/mode-unknown", fixtures.person_creates)
}

test_host_for_humans if {
	fixtures.fires("network/host-for-humans", fixtures.spec(fixtures.person_creates, {"network": {"mode": "host"}}))
	fixtures.silent("network/host-for-humans", fixtures.person_creates)
}

test_allowlist_wildcard if {
	fixtures.fires("network/allowlist-wildcard", fixtures.spec(fixtures.agent_connects, {"network": {"mode": "egress", "egressAllowlist": ["*"]}}))
	fixtures.silent("network/allowlist-wildcard", fixtures.spec(fixtures.agent_connects, {"network": {"mode": "egress", "egressAllowlist": ["*.example.org"]}}))
}

test_allowlist_wildcard_2 if {
	fixtures.fires("network/allowlist-wildcard", fixtures.spec(fixtures.agent_connects, {"network": {"mode": "egress", "egressAllowlist": ["*.org"]}}))
	fixtures.silent("network/allowlist-wildcard", fixtures.agent_connects)
}

test_allowlist_wildcard_3 if {
	fixtures.fires("network/allowlist-wildcard", fixtures.spec(fixtures.agent_connects, {"network": {"mode": "egress", "egressAllowlist": ["intranet"]}}))
	fixtures.silent("network/allowlist-wildcard", fixtures.agent_connects)
}

test_allowlist_address if {
	fixtures.fires("network/allowlist-address", fixtures.spec(fixtures.agent_connects, {"network": {"mode": "egress", "egressAllowlist": ["169.254.169.254"]}}))
	fixtures.silent("network/allowlist-address", fixtures.agent_connects)
}

test_allowlist_address_2 if {
	fixtures.fires("network/allowlist-address", fixtures.spec(fixtures.agent_connects, {"network": {"mode": "egress", "egressAllowlist": ["[fe80::1]:443"]}}))
	fixtures.silent("network/allowlist-address", fixtures.agent_connects)
}

test_allowlist_address_3 if {
	fixtures.fires("network/allowlist-address", fixtures.spec(fixtures.agent_connects, {"network": {"mode": "egress", "egressAllowlist": ["vault.internal:8200"]}}))
	fixtures.silent("network/allowlist-address", fixtures.spec(fixtures.agent_connects, {"network": {"mode": "egress", "egressAllowlist": ["git.example.org:443"]}}))
}

test_allowlist_denied if {
	fixtures.fires("network/allowlist-denied", fixtures.spec(fixtures.agent_connects, {"network": {"mode": "egress", "egressAllowlist": ["www.pastebin.com:443"]}}))
	fixtures.silent("network/allowlist-denied", fixtures.spec(fixtures.agent_connects, {"network": {"mode": "egress", "egressAllowlist": ["notpastebin.com"]}}))
}

test_allowlist_without_effect if {
	fixtures.fires("network/allowlist-without-effect", fixtures.spec(fixtures.person_creates, {"network": {"mode": "none", "egressAllowlist": ["git.example.org"]}}))
	fixtures.silent("network/allowlist-without-effect", fixtures.person_creates)
}

test_data_may_allow_host_for_people if {
	host := fixtures.spec(fixtures.person_creates, {"network": {"mode": "host"}})
	fixtures.silent("network/host-for-humans", host) with data.settings.limits.allow_host_network_for_humans as true
}

test_no_data_allows_host_for_agents if {
	host := fixtures.spec(fixtures.agent_creates, {"network": {"mode": "host"}})
	fixtures.fires("agent/host-network", host) with data.settings.limits.allow_host_network_for_humans as true
}
