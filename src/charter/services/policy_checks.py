"""The automated checks of a candidate, in a process of its own with limits.

Nobody vouches for a candidate yet: a rule may be exponential, or ask for a gigabyte. A worker that
dies or overruns is a failed check with a sentence, and nothing else happens.

Source: Spec PC-4.
"""

from __future__ import annotations

from typing import Any, Final

from charter.adapters.rego.syntax import PolicyRefusedError
from charter.adapters.rego.worker import PolicyWorker, WorkerFailedError, WorkerLimits
from charter.core.policy.bundle import Bundle

_MOST_FAILURES: Final = 5  # named in the summary; the report has all
_LONGEST_SUMMARY: Final = 1_000


def run_checks(bundle: Bundle, limits: WorkerLimits | None = None) -> dict[str, Any]:
    """What the checks say of this bundle: `digest`, `passed`, a `summary` for people, details."""
    try:
        with PolicyWorker(limits) as worker:
            worker.load(bundle)
            found = worker.check(bundle)
    except PolicyRefusedError as error:
        problems = [str(problem) for problem in error.details["problems"]]  # type: ignore[attr-defined]
        return _report(bundle, "It cannot be loaded. " + " ".join(problems), problems=problems)
    except WorkerFailedError as error:
        return _report(bundle, error.message)
    tests = found["tests"] or {"run": 0, "failed": 0, "failures": []}
    if tests["failed"]:
        named = ", ".join(failure["name"] for failure in tests["failures"][:_MOST_FAILURES])
        summary = f"{tests['failed']} of {tests['run']} tests fail: {named}."
    elif not found["passed"]:
        errors = [one["message"] for one in found["findings"] if one["severity"] == "error"]
        summary = f"{len(errors)} errors. {' '.join(errors[:_MOST_FAILURES])}"
    elif not tests["run"]:
        summary = "It has no tests, and what is not tested is not known."
        found["passed"] = False
    else:
        summary = f"All {tests['run']} tests passed; {found['warnings']} warnings."
    return _report(bundle, summary, **found)


def _report(bundle: Bundle, summary: str, **details: object) -> dict[str, Any]:
    return {
        "passed": False,
        **details,
        "digest": bundle.digest,
        "summary": summary[:_LONGEST_SUMMARY],
    }
