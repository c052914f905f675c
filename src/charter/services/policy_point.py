"""The policy decision point of this process: the active bundle, compiled, and its data documents.

The active bundle's digest stands in the database; each unit of work that decides compares it with
what is compiled here and swaps when another replica has activated a newer one. So a decision is
never made under a bundle that is not the active one at that moment, and a bundle that cannot be
loaded makes every decision a refusal rather than a decision under old rules.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property

import sqlalchemy as sa

from charter.adapters.rego.describe import RuleDescription, describe_rules
from charter.adapters.rego.engine import EngineThread
from charter.core.kernel.errors import CharterError, UnavailableError
from charter.core.policy.bundle import Bundle, PolicyData
from charter.services.policy_workers import KeptWorkers
from charter.store import tables as t
from charter.store.unit_of_work import Tx


@dataclass(frozen=True)
class ActivePolicy:
    """The bundle in force: compiled engine, typed data, and the digest that decisions record."""

    digest: str
    bundle: Bundle
    data: PolicyData
    engine: EngineThread

    @cached_property
    def rules(self) -> tuple[RuleDescription, ...]:
        """Its rules as people read them; parsing them takes a good part of a second, once."""
        return tuple(describe_rules(self.bundle))


def compile_engine(bundle: Bundle) -> ActivePolicy:
    """`bundle` compiled, with its data read; raises `CharterError` when it cannot be used."""
    engine = EngineThread(bundle)
    return ActivePolicy(bundle.digest, bundle, engine.data, engine)


class PolicyPoint:
    """Gives the active policy of a transaction; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: ActivePolicy | None = None
        self._retired: ActivePolicy | None = None
        self.workers = KeptWorkers()
        """For what must not hold up decisions: explanations of past and present ones."""

    def active(self, tx: Tx) -> ActivePolicy:
        """The policy in force in `tx`.

        Raises `UnavailableError` when no bundle is active or the active one does not compile.
        """
        row = tx.one(sa.select(t.active_bundle.c.digest))
        if row is None:
            raise UnavailableError(
                "No policy bundle is active, so nothing can be decided.",
                fix="An administrator loads one: charter policy apply DIR.",
                code="policy-unavailable",
            )
        digest = str(row["digest"])
        current = self._active
        if current is not None and current.digest == digest:
            return current
        with self._lock:
            if self._active is None or self._active.digest != digest:
                stored = tx.one(sa.select(t.bundles.c.files).where(t.bundles.c.digest == digest))
                files = stored["files"] if stored is not None else {}
                self._swap(digest, Bundle(files))
            if self._active is None:  # _swap sets it or raises
                raise AssertionError
            return self._active

    def _swap(self, digest: str, bundle: Bundle) -> None:
        if bundle.digest != digest:
            raise UnavailableError(
                "The active policy bundle does not match its digest.",
                fix="Load the policies again: charter policy apply DIR.",
                code="policy-corrupt",
            )
        previous = self._active
        try:
            self._active = compile_engine(bundle)
        except CharterError as error:
            raise UnavailableError(
                f"The active policy bundle cannot be used: {error.message}",
                fix="An administrator puts a working one in force: charter policy apply DIR.",
                code="policy-unavailable",
            ) from error
        # Requests that began under the previous bundle finish under it: its engine lives until
        # the next change, or they would store refusals that no replay could explain.
        if self._retired is not None:
            self._retired.engine.close()
        self._retired = previous

    def close(self) -> None:
        """End the engine's thread and the workers."""
        self.workers.close()
        with self._lock:
            for policy in (self._active, self._retired):
                if policy is not None:
                    policy.engine.close()
            self._active = self._retired = None
