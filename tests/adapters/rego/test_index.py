"""The index leaves out rules that cannot speak, and never anything else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charter.adapters.rego.assemble import ENTRYPOINT, SOURCES_FILE, assemble
from charter.adapters.rego.engine import RegorusEngine
from charter.adapters.rego.index import Key, RuleIndex, key_of
from charter.adapters.rego.library import Engine
from charter.adapters.rego.load import shipped_bundle
from charter.adapters.rego.reads import Program
from charter.adapters.rego.rewrite import Constants, ready
from charter.adapters.rego.syntax import add, parse
from charter.core.policy.bundle import Bundle
from tests.policies.documents import BASES, base, merged, spec
from tests.spec import spec as proves

ACTIONS = sorted(assemble(shipped_bundle()).data.actions)


class Both:
    """The indexed engine and the policy as it is written, asked the same."""

    def __init__(self, bundle: Bundle) -> None:
        self.indexed = RegorusEngine(bundle)
        assembly = assemble(bundle)
        self.whole = Engine()
        for module in assembly.modules:
            add(self.whole, module)
        self.whole.add_policy(SOURCES_FILE, assembly.sources)
        self.whole.add_data_json(assembly.data_json)

    def ask(self, document: dict[str, Any]) -> tuple[Any, Any]:
        text = json.dumps(document)
        self.whole.set_input_json(text)
        answer = self.indexed.evaluate(text)
        assert isinstance(answer, str), answer
        return json.loads(answer), json.loads(self.whole.eval_rule_as_json(ENTRYPOINT))

    def close(self) -> None:
        self.indexed.close()
        del self.whole


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    both = Both(shipped_bundle())
    yield both
    both.close()  # hypothesis keeps a reference for a while


@pytest.mark.parametrize("name", [*BASES, "person workspace.view", "agent workspace.execute"])
@pytest.mark.parametrize("cpu", [2, 40, 96, 200])
@pytest.mark.parametrize("mode", ["none", "host", "egress"])
def test_it_answers_as_the_whole_policy_does(both: Both, name: str, cpu: int, mode: str) -> None:
    document = base(name)
    if "request" in document:
        document = merged(document, spec(resources={"cpu": cpu}, network={"mode": mode}))
    indexed, whole = both.ask(document)
    assert indexed == whole


def documents() -> st.SearchStrategy[dict[str, Any]]:
    """Documents whose key is anything that somebody may send."""
    change = st.fixed_dictionaries(
        {
            "action": st.fixed_dictionaries(
                {"name": st.one_of(st.sampled_from(ACTIONS), st.just("no.such-action"))}
            ),
            "subject": st.fixed_dictionaries(
                {"kind": st.sampled_from(["human", "agent", "service", "robot", "ABSENT"])}
            ),
        }
    )
    flag = st.sampled_from([True, False, "ABSENT", "yes", None, 1])
    return st.builds(
        lambda name, changes, agent: merged(
            merged(base(name), changes), spec(agent=agent) if "creates" in name else {}
        ),
        st.sampled_from(sorted(BASES)),
        change,
        flag,
    )


@proves("PC-2")
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(document=documents())
def test_no_key_makes_a_difference(both: Both, document: dict[str, Any]) -> None:
    indexed, whole = both.ask(document)
    assert indexed == whole


def test_what_cannot_speak_is_left_out() -> None:
    engine = RegorusEngine(shipped_bundle())
    engine.evaluate(json.dumps(base("person workspace.view")))
    ((key, left_out),) = engine._left_out.items()
    assert key == Key("workspace.view", "human", "absent")
    index = RuleIndex(assemble(shipped_bundle()))
    assert len(left_out) > 0.8 * len(index._guards)


def with_rules(text: str) -> Both:
    files = {"admission/mine.rego": f"package admission.mine\n\nimport rego.v1\n\n{text}\n"}
    return Both(shipped_bundle().with_files(files))


CREATE = 'input.action.name == "workspace.create"'
VIEW = 'input.action.name == "workspace.view"'


@pytest.mark.parametrize(
    "text",
    [
        f'deny contains "quoted" if {VIEW}',
        f'deny contains "two" if {{ {VIEW}; input.subject.kind == "human" }}',
        f'deny contains "text" if {{\n\t{VIEW}\n\tinput.resource.kind == "workspace"\n}}',
        f'warn contains "w" if {CREATE}\n\ndeny contains "none" if count(warn) == 0',
        f'warn contains "w" if {CREATE}\n\ndeny contains "n" if data.admission.mine.warn == set()',
        'deny contains x if { x := input.action.name; x == "workspace.view" }',
        f"deny contains x if {{ some x in [1, 2]; {CREATE} }}",
        'deny contains "neg" if not input.action.name == "workspace.create"',
        'deny contains "with" if input.action.name == "a" with input.action.name as "a"',
        'deny contains "d" if data.admission.mine.h\n\nh if input.subject.kind == "agent"',
        f'deny contains "é ß ü" if {{ input.resource.kind == "é"; {CREATE} }}',
    ],
)
def test_rules_of_every_form(text: str) -> None:
    both = with_rules(text)
    for name in (*BASES, "person workspace.view", "agent workspace.view"):
        indexed, whole = both.ask(base(name))
        assert indexed == whole, name


def test_an_engine_that_failed_goes_on() -> None:
    both = with_rules('deny contains "x" if to_number(input.resource.kind) > 1')
    text = json.dumps(base("person workspace.view"))
    for _ in range(2):
        assert not isinstance(both.indexed.evaluate(text), str)
    assert not isinstance(both.indexed.evaluate("not json"), str)


def test_names_are_written_out_and_lines_kept() -> None:
    facts = parse(
        "facts.rego",
        "package facts\nimport rego.v1\nspec := input.request.spec\nplacing if spec.a\n"
        'kind := object.get(input, ["kind"], "")\n',
    )
    text = (
        "package p\nimport rego.v1\nimport data.facts\nimport data.facts as f\n"
        "a if facts.placing\nb if facts.spec.size == 1\nc(f) if f.x\nd if f.placing\n"
        'e if facts.kind == ""\n'
    )
    module = parse("p.rego", text)
    got = ready(Program((facts, module)), module)
    assert got.text.split("\n")[4:9] == [
        "a if data.facts.placing",
        'b if input["request"]["spec"].size == 1',
        "c(f) if f.x",
        "d if data.facts.placing",
        'e if data.facts.kind == ""',
    ]


def test_single_values_stand_where_rules_name_them() -> None:
    text = (
        "package p\nimport rego.v1\nimport data.settings.limits\n"
        "a if input.cpu > limits.cpu.most\n"
        'b if input.mode in {data.settings["mode"], data.settings.odd, data.settings.list}\n'
        "c if limits.cpu == data.settings.below\nd(limits) if limits.cpu.most > 3\n"
        "e if input.cpu - limits.cpu.most > -limits.cpu.most\n"
    )
    data = {
        "settings": {
            "limits": {"cpu": {"most": 9}}, "mode": "none", "odd": 'a"b', "list": [1], "below": -1
        }
    }  # fmt: skip
    module = parse("p.rego", text)
    program = Program((module,))
    got = ready(program, module, constants=Constants.of(program, data))
    assert got.text.split("\n")[3:8] == [
        "a if input.cpu > 9",
        'b if input.mode in {"none", data.settings.odd, data.settings.list}',
        "c if data.settings.limits.cpu == data.settings.below",
        "d(limits) if limits.cpu.most > 3",
        "e if input.cpu - 9 > -data.settings.limits.cpu.most",  # the engine takes no other minus
    ]


def test_where_data_is_replaced_values_stay_in_the_data() -> None:
    module = parse(
        "p.rego", "package p\nimport rego.v1\na if b with data.x as 2\nb if data.x > 1\n"
    )
    program = Program((module,))
    assert Constants.of(program, {"x": 1}).data == {}


@pytest.mark.parametrize(
    ("document", "key"),
    [
        (base("person creates"), Key("workspace.create", "human", "false")),
        (base("agent creates"), Key("workspace.create", "agent", "true")),
        ({"action": {"name": "a"}, "subject": {"kind": "human"}}, Key("a", "human", "absent")),
        ({"action": {"name": "a"}, "subject": {"kind": "robot"}}, None),
        ({"action": {"name": 1}, "subject": {"kind": "human"}}, None),
        ({"subject": {"kind": "human"}}, None),
        (merged(base("person creates"), spec(agent="yes")), None),
    ],
)
def test_the_key_of_a_document(document: dict[str, Any], key: Key | None) -> None:
    assert key_of(document) == key
