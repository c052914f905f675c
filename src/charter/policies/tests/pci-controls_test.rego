package pci_controls_test

import rego.v1

import data.fixtures

test_dedicated if {
	fixtures.fires("pci/dedicated", fixtures.resource(fixtures.person_creates, {"labels": {"data": "pci"}}))
	fixtures.silent("pci/dedicated", fixtures.resource(fixtures.person_creates, {"labels": {"data": "pci", "infrastructure": "dedicated"}}))
}

test_agents if {
	fixtures.fires("pci/agents", fixtures.resource(fixtures.person_sponsors, {"labels": {"data": "pci"}}))
	fixtures.silent("pci/agents", fixtures.person_sponsors)
}
