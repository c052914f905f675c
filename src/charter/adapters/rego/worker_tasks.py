"""What a worker can do, by name. Runs inside the worker's process only; see `worker`.

Each task takes the worker's state and a payload of plain JSON and answers plain JSON; `decide`
alone takes and gives lines, because there are very many of them.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from charter.adapters.rego.check import check as check_bundle
from charter.adapters.rego.engine import RegorusEngine
from charter.adapters.rego.testing import run_tests
from charter.adapters.rego.trace import Tracer
from charter.core.kernel.canonical import canonical_json
from charter.core.policy.bundle import Bundle
from charter.core.policy.judge import judge
from charter.core.policy.result import PolicyFailure, PolicyOutcome, parse_outcome

_DECODER: Final = json.JSONDecoder()
_DOCUMENT_FIRST: Final = '{"document":'
_MOST_PRINTS: Final = 200
_LONGEST_PRINT: Final = 1000


@dataclass(slots=True)
class State:
    """What a worker keeps between tasks: the engine of its bundle; the tracer, once needed."""

    engine: RegorusEngine | None = None
    tracer: Tracer | None = None

    def loaded(self) -> RegorusEngine:
        """The engine; a task that needs one before `load` is a programming error."""
        if self.engine is None:
            raise RuntimeError("no bundle has been loaded")
        return self.engine


def load(state: State, files: Mapping[str, str]) -> Any:
    """Compile a bundle and keep it."""
    state.engine = state.tracer = None
    gc.unfreeze()
    state.engine = RegorusEngine(Bundle(files))
    # The syntax trees stay: whoever collects garbage need not walk through them time and again.
    gc.collect()
    gc.freeze()
    return {"digest": state.engine.digest, "notices": list(state.engine.notices)}


def read_facts(text: str) -> tuple[dict[str, Any], str]:
    """The facts, and the text of their decision document.

    In canonical JSON the document comes first. Cutting its text out spares writing it anew, which
    takes as long as reading it.
    """
    if text.startswith(_DOCUMENT_FIRST):
        document, end = _DECODER.raw_decode(text, len(_DOCUMENT_FIRST))
        rest = json.loads("{" + text[end + 1 :]) if text[end : end + 1] == "," else None
        if rest is not None and "document" not in rest:
            return {"document": document, **rest}, text[len(_DOCUMENT_FIRST) : end]
    facts: dict[str, Any] = json.loads(text)
    return facts, canonical_json(facts["document"])


def decide_one(engine: RegorusEngine, facts_text: str) -> str:
    """The canonical result of one stored facts document, or a document that names the failure."""
    try:
        facts, document_text = read_facts(facts_text)
        answer = engine.evaluate(document_text, facts["document"])
        outcome = answer if isinstance(answer, PolicyFailure) else _understood(answer)
        return canonical_json(judge(facts, outcome).as_json())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # The kind of error only: its text may quote the facts.
        failure = {"code": "facts-unreadable", "message": f"{type(error).__name__} while judging"}
        return canonical_json({"failure": failure})


def _understood(answer: str) -> PolicyOutcome | PolicyFailure:
    """As `parse_outcome`; answers without obligations hold nothing that anybody could change."""
    return _parsed(answer) if '"obligations": []' in answer else parse_outcome(answer)


_parsed: Final = lru_cache(maxsize=4096)(parse_outcome)


def decide(state: State, lines: list[str]) -> list[str]:
    """The results of these facts documents, in order."""
    engine = state.loaded()
    return [decide_one(engine, line) for line in lines]


def evaluate(state: State, document_json: str) -> Any:
    """The aggregator's answer; a failure of the engine is answered as one that cannot be parsed."""
    answer = state.loaded().evaluate(document_json)
    if isinstance(answer, PolicyFailure):
        return canonical_json({"failure": {"code": answer.code, "message": answer.message}})
    return answer


def try_out(state: State, document_json: str) -> Any:
    """As `evaluate`, with what was printed meanwhile and where each rule stands."""
    engine = state.loaded()
    answer = evaluate(state, document_json)
    return {
        "answer": answer,
        "prints": [line[:_LONGEST_PRINT] for line in engine.printed[:_MOST_PRINTS]],
        "places": engine.places,
    }


def trace(state: State, document_json: str) -> Any:
    """Why each rule spoke or did not, see `Tracer.trace`."""
    if state.tracer is None:
        state.tracer = Tracer(state.loaded().bundle)
    return state.tracer.trace(document_json)


def reads(state: State, request: tuple[str, str]) -> Any:
    """The input paths that the loaded bundle looks at for an action and a kind of subject."""
    return sorted(state.loaded().relevant(*request))


def speaking(state: State, requests: list[tuple[str, str]]) -> Any:
    """For each action and kind of subject the rules that may speak: ids with their effect."""
    engine = state.loaded()
    return [
        sorted({(rule.id, rule.name) for rule in engine.speaking_about(*request)})
        for request in requests
    ]


def check(_state: State, files: Mapping[str, str]) -> Any:
    """Everything that can be said about a bundle, see `check.CheckReport.as_json`."""
    return check_bundle(Bundle(files)).as_json()


def test(_state: State, files: Mapping[str, str]) -> Any:
    """The tests of a bundle."""
    report = run_tests(Bundle(files))
    return {
        "passed": report.passed,
        "tests": len(report.tests),
        "failures": [{"name": one.name, "text": one.show()} for one in report.failures],
    }


TASKS: Final[Mapping[str, Callable[[State, Any], Any]]] = {
    "load": load,
    "evaluate": evaluate,
    "try_out": try_out,
    "trace": trace,
    "reads": reads,
    "speaking": speaking,
    "test": test,
    "check": check,
}
