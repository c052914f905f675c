"""What rules read, through aliases, helpers, functions and imports."""

from __future__ import annotations

import pytest

from charter.adapters.rego.load import shipped_bundle
from charter.adapters.rego.reads import (
    Program,
    input_references,
    reads_of,
)
from charter.adapters.rego.syntax import modules_of, parse
from charter.core.policy.paths import EVERYTHING, missing_paths

FACTS = """package facts
import rego.v1
spec := input.request.object.spec
action := object.get(input, ["action", "name"], "")
placing if action in {"a", "b"}
agent if spec.agent == true
labels := found if {
    found := object.get(input, ["resource", "labels"], null)
    is_object(found)
} else := {}
label(name) := object.get(labels, name, "")
"""


def reads(body: str, head: str = "deny contains 1") -> set[str]:
    text = f"package p\nimport rego.v1\nimport data.facts\n{head} if {{\n{body}\n}}\n"
    modules = (parse("p.rego", text), parse("facts.rego", FACTS))
    return {".".join(path) for path in reads_of(modules)[("p", "deny")]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('input.action.name == "x"', {"action.name"}),
        ('facts.action == "x"', {"action.name"}),
        ("facts.placing", {"action.name"}),
        ("facts.agent", {"request.object.spec.agent"}),
        ("not facts.agent", {"request.object.spec.agent"}),
        ('facts.spec.size == "x"', {"request.object.spec.size"}),
        ('facts.label("team") == ""', {"resource.labels"}),
        ('object.get(input.a, "b", 1) == 2', {"a.b"}),
        ("x := input.a\nx.b.c > 1", {"a", "a.b.c"}),
        ("x.b.c > 1\nx := input.a", {"a", "a.b.c"}),
        ("some t in input.list\nt.name == 1", {"list", "list.*.name"}),
        ("every t in input.list { t.name == 1 }", {"list", "list.*.name"}),
        ('input.a["b"].c[_].d == 1', {"a.b.c.*.d"}),
        ("input.a[input.k] == 1", {"a.*", "k"}),
        ("count([x | some x in input.l]) > 0", {"l", "l.*"}),
        ("facts.placing with input.action as input.other", {"", "other", "action.name"}),
        ("data.settings.x[input.tier] > 1", {"tier"}),
    ],
)
def test_the_paths(body: str, expected: set[str]) -> None:
    assert reads(body) == expected


def test_what_reaches_a_function_is_read_whole() -> None:
    assert reads("helper(input.z)", "helper(a) if a.q == 1\ndeny contains 1") == {"z"}


def test_a_rule_that_speaks_of_what_it_read_reads_it_in_its_head() -> None:
    head = 'deny contains {"message": sprintf("%v", [input.resource.name])}'
    assert reads('input.action.name == "x"', head) == {"action.name", "resource.name"}


def test_a_package_taken_whole_reads_all_of_it() -> None:
    assert reads("count(data.facts) > 0") == {
        "request.object.spec",
        "action.name",
        "request.object.spec.agent",
        "resource.labels",
    }


def test_references_carry_their_lines() -> None:
    module = parse(
        "p.rego", "package p\nimport rego.v1\na if {\n  input.x\n  input.resurce.y == 1\n}\n"
    )
    assert input_references(module) == [(("x",), 4), (("resurce", "y"), 5)]


def test_statements_that_can_be_asked_alone() -> None:
    body = "\tinput.a == 1\n\tx := input.b\n\tx > 1\n"
    text = f"package p\nimport rego.v1\ndeny contains x if {{\n{body}}}\n"
    module = parse("p.rego", text)
    found = Program((module,)).statements(module, module.rules[0])
    assert [(s.text, s.line, s.closed) for s in found] == [
        ("input.a == 1", 4, True),
        ("x := input.b", 5, False),
        ("x > 1", 6, False),
    ]


def test_every_rule_of_the_shipped_policies_can_be_read() -> None:
    modules = modules_of(shipped_bundle())
    found = reads_of(modules)
    assert ("action", "name") in found[("charter", "facts", "placing")]
    speaking = {rule.path for module in modules for rule in module.rules if rule.speaks}
    assert all(EVERYTHING not in found[path] for path in speaking)


def test_what_a_document_lacks() -> None:
    document = {"a": {"b": 1, "l": [1]}}
    paths = [("a", "b"), ("a", "c"), ("a", "l", "*", "x"), (), ("z", "*")]
    assert missing_paths(document, paths) == {("a", "c"), ("z", "*")}
