"""The parity gate: a bundle is put in force only when OPA and the built-in engine agree about it.

Where no OPA is configured there is nothing to compare, and the report says so. Where one is, its
absence is a failure: a gate that opens because nobody answers is no gate.

Source: Spec PC-12.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from charter.adapters.opa.client import OpaError
from charter.adapters.opa.parity import Comparison, Difference
from charter.adapters.opa.parity import compare as compare_engines
from charter.core.kernel.errors import ConflictError, UnavailableError
from charter.core.policy.bundle import Bundle
from charter.services.policy_point import opa_client
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx

_NAMED: Final = 3  # in a message; the details carry more


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What the gate found; `engine` is None where no OPA is configured."""

    engine: str | None = None
    tests: int = 0
    decisions: int = 0
    differing: int = 0
    differences: tuple[Difference, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing stands against the bundle."""
        return self.differing == 0

    def as_json(self) -> dict[str, Any]:
        """The stored and transmitted form."""
        return {
            "engine": self.engine,
            "tests": self.tests,
            "decisions": self.decisions,
            "differing": self.differing,
            "differences": [difference.as_json() for difference in self.differences],
            "passed": self.passed,
        }

    @classmethod
    def of(cls, found: Comparison) -> ParityReport:
        """The report of a comparison."""
        return cls(found.engine, found.tests, found.decisions, found.differing, found.differences)


def compare(rt: Runtime, bundle: Bundle) -> ParityReport:
    """Both engines on the bundle's tests and on the newest recorded decisions.

    Raises `UnavailableError` (code `opa-unavailable`) when the configured OPA does not answer, and
    `PolicyRefusedError` for a bundle that one of the engines refuses.
    """
    client = opa_client(rt.settings)
    if client is None:
        return ParityReport()
    try:
        with rt.database.reading() as tx:
            sample = list(_newest(tx, rt.settings.opa_parity_sample))
        return ParityReport.of(compare_engines(bundle, client, sample))
    except OpaError as error:
        raise UnavailableError(
            f"The bundle could not be compared with the configured OPA: {error.message}.",
            fix="Start that OPA, or take CHARTER_OPA_URL out of the configuration.",
            code="opa-unavailable",
        ) from error
    finally:
        client.close()


def require_parity(rt: Runtime, bundle: Bundle) -> ParityReport:
    """As `compare`; raises `ConflictError` (code `parity`) naming rules and decisions."""
    report = compare(rt, bundle)
    if not report.passed:
        shown = "; ".join(difference.show() for difference in report.differences[:_NAMED])
        raise ConflictError(
            f"OPA and the built-in engine differ {report.differing} times about this bundle: "
            f"{shown}.",
            fix="Rewrite the named rules so that both engines agree (charter policy check shows "
            "constructs that differ), or the tests that found it.",
            code="parity",
            details={"parity": report.as_json()},
        )
    return report


def _newest(tx: Tx, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    query = (
        sa.select(t.decisions.c.id, t.decisions.c.facts)
        .order_by(t.decisions.c.at.desc(), t.decisions.c.id.desc())
        .limit(count)
    )
    for row in tx.all(query):
        yield row["id"], json.loads(row["facts"])
