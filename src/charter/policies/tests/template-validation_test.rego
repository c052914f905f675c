package template_validation_test

import rego.v1

import data.fixtures

test_template_not_approved if {
	fixtures.fires("admission/template-not-approved", fixtures.spec(fixtures.person_creates, {"template": {"approved": false}}))
	fixtures.silent("admission/template-not-approved", fixtures.person_creates)
}

test_template_not_approved_2 if {
	fixtures.fires("admission/template-not-approved", fixtures.spec(fixtures.agent_creates, {"template": {"approved": "yes"}}))
	fixtures.silent("admission/template-not-approved", fixtures.agent_creates)
}

test_template_version_missing if {
	fixtures.fires("admission/template-version-missing", fixtures.spec(fixtures.person_creates, {"template": {"version": ""}}))
	fixtures.silent("admission/template-version-missing", fixtures.person_creates)
}

test_template_version_floating if {
	fixtures.fires("admission/template-version-floating", fixtures.spec(fixtures.person_creates, {"template": {"version": "latest"}}))
	fixtures.silent("admission/template-version-floating", fixtures.person_creates)
}

test_template_kind if {
	fixtures.fires("admission/template-kind", fixtures.context(fixtures.agent_creates, {"template": {"for_kinds": ["human"]}}))
	fixtures.silent("admission/template-kind", fixtures.context(fixtures.person_creates, {"template": {"for_kinds": ["human"]}}))
}

test_template_superseded if {
	fixtures.fires("admission/template-superseded", fixtures.context(fixtures.person_creates, {"template": {"use_instead": "python 2.0.0"}}))
	fixtures.silent("admission/template-superseded", fixtures.person_creates)
}

# The remedy names what to use instead, where there is something.
test_the_remedy_names_the_approved_alternative if {
	document := fixtures.context(fixtures.spec(fixtures.person_creates, {"template": {"approved": false}}), {"template": {"use_instead": "python 1.1.0"}})
	fixtures.violation("admission/template-not-approved", document).fix == "Use the approved template python 1.1.0 instead."
}
