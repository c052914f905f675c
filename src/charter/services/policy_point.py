"""The policy decision point of this process: the active bundle, compiled, and its data documents.

The active bundle's digest stands in the database; each unit of work that decides compares it with
what is compiled here and swaps when another replica has activated a newer one. So a decision is
never made under a bundle that is not the active one at that moment, and a bundle that cannot be
loaded makes every decision a refusal rather than a decision under old rules.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import sqlalchemy as sa

from charter.adapters.opa.client import OpaClient, OpaError
from charter.adapters.opa.engine import OpaEngine
from charter.adapters.rego.describe import RuleDescription, describe_rules
from charter.adapters.rego.engine import EngineThread
from charter.core.kernel.errors import CharterError, UnavailableError
from charter.core.policy.bundle import Bundle, PolicyData
from charter.core.policy.result import PolicyFailure
from charter.services.policy_workers import KeptWorkers
from charter.settings import Settings
from charter.store import tables as t
from charter.store.unit_of_work import Tx


class PolicyEngine(Protocol):
    """What decides: the built-in engine on its thread, or an external OPA.

    Both may be asked from any thread, answer with JSON text or a failure, and never raise.
    """

    name: str
    version: str

    def evaluate(
        self, document_json: str, document: Mapping[str, Any] | None = None
    ) -> str | PolicyFailure:
        """The aggregator's answer on a decision document; `document` is what the text says."""
        ...

    def query(self, path: tuple[str, ...], document_json: str) -> tuple[bool, Any] | PolicyFailure:
        """Whether `data.<path>` is defined for the document, and its value."""
        ...

    def close(self) -> None:
        """Give back what the engine holds."""
        ...


@dataclass(frozen=True)
class ActivePolicy:
    """The bundle in force: compiled engine, typed data, and the digest that decisions record."""

    digest: str
    bundle: Bundle
    data: PolicyData
    engine: PolicyEngine

    @cached_property
    def rules(self) -> tuple[RuleDescription, ...]:
        """Its rules as people read them; parsing them takes a good part of a second, once."""
        return tuple(describe_rules(self.bundle))


def compile_engine(bundle: Bundle) -> ActivePolicy:
    """`bundle` compiled, with its data read; raises `CharterError` when it cannot be used."""
    engine = EngineThread(bundle)
    return ActivePolicy(bundle.digest, bundle, engine.data, engine)


def opa_client(settings: Settings) -> OpaClient | None:
    """The configured OPA, or None."""
    if settings.opa_url is None:
        return None
    return OpaClient(settings.opa_url, token_file=settings.opa_token_file)


def engine_maker(settings: Settings) -> Callable[[Bundle], ActivePolicy]:
    """What makes the policy in force: the built-in engine, or the configured OPA.

    Only live decisions go to an external engine. Checks and replays use the built-in one, which is
    why a bundle must pass the parity gate before it is put in force.
    """
    client = opa_client(settings)
    if settings.policy_engine == "builtin":
        return compile_engine
    if client is None:
        raise UnavailableError(
            "CHARTER_POLICY_ENGINE is opa, and no OPA is named.",
            fix="Set CHARTER_OPA_URL to the address of an OPA server.",
            code="opa-url",
        )
    return lambda bundle: _compile_in_opa(bundle, client)


def _compile_in_opa(bundle: Bundle, client: OpaClient) -> ActivePolicy:
    try:
        engine = OpaEngine(bundle, client)
    except OpaError as error:
        raise UnavailableError(
            f"The configured OPA cannot be used as the engine: {error.message}.",
            fix="Start it, or look at CHARTER_OPA_URL and CHARTER_OPA_TOKEN_FILE.",
            code="opa-unavailable",
        ) from error
    return ActivePolicy(bundle.digest, bundle, engine.data, engine)


class PolicyPoint:
    """Gives the active policy of a transaction; safe to share between threads."""

    def __init__(self, make: Callable[[Bundle], ActivePolicy] = compile_engine) -> None:
        self._make = make
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
            self._active = self._make(bundle)
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
