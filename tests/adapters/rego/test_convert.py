"""Rewriting the older syntax: layout kept, meaning kept, and nothing when that cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from charter.adapters.rego.convert import compare, convert, convert_bundle
from charter.adapters.rego.engine import RegorusEngine
from charter.adapters.rego.load import shipped_bundle
from charter.adapters.rego.syntax import PolicyRefusedError, parse
from tests.adapters.rego.bundles import with_rules
from tests.policies.documents import merged, person_creates, spec
from tests.spec import spec as proves

FIXTURES = Path(__file__).parent / "fixtures"
OLD = (FIXTURES / "seed_old.rego").read_text()
IS_ADMIN = '\nis_admin {\n\tinput.subject.roles[_] == "platform-admin"\n}\n'

EVERYTHING = """# What this is about
package library.x

import data.lib.helpers
import future.keywords.in # built in today
import future.keywords.every

default allow = false

# why
deny[msg] { # here, with a { bracket
	input.a == "x" # =
	not input.b
	msg := "No [deny] { here"
}

deny[{"msg": m,
	"details": {}}] { m := helpers.f("a") }

f(x) = y { y := x } else = 3 { x == 1 } else = {"a": 1}

p { input.c } { input.b }
q["x y"] = 1 { true }
g("x", _)
limit = 5
s["const"]
obj[k] = v { some k; v := input.o[k]; re_match("a", k) }
"""

CONVERTED = """# What this is about
package library.x

import data.lib.helpers
import rego.v1
import future.keywords.not

default allow := false

# why
deny contains msg if { # here, with a { bracket
	input.a == "x" # =
	not input.b
	msg := "No [deny] { here"
}

deny contains {"msg": m,
	"details": {}} if { m := helpers.f("a") }

f(x) := y if { y := x } else := 3 if { x == 1 } else := {"a": 1}

p if { input.c }

p if { input.b }
q["x y"] := 1 if { true }
g("x", _) if true
limit := 5
s contains "const"
obj[k] := v if { some k; v := input.o[k]; regex.match("a", k) }
"""


@proves("PC-1")
def test_every_form_is_rewritten_with_comments_and_layout() -> None:
    conversion = convert("a.rego", EVERYTHING)
    assert conversion.after == CONVERTED
    assert conversion.changed
    assert conversion.remarks == ()
    assert not parse("a.rego", conversion.after).old_syntax


def test_what_is_todays_already_stays_as_it_is() -> None:
    assert not convert("a.rego", CONVERTED).changed
    assert convert_bundle(shipped_bundle()) == ()


@proves("PC-1")
def test_the_example_policy_converted_decides_as_before() -> None:
    conversion = convert("own.rego", OLD + IS_ADMIN)
    assert conversion.after.startswith(
        "package workspace.admission\n\nimport rego.v1\nimport future.keywords.not\n"
    )
    before, after = (with_rules(text) for text in (OLD + IS_ADMIN, conversion.after))
    old, new = RegorusEngine(before), RegorusEngine(after)
    for change in (
        spec(),
        spec(agent=True),
        spec(resources={"cpu": 33}),
        spec(template={"approved": False}, agent=True, resources={"cpu": 99}),
    ):
        document = merged(person_creates(), change)
        assert old.decide(document).as_json()["effect"] == new.decide(document).as_json()["effect"]
        assert [v.message for v in old.decide(document).violations] == [
            v.message for v in new.decide(document).violations
        ]


def test_a_negation_that_means_more_from_now_on_is_pointed_out() -> None:
    (remark,) = convert("a.rego", 'package p\n\nd { not startswith(input.x, "a") }\n').remarks
    assert remark.startswith("a.rego:3: engines differ about")


def test_a_file_that_cannot_be_converted_is_refused_whole() -> None:
    for text in ("package p\n\nin { true }\n", "package p\n\nwhat is this"):
        with pytest.raises(PolicyRefusedError, match=r"a\.rego"):
            convert("a.rego", text)
    bundle = with_rules("package p\n\nin { true }\n", **{"b.rego": "package"})
    with pytest.raises(PolicyRefusedError) as refusal:
        convert_bundle(bundle)
    assert len(refusal.value.details["problems"]) == 2  # type: ignore[arg-type]


@proves("PC-1")
def test_the_tests_of_a_bundle_are_run_before_and_after() -> None:
    old_test = (
        'package x_test\n\ntest_a { data.p.d with input as {"x": "b"} }\n\ntest_b { false }\n'
    )
    rule = 'package p\n\nd { not startswith(input.x, "a") }\n'
    bundle = with_rules(rule, **{"x_test.rego": old_test})
    conversions = convert_bundle(bundle)
    assert {one.file for one in conversions} == {"own.rego", "x_test.rego"}
    assert compare(bundle, conversions) == (2, ())
    broken = tuple(
        type(one)(one.file, one.before, one.after.replace('"a"', '"b"'), ()) for one in conversions
    )
    assert compare(bundle, broken) == (2, ("data.x_test.test_a",))


def test_a_bundle_that_could_not_decide_before_has_nothing_to_compare() -> None:
    bundle = with_rules(OLD)
    assert compare(bundle, convert_bundle(bundle)) == (0, ())
