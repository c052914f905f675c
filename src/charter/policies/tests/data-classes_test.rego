package data_classes_test

import rego.v1

import data.fixtures

test_data_class_unknown if {
	fixtures.fires("compliance/data-class-unknown", fixtures.resource(fixtures.person_creates, {"data_class": "secret-ish"}))
	fixtures.silent("compliance/data-class-unknown", fixtures.person_creates)
}

test_data_class_missing if {
	fixtures.fires("compliance/data-class-missing", fixtures.resource(fixtures.person_creates, {"data_class": null}))
	fixtures.silent("compliance/data-class-missing", fixtures.person_creates)
}

test_host_network_classified if {
	fixtures.fires("compliance/host-network-classified", fixtures.resource(fixtures.spec(fixtures.person_creates, {"network": {"mode": "host"}}), {"data_class": "confidential"}))
	fixtures.silent("compliance/host-network-classified", fixtures.spec(fixtures.person_creates, {"network": {"mode": "host"}}))
}
