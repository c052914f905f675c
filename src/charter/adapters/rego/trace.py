"""Why rules spoke, or did not, about one decision document: statement by statement, with values.

`Tracer` holds an engine in which a bundle's modules are joined by modules that ask questions (see
`probes`). One evaluation answers all of them. A trace has one entry for each body of a speaking
rule: it *fired*, with the values that each statement saw; or it *stopped* at a statement; or it is
*unknown*, because its statements could not be asked (they depend on each other out of order, or the
engine refused the question), and then the trace says so and invents nothing.

A body that stopped *nearly fired* when one numeric comparison alone kept it from firing, all other
statements hold, and the two sides differ by one or by at most a quarter of the larger one. A side
of zero is never near (to ask for no GPU is not nearly to ask for one), nor is a comparison of
another kind: nearly the right template is the wrong template.

Source: Spec PC-13.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from charter.adapters.rego.assemble import assemble
from charter.adapters.rego.engine import build, probe
from charter.adapters.rego.library import Engine
from charter.adapters.rego.probes import Body, Reader, Statement, module_text, questions
from charter.adapters.rego.syntax import guarded, modules_of
from charter.core.policy.bundle import Bundle

_NEAR_SHARE: Final = 0.25
_NEAR_STEP: Final = 1
_PACKAGE: Final = "charter.trace"
_ANSWERS: Final = f"data.{_PACKAGE}.answers"
_MISSING: Final = '"<undefined>"'
_MOST_SOLUTIONS: Final = 10  # of one body; a rule that fires for a hundred hosts is clear by then
_LONGEST_LIST: Final = 12
_LONGEST_TEXT: Final = 300
_DEEPEST: Final = 5

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Question:
    """A body with what was asked about it; `asked` is empty when it cannot be asked."""

    number: int
    body: Body
    asked: Mapping[str, str]


def _ask(engine: Engine, rule: str) -> Any:
    text: str = engine.eval_rule_as_json(rule)
    return None if text == _MISSING else json.loads(text)


class Tracer:
    """One bundle, ready to be traced; for the thread that made it.

    Raises `PolicyRefusedError` when the bundle cannot decide.
    """

    def __init__(self, bundle: Bundle) -> None:
        assembly = assemble(bundle)
        modules = assembly.modules
        if any(module.text != bundle.text(module.file) for module in modules):
            modules = modules_of(bundle)  # lines and texts are those that people wrote
        reader = Reader(modules)
        bodies = [body for module in modules for body in reader.bodies(module) if _heard(body)]
        self._base = build(assembly)
        probe(self._base)
        self._questions = [
            _Question(number, body, questions(body, number)) for number, body in enumerate(bodies)
        ]
        self._engine = self._loaded()

    # -- loading -----------------------------------------------------------------------------
    def _loaded(self) -> Engine:
        """An engine with every question that it accepts."""
        self._questions = list(self._accepted(self._questions))
        return self._with(self._questions)

    def _accepted(self, asked: list[_Question]) -> Iterator[_Question]:
        """The questions, those that the engine refuses asked with less or not at all."""
        if not asked or self._works(asked):
            yield from asked
        elif len(asked) > 1:
            half = len(asked) // 2
            yield from self._accepted(asked[:half])
            yield from self._accepted(asked[half:])
        else:
            (one,) = asked
            less = _Question(one.number, one.body, questions(one.body, one.number, values=False))
            yield less if self._works([less]) else _Question(one.number, one.body, {})

    def _works(self, asked: list[_Question]) -> bool:
        try:
            engine = self._with(asked)
            engine.set_input_json("{}")
            _ask(engine, _ANSWERS)
        except BaseException as error:  # noqa: BLE001  (panics derive from it)
            guarded(error)
            return False
        return True

    def _with(self, asked: list[_Question]) -> Engine:
        engine = self._base.clone()
        by_file: dict[str, dict[str, str]] = {}
        answers: list[str] = []
        for question in asked:
            module = question.body.module
            by_file.setdefault(module.file, {}).update(question.asked)
            package = "data" + "".join(f"[{json.dumps(part)}]" for part in module.package)
            answers += [f'"{name}": {package}.{name}' for name in question.asked]
        modules = {question.body.module.file: question.body.module for question in asked}
        for file, texts in by_file.items():
            engine.set_rego_v0(modules[file].old_syntax)
            engine.add_policy(f"trace/{file}", module_text(modules[file], texts))
        engine.set_rego_v0(False)
        object_text = "{" + ",\n".join(answers) + "}"
        engine.add_policy(
            "trace/answers.rego",
            f"package {_PACKAGE}\n\nimport rego.v1\n\nanswers := {object_text}\n",
        )
        return engine

    # -- asking ------------------------------------------------------------------------------
    def trace(self, document_json: str) -> Json:
        """`{"bodies": […], "notes": […]}`; see `_entry` for one body."""
        answers: Json | None
        try:
            self._engine.set_input_json(document_json)
            answers = _ask(self._engine, _ANSWERS)
            self._engine.take_prints()
        except BaseException as error:  # noqa: BLE001
            guarded(error)
            answers = None
        if answers is None:  # one question failed on these facts; the others need not suffer
            answers = self._one_by_one(document_json)
        entries = [_entry(question, answers) for question in self._questions]
        silent = sum(entry["state"] == "unknown" for entry in entries)
        note = (
            f"{silent} of {len(entries)} rule bodies could not be looked into; the decision itself "
            "does not depend on that."
        )
        notes = [note] if silent else []
        return {"bodies": entries, "notes": notes}

    def _one_by_one(self, document_json: str) -> Json:
        found: Json = {}
        engine = self._with(self._questions)
        engine.set_input_json(document_json)
        for question in self._questions:
            package = "data." + ".".join(question.body.module.package)
            for name in question.asked:
                try:
                    found[name] = _ask(engine, f"{package}.{name}")
                except BaseException as error:  # noqa: BLE001
                    guarded(error)
                    engine = self._with(self._questions)  # a panic may have left it half done
                    engine.set_input_json(document_json)
        return found


def _heard(body: Body) -> bool:
    return body.module.package[:1] != ("charter",)


# --- reading the answers ------------------------------------------------------------------------
def _entry(question: _Question, answers: Mapping[str, Any]) -> Json:
    """What is known about one body.

    `state` is fired, stopped or unknown. `solutions` of a fired one hold what it said and, for each
    statement, the values; a stopped one has the statements up to and with that which does not hold.
    """
    body, number = question.body, question.number
    entry: Json = {
        "id": body.id,
        "default_id": body.rule.default_id,
        "effect": body.rule.name,
        "package": ".".join(body.rule.path[:-1]),
        "file": body.rule.file,
        "line": body.line,
        "end_line": body.rule.end_line,
        "state": "unknown",
        "solutions": [],
        "statements": [],
        "stopped_line": None,
        "near": None,
    }
    fired = answers.get(f"charter_fired_{number}")
    if fired is None:
        return entry
    if fired:
        entry["state"] = "fired"
        entry["solutions"] = [
            {
                "said": solution["said"],
                "statements": [
                    _statement(statement, solution, f"v{index}_", held=True)
                    for index, statement in enumerate(body.statements)
                ],
            }
            for solution in fired[:_MOST_SOLUTIONS]
        ]
        entry["more_solutions"] = max(0, len(fired) - _MOST_SOLUTIONS)
        return entry
    for index, statement in enumerate(body.statements):
        if statement.declares:
            continue
        rows = answers.get(f"charter_step_{number}_{index}")
        if rows is None:
            return {**entry, "statements": []}
        held = any(row["held"] for row in rows)
        row: Json = next((row for row in rows if bool(row["held"]) == held), {})
        entry["statements"].append(_statement(statement, row, "v", held=held))
        if not held:
            entry["state"] = "stopped"
            entry["stopped_line"] = statement.line
            entry["near"] = _near(statement, answers.get(f"charter_near_{number}_{index}"))
            return entry
    return {**entry, "statements": []}


def _statement(statement: Statement, row: Mapping[str, Any], prefix: str, *, held: bool) -> Json:
    values = []
    for number, shown in enumerate(statement.shown):
        found = row.get(f"{prefix}{number}")
        if found is None:
            continue
        value: Json = {"text": shown.text, "path": shown.path, "at": shown.at}
        if not found:
            value["undefined"] = True
        else:
            value["value"] = shortened(found[0] if len(found) == 1 else found)
        values.append(value)
    return {"line": statement.line, "text": statement.text, "held": held, "values": values}


def _near(statement: Statement, sides: list[Json] | None) -> Json | None:
    """The closest pair of sides that is near enough, with its distance; None when none is."""
    if statement.compares is None or not sides:
        return None
    sign, left_text, right_text = statement.compares
    best: Json | None = None
    for pair in sides:
        left, right = pair["left"], pair["right"]
        if not (_number(left) and _number(right) and left and right):
            continue
        distance = abs(left - right)
        share = distance / max(abs(left), abs(right))
        if (distance <= _NEAR_STEP or share <= _NEAR_SHARE) and (
            best is None or share < best["share"]
        ):
            best = {
                "line": statement.line,
                "text": statement.text,
                "sign": sign,
                "left": left,
                "left_text": left_text,
                "right": right,
                "right_text": right_text,
                "share": share,
            }
    return best


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def shortened(value: Any, depth: int = 0) -> Any:
    """`value` at a length that people read; what was left out is said in its place."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else value[:_LONGEST_TEXT] + " …"
    if isinstance(value, (list, dict)) and depth >= _DEEPEST:
        return "…"
    if isinstance(value, list):
        kept = [shortened(item, depth + 1) for item in value[:_LONGEST_LIST]]
        return kept if len(value) <= _LONGEST_LIST else [*kept, f"… {len(value) - len(kept)} more"]
    if isinstance(value, dict):
        names = list(value)[:_LONGEST_LIST]
        kept_fields = {name: shortened(value[name], depth + 1) for name in names}
        left = len(value) - len(names)
        return kept_fields if not left else {**kept_fields, "…": f"{left} more"}
    return value
