"""Policies of others: small samples in the styles of well-known libraries, accepted or refused.

`tools/third_party.py` does the same for whole libraries and compares with a real OPA.
"""

from __future__ import annotations

import pytest

from charter.adapters.rego.foreign import asked, examine, loaded
from charter.adapters.rego.syntax import PolicyRefusedError
from tests.spec import spec as proves

# As a Gatekeeper constraint template is written: the older syntax, objects with a message, review
# and parameters in the input, and tests in the same package.
TEMPLATE = """package k8srequiredowner

violation[{"msg": msg, "details": {"missing": missing}}] {
  provided := {label | input.review.object.metadata.labels[label]}
  required := {label | label := input.parameters.labels[_]}
  missing := required - provided
  count(missing) > 0
  msg := sprintf("you must provide labels: %v", [missing])
}
"""
TEMPLATE_TEST = """package k8srequiredowner

test_missing {
  asked := {"labels": ["owner"]}
  results := violation with input as {"review": {"object": {"metadata": {}}}, "parameters": asked}
  count(results) == 1
}

test_given {
  object := {"metadata": {"labels": {"owner": "a"}}}
  asked := {"labels": ["owner"]}
  results := violation with input as {"review": {"object": object}, "parameters": asked}
  count(results) == 0
}
"""
# As a check of configuration files is written: package main, plain texts.
CONFIGURATION = """package main

import rego.v1

deny contains msg if {
	input.kind == "Deployment"
	not input.spec.template.spec.securityContext.runAsNonRoot
	msg := "Containers must not run as root"
}
"""
# As an authorization tutorial is written: a default, and a verdict.
VERDICT = """package app.rbac

import rego.v1

default allow := false

allow if {
	some grant in data.grants[input.user]
	grant.action == input.action
}
"""


@proves("PC-1")
def test_a_constraint_template_and_its_tests() -> None:
    report = examine({"src.rego": TEMPLATE, "src_test.rego": TEMPLATE_TEST})
    assert report.accepted
    assert report.tests == {
        "data.k8srequiredowner.test_missing": True,
        "data.k8srequiredowner.test_given": True,
    }
    assert {f.rule for f in report.findings} <= {"old-syntax"}


def test_a_check_of_configuration_and_a_verdict() -> None:
    report = examine({"a.rego": CONFIGURATION, "b.rego": VERDICT}, data={"grants": {"a": [1]}})
    assert report.accepted
    engine = loaded(report.modules, {"grants": {"dana": [{"action": "read"}]}})
    deployment = {"kind": "Deployment", "spec": {}}
    assert asked(engine, ("main", "deny"), deployment) == ["Containers must not run as root"]
    assert asked(engine, ("app", "rbac", "allow"), {"user": "dana", "action": "read"}) is True
    assert asked(engine, ("app", "rbac", "allow"), {"user": "dana", "action": "x"}) is False
    assert asked(engine, ("app", "rbac", "nothing"), {}) is None


REFUSED = [
    ("ambiguous-not", 'package p\n\nd { not re_matches(input.x) }\n\nre_matches(x) { x == "a" }'),
    ("deprecated-function", "package p\n\nd { any([input.a == 1, input.b == 2]) }"),
    ("deprecated-function", 'package p\n\nd { re_match("^a", input.a) }'),
    ("unknown-function", "package p\n\nd { parse_config_file(input.path) }"),
    ("unknown-function", 'package p\n\nimport rego.v1\n\nd if crypto.sha256("a") == input.digest'),
    ("unknown-function", "package p\n\nimport rego.v1\n\nd := rego.metadata.rule()"),
    ("not-replayable", "package p\n\nimport rego.v1\n\nd if opa.runtime().env.HOME"),
    ("output-argument", "package p\n\nd[x] { walk(input, [path, x]) }"),
    ("large-integer", 'package p\n\nunit("Z") = 1000000000000000000000'),
    ("parse", "package p\n\nd[x] { x := 1 } { x := 2 }"),
    ("string-interpolation", 'package p\n\nimport rego.v1\n\nd contains $"{input.a} is bad"'),
    ("undefined-name", "package p\n\nimport rego.v1\n\nd contains msg if input.a"),
]


@pytest.mark.parametrize(("rule", "text"), REFUSED)
def test_what_is_outside_the_profile_is_refused_with_a_sentence(rule: str, text: str) -> None:
    report = examine({"a.rego": text})
    assert rule in {f.rule for f in report.refused("a.rego")}, report.findings
    assert report.tests == {}
    for finding in report.findings:
        assert finding.message.endswith(".")


def test_one_unreadable_file_does_not_make_the_others_names_wrong() -> None:
    report = examine({"a.rego": "package p\n\nd { helper }", "b.rego": "package p\n\nhelper {"})
    assert [f.rule for f in report.findings if f.file == "a.rego"] == []
    assert not report.accepted


def test_a_failing_function_is_loud() -> None:
    report = examine({"a.rego": "package p\n\nimport rego.v1\n\nd if to_number(input.x) > 1"})
    with pytest.raises(PolicyRefusedError, match=r"a\.rego:5"):
        asked(loaded(report.modules), ("p", "d"), {"x": "no number"})
