"""The playground: what an edited rule would say of an input, beside what the rules in force say.

Nothing is stored and nothing is put in force. Whatever is edited is evaluated in a worker process
with limits of its own, and so are the rules in force here: an input of somebody's making must not
keep the engine that decides busy. A recorded decision can be the input; then invariants, quota and
grants are those of its facts, and only who may see the decision may use it.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from charter.adapters.rego.syntax import PolicyRefusedError
from charter.adapters.rego.worker import PolicyWorker, WorkerFailedError, WorkerLimits
from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.kernel.errors import CharterError, InvalidInputError, UnavailableError
from charter.core.policy.bundle import DATA_FOLDER, TEST_SUFFIX, Bundle
from charter.core.policy.decide import decide
from charter.core.policy.judge import judge
from charter.core.policy.result import PolicyFailure, parse_outcome
from charter.services import decisions
from charter.services.access import simple
from charter.services.runtime import Caller, Runtime

LIMITS: Final = WorkerLimits(memory_mib=768, task_cpu_seconds=5, task_seconds=8.0)
LARGEST_SOURCE: Final = 256 * 1024
LARGEST_INPUT: Final = 256 * 1024
_AT_ONCE: Final = 2  # trials in this process; each takes a core for a second or two
_WAIT_SECONDS: Final = 10.0
_MILLISECONDS: Final = 1000
_PLACED: Final = re.compile(
    r"^(?P<file>[^\s:]+\.(?:rego|json)):(?P<line>\d+):?\s*(?P<message>.+)$", re.DOTALL
)

_slots = threading.BoundedSemaphore(_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Trial:
    """An edited file and an input. Without `source` the bundle in force is tried as it is.

    `document` is the decision document as JSON text; without it that of `decision_id` is taken.
    """

    path: str | None = None
    source: str | None = None
    document: str | None = None
    decision_id: str | None = None


def _check_allowed(rt: Runtime, caller: Caller) -> Bundle:
    """The bundle in force, for who may try policies; a preview, so that nothing is stored."""
    with rt.database.reading() as tx:
        question = simple(caller, Permission.POLICY_TRY, ResourceRef("policy"))
        answer = decisions.preview(rt, tx, question)
        bundle = rt.policy.active(tx).bundle
    decisions.refuse_unless_allowed(answer)
    return bundle


def list_files(rt: Runtime, caller: Caller) -> list[str]:
    """The files of the bundle in force that can be edited: rules and data documents."""
    bundle = _check_allowed(rt, caller)
    return [*bundle.modules, *bundle.documents]


def get_file(rt: Runtime, caller: Caller, path: str) -> str:
    """The text of one file of the bundle in force; empty for a file that it does not have."""
    bundle = _check_allowed(rt, caller)
    return bundle.text(path) if path in bundle.files else ""


def try_out(rt: Runtime, caller: Caller, trial: Trial) -> dict[str, Any]:
    """What the rules in force and the edited rules say of the same input."""
    base = _check_allowed(rt, caller)
    recorded = None
    if trial.decision_id is not None:
        recorded = decisions.get(rt, caller, trial.decision_id)
    document = _document(trial, recorded)
    facts = None if recorded is None else {**recorded["facts"], "document": document}
    edited = _edited(base, trial)
    with _slot(), PolicyWorker(LIMITS) as worker:
        before = _half(worker, base, document, facts)
    if edited is base:
        after = before
    else:
        with _slot(), PolicyWorker(LIMITS) as worker:
            after = _half(worker, edited, document, facts)
    return {
        "digest": edited.digest,
        "base_digest": base.digest,
        "recorded_effect": None if recorded is None else recorded["effect"],
        "before": before,
        "after": after,
        "same": before["decision"] == after["decision"] and after["decision"] is not None,
    }


def _document(trial: Trial, recorded: Mapping[str, Any] | None) -> dict[str, Any]:
    if trial.document is None or not trial.document.strip():
        if recorded is None:
            raise InvalidInputError(
                "There is no input to decide about.",
                fix="Give a decision document as JSON, or name a recorded decision.",
            )
        found: dict[str, Any] = recorded["facts"]["document"]
        return found
    if len(trial.document.encode()) > LARGEST_INPUT:
        raise InvalidInputError(
            f"The input has more than {LARGEST_INPUT // 1024} KiB.", fix="Try a smaller one."
        )
    try:
        document = json.loads(trial.document, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidInputError(
            f"The input is not JSON{place}.",
            fix="Correct it; a recorded decision can be loaded as a start.",
            code="input-not-json",
        ) from None
    if not isinstance(document, dict):
        raise InvalidInputError(
            "The input must be one JSON object.", fix="See docs/reference/policy-input.md."
        )
    return document


def _no_number(name: str) -> float:
    raise ValueError(name)


def _edited(base: Bundle, trial: Trial) -> Bundle:
    if trial.source is None or trial.path is None:
        return base
    path = trial.path
    if len(trial.source.encode()) > LARGEST_SOURCE:
        raise InvalidInputError(
            f"The file has more than {LARGEST_SOURCE // 1024} KiB.", fix="Try a smaller one."
        )
    is_rule = path.endswith(".rego") and not path.endswith(TEST_SUFFIX)
    is_data = path.startswith(DATA_FOLDER) and path.endswith(".json")
    if not (is_rule or is_data):
        raise InvalidInputError(
            f"{path!r} is neither a rule nor a data document.",
            fix="Name it as admission/my-rule.rego or data/limits.json.",
        )
    edited = base.with_files({path: trial.source})
    return base if edited.digest == base.digest else edited


@contextmanager
def _slot() -> Iterator[None]:
    if not _slots.acquire(timeout=_WAIT_SECONDS):
        raise UnavailableError(
            "Other policies are being tried at this moment.",
            fix="Try again in a few seconds.",
            code="playground-busy",
        )
    try:
        yield
    finally:
        _slots.release()


def _half(
    worker: PolicyWorker,
    bundle: Bundle,
    document: Mapping[str, Any],
    facts: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What one bundle says: the decision, or why there is none."""
    began = time.perf_counter()
    found: dict[str, Any] = {
        "decision": None,
        "prints": [],
        "places": {},
        "problems": [],
        "failure": None,
    }
    try:
        worker.load(bundle)
        said = worker.call("try_out", json.dumps(document))
        decision = _decision(said["answer"], document, facts)
        found["prints"] = said["prints"]
        if isinstance(decision, str):
            found["failure"] = decision
        else:
            spoke = {v["rule"] for v in (*decision["violations"], *decision["shadow"])}
            found["decision"] = decision
            found["places"] = {
                rule: f"{place[0]}:{place[1]}"
                for rule, place in said["places"].items()
                if rule in spoke
            }
    except PolicyRefusedError as error:
        listed = error.details["problems"]
        found["problems"] = [_placed(str(p)) for p in (listed if isinstance(listed, list) else ())]
    except WorkerFailedError as error:
        found["failure"] = f"{error.message} {error.fix}"
    found["milliseconds"] = round((time.perf_counter() - began) * _MILLISECONDS)
    return found


def _decision(
    answer: str, document: Mapping[str, Any], facts: Mapping[str, Any] | None
) -> dict[str, Any] | str:
    """The decision that follows from an engine's answer, or a sentence why none does."""
    outcome = parse_outcome(answer)
    try:
        failure = json.loads(answer).get("failure")
    except (ValueError, AttributeError):
        failure = None
    if failure is not None:
        return str(failure["message"])
    if isinstance(outcome, PolicyFailure):
        return outcome.message
    try:
        if facts is not None:
            return judge(facts, outcome).as_json()
        return decide(document, (), outcome, (), decisions.KNOWN_OBLIGATIONS).as_json()
    except CharterError as error:
        return error.message
    except (KeyError, TypeError, ValueError, AttributeError):
        return "The input lacks a part that every decision needs: subject, action or context.now."


def _placed(problem: str) -> dict[str, Any]:
    match = _PLACED.match(problem)
    if match is None:
        return {"file": None, "line": None, "message": problem}
    return {"file": match["file"], "line": int(match["line"]), "message": match["message"]}
