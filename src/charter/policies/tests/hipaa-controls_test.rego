package hipaa_controls_test

import rego.v1

import data.fixtures

test_phi_region if {
	fixtures.fires("hipaa/phi-region", fixtures.resource(fixtures.person_creates, {"data_class": "regulated", "labels": {"data": "phi", "region": "eu-west-1"}}))
	fixtures.silent("hipaa/phi-region", fixtures.resource(fixtures.person_creates, {"data_class": "regulated", "labels": {"data": "phi", "region": "us-east-1"}}))
}

test_phi_region_2 if {
	fixtures.fires("hipaa/phi-region", fixtures.resource(fixtures.person_sponsors, {"labels": {"data": "phi"}}))
	fixtures.silent("hipaa/phi-region", fixtures.person_sponsors)
}

test_phi_class if {
	fixtures.fires("hipaa/phi-class", fixtures.resource(fixtures.person_creates, {"labels": {"data": "phi", "region": "us-east-1"}}))
	fixtures.silent("hipaa/phi-class", fixtures.resource(fixtures.person_creates, {"data_class": "regulated", "labels": {"data": "phi"}}))
}

test_phi_network if {
	fixtures.fires("hipaa/phi-network", fixtures.resource(fixtures.spec(fixtures.person_creates, {"network": {"mode": "host"}}), {"labels": {"data": "phi"}}))
	fixtures.silent("hipaa/phi-network", fixtures.spec(fixtures.person_creates, {"network": {"mode": "host"}}))
}
