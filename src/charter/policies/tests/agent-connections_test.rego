package agent_connections_test

import rego.v1

import data.fixtures
import data.scenes

test_destination_not_listed if {
	fixtures.fires("agent/destination-not-listed", fixtures.resource(scenes.agent_connects, {"spec": {"host": "example.net"}}))
	fixtures.silent("agent/destination-not-listed", scenes.agent_connects)
}

test_destination_not_listed_2 if {
	fixtures.fires("agent/destination-not-listed", fixtures.resource(fixtures.context(scenes.agent_connects, {"egress": {"allowlist": ["*.docs.example.com"]}}), {"spec": {"host": "docs.example.com"}}))
	fixtures.silent("agent/destination-not-listed", fixtures.resource(fixtures.context(scenes.agent_connects, {"egress": {"allowlist": ["*.docs.example.com"]}}), {"spec": {"host": "api.docs.example.com"}}))
}

test_name_not_listed if {
	fixtures.fires("agent/name-not-listed", scenes.agent_looks_up("stolen-data.example.net"))
	fixtures.silent("agent/name-not-listed", scenes.agent_looks_up("registry.example.org"))
}

test_internal_service if {
	fixtures.fires("agent/internal-service", fixtures.resource(scenes.agent_connects, {"spec": {"host": "billing.svc.internal"}}))
	fixtures.silent("agent/internal-service", fixtures.context(fixtures.resource(scenes.agent_connects, {"spec": {"host": "billing.svc.internal"}}), {"task": {"services": ["billing.svc.internal"]}}))
}

test_connection_not_logged if {
	fixtures.fires("agent/connection-not-logged", fixtures.context(scenes.agent_connects, {"connection": {"logged": false}}))
	fixtures.silent("agent/connection-not-logged", scenes.agent_connects)
}

test_no_network_tier if {
	fixtures.fires("agent/no-network-tier", fixtures.subject(scenes.agent_connects, {"tier": "sandboxed"}))
	fixtures.silent("agent/no-network-tier", scenes.agent_connects)
}
