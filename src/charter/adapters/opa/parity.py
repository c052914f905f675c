"""Whether two engines say the same: every test of a bundle, and recorded decisions.

The built-in engine and OPA read the same language and differ in corners (undefined arguments,
builtins that fail, large numbers). A bundle that both decide alike may be decided by either, now or
after a change of engine; so where an OPA is at hand, a bundle is compared before it is put in
force, and a difference names the test or the decision, and the rules.

Source: Spec PC-12; docs/adr/003.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from charter.adapters.opa.client import OpaClient, OpaError
from charter.adapters.opa.engine import NAME, LoadedPolicy
from charter.adapters.rego.assemble import assemble
from charter.adapters.rego.engine import EngineThread
from charter.adapters.rego.tables import cases_of
from charter.adapters.rego.testing import run_tests
from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.decision import Decision
from charter.core.policy.bundle import Bundle
from charter.core.policy.decide import decide
from charter.core.policy.judge import judge
from charter.core.policy.result import PolicyFailure, PolicyOutcome, parse_outcome

_MOST_DIFFERENCES: Final = 50  # enough to see a pattern; the counts say how many there are
_EMPTY: Final = b'{"input":{}}'
_REGO: Final = "data."  # how the name of a test written in Rego begins; tables have a file's name


@dataclass(frozen=True, slots=True)
class Difference:
    """One disagreement: `kind` is `test` or `decision`, `name` which, `rules` those that differ.

    `ours` and `theirs` say in a word what the built-in engine and OPA found.
    """

    kind: str
    name: str
    rules: tuple[str, ...]
    ours: str
    theirs: str

    def show(self) -> str:
        """For people."""
        rules = f" ({', '.join(self.rules)})" if self.rules else ""
        return f"{self.kind} {self.name}{rules}: here {self.ours}, OPA {self.theirs}"

    def as_json(self) -> dict[str, object]:
        """The stored and transmitted form."""
        return {
            "kind": self.kind,
            "name": self.name,
            "rules": list(self.rules),
            "ours": self.ours,
            "theirs": self.theirs,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared with which engine; `differing` counts all, `differences` shows some."""

    engine: str
    tests: int
    decisions: int
    differing: int
    differences: tuple[Difference, ...]

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return self.differing == 0


def compare(
    bundle: Bundle, client: OpaClient, sample: Iterable[tuple[str, Mapping[str, Any]]] = ()
) -> Comparison:
    """Both engines on all tests of `bundle`, and on the facts of recorded decisions (id, facts).

    Raises `PolicyRefusedError` when an engine refuses the bundle, `OpaError` when no OPA answers.
    """
    found: list[Difference] = []
    assembly = assemble(bundle, tests=True)
    loaded = LoadedPolicy(client, assembly, digest=bundle.digest)
    try:
        tests = _tests(bundle, loaded, found) + _cases(bundle, loaded, found)
        decisions = _decisions(bundle, loaded, sample, found)
    finally:
        loaded.remove()
    return Comparison(
        engine=f"{NAME} {client.version()}",
        tests=tests,
        decisions=decisions,
        differing=len(found),
        differences=tuple(found[:_MOST_DIFFERENCES]),
    )


def _tests(bundle: Bundle, loaded: LoadedPolicy, found: list[Difference]) -> int:
    count = 0
    for test in run_tests(bundle).tests:
        if test.skipped or not test.name.startswith(_REGO):
            continue
        count += 1
        path = tuple(test.name.removeprefix(_REGO).split("."))
        try:
            theirs = loaded.query(path, _EMPTY) == (True, True)
        except OpaError as error:
            if error.status == 0:
                raise
            theirs = False
        if theirs != test.passed:
            words = {True: "passes", False: "fails"}
            found.append(Difference("test", test.name, (), words[test.passed], words[theirs]))
    return count


def _cases(bundle: Bundle, loaded: LoadedPolicy, found: list[Difference]) -> int:
    """The documents of the tables: what each engine makes of them, whatever the row expects."""
    cases = cases_of(bundle)
    with EngineThread(bundle) as engine:
        for case in cases:
            document = canonical_json(case.document)
            ours = _decided(case.document, engine.evaluate(document))
            theirs = _decided(case.document, _their_answer(loaded, document))
            _note("test", f"{case.file}: {case.name}", ours, theirs, found)
    return len(cases)


def _decisions(
    bundle: Bundle,
    loaded: LoadedPolicy,
    sample: Iterable[tuple[str, Mapping[str, Any]]],
    found: list[Difference],
) -> int:
    count = 0
    with EngineThread(bundle) as engine:
        for name, facts in sample:
            count += 1
            document = canonical_json(facts["document"])
            ours = _judged(facts, engine.evaluate(document))
            theirs = _judged(facts, _their_answer(loaded, document))
            _note("decision", name, ours, theirs, found)
    return count


def _note(kind: str, name: str, ours: Decision, theirs: Decision, found: list[Difference]) -> None:
    """Adds to `found` what differs between two decisions on the same facts."""
    if canonical_json(ours.as_json()) == canonical_json(theirs.as_json()):
        return
    rules = _differing_rules(ours, theirs)
    found.append(Difference(kind, name, rules, ours.effect.value, theirs.effect.value))


def _their_answer(loaded: LoadedPolicy, document: str) -> str | PolicyFailure:
    try:
        defined, answer = loaded.query(
            ("charter", "decision"), b'{"input":' + document.encode() + b"}"
        )
    except OpaError as error:
        if error.status == 0:
            raise
        return PolicyFailure("policy-engine-error", "While evaluating, OPA reported an error.")
    if not defined:
        return PolicyFailure("policy-undefined", "The policy gives no data.charter.decision.")
    return json.dumps(answer)


def _decided(document: Mapping[str, Any], answer: str | PolicyFailure) -> Decision:
    """The decision on a document that no request stands behind: policy alone speaks."""
    outcome = answer if isinstance(answer, PolicyFailure) else parse_outcome(answer)
    asked = outcome.obligations if isinstance(outcome, PolicyOutcome) else ()
    return decide(document, (), outcome, known_obligations=frozenset(o.type for o in asked))


def _judged(facts: Mapping[str, Any], answer: str | PolicyFailure) -> Decision:
    return judge(facts, answer if isinstance(answer, PolicyFailure) else parse_outcome(answer))


def _differing_rules(ours: Decision, theirs: Decision) -> tuple[str, ...]:
    """The rules of which one engine says something that the other does not."""
    left = set(ours.violations) | set(ours.shadow)
    right = set(theirs.violations) | set(theirs.shadow)
    return tuple(sorted({violation.rule for violation in left ^ right}))
