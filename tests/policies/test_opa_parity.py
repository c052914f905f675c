"""The starter set decides alike in the engine of this process and in a real Open Policy Agent."""

from __future__ import annotations

import copy
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.adapters.rego.assemble import assemble, sources_module
from charter.adapters.rego.engine import RegorusEngine, build
from charter.adapters.rego.load import shipped_bundle
from charter.core.policy.result import PolicyFailure
from tests.peers import opa_program, why_no_opa
from tests.spec import spec

OPA = opa_program()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(OPA is None, reason=why_no_opa()),
]
DOCUMENTS = 2_000
QUERY = "answers := [a | some d in input; a := data.charter.decision with input as d]"
OTHERS: dict[type, list[Any]] = {
    str: ["", "production", "experimental", "agent", "regulated", "other", "2027-01-01T00:00:00Z"],
    int: [0, 1, 9, 40, 96, 101, 20_000, 300_000, 1_000_000],
    bool: [True, False],
    list: [[], ["other"]],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as OPA reads it: the modules, the generated one, and all data in one document."""
    root = tmp_path_factory.mktemp("opa")
    bundle = shipped_bundle()
    assembly = assemble(bundle, tests=True)
    texts = {module.file: module.text for module in (*assembly.modules, *assembly.tests)}
    for name, text in (*texts.items(), sources_module(assembly)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "data.json").write_text(assembly.data_json)
    return root


def _opa(*arguments: str, stdin: str = "") -> str:
    assert OPA is not None
    ran = subprocess.run(
        [OPA, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=300
    )
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-4_000:]
    return ran.stdout


@spec("PC-12")
def test_opa_finds_nothing_wrong_and_all_tests_pass(folder: Path) -> None:
    _opa("check", str(folder))
    answer = json.loads(_opa("test", "--format", "json", str(folder)))
    assert len(answer) > 300


def _places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield (*path, key)
            yield from _places(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _places(part, (*path, index))


def _varied(document: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """`document` with one to three places changed or taken away."""
    result = copy.deepcopy(document)
    for _ in range(dice.randint(1, 3)):
        path = dice.choice([p for p in _places(result) if isinstance(p[-1], str)])
        holder: Any = result
        for step in path[:-1]:
            holder = holder[step]
        others = OTHERS.get(type(holder[path[-1]]))
        if others is None or dice.random() < 1 / 4:
            del holder[path[-1]]
        else:
            holder[path[-1]] = dice.choice(others)
    return result


def _documents() -> list[dict[str, Any]]:
    engine = build(assemble(shipped_bundle(), tests=True), tests=True)
    engine.set_input_json("{}")
    scenes = list(json.loads(engine.eval_rule_as_json("data.scenes_clean_test.clean")).values())
    dice = random.Random(3)  # noqa: S311  (varied, not secret)
    return [_varied(dice.choice(scenes), dice) for _ in range(DOCUMENTS)]


def _canonical(answer: Any) -> Any:
    """Sets come out in the engine's own order."""
    for key in ("violations", "shadow", "obligations"):
        answer[key] = sorted(answer[key], key=lambda item: json.dumps(item, sort_keys=True))
    return answer


@spec("PC-12")
def test_two_thousand_varied_documents_are_decided_alike(folder: Path) -> None:
    documents = _documents()
    query = json.loads(
        _opa(
            *("eval", "--format", "json", "--stdin-input", "--data", str(folder), QUERY),
            stdin=json.dumps(documents),
        )
    )
    theirs = query["result"][0]["bindings"]["answers"]
    assert len(theirs) == len(documents)
    engine = RegorusEngine(shipped_bundle())
    effects: dict[str, int] = {}
    refused = 0  # this engine fails on a wrong type where OPA goes on: a failure is a deny
    for document, expected in zip(documents, theirs, strict=True):
        answer = engine.evaluate(json.dumps(document))
        if isinstance(answer, PolicyFailure):
            refused += 1
            continue
        assert _canonical(json.loads(answer)) == _canonical(expected), document
        effects[expected["effect"]] = effects.get(expected["effect"], 0) + 1
    assert set(effects) == {"allow", "warn", "require_approval", "deny"}, effects
    assert refused < DOCUMENTS / 100
