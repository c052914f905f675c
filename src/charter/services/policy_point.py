"""The policy decision point of this process: the bundle in force, compiled, and its data documents.

The digest of the bundle in force stands in the database; each unit of work that decides compares it
with what is compiled here and swaps when another replica has put a newer one in force. So a
rollback counts on every replica with its very next decision.

What is taken from the database has to match its digest and to carry this instance's signature. A
bundle that fails to load never replaces one that works: the last good bundle goes on deciding (the
one that this process has, or after a start the newest of the history that loads) and the failure is
written down, which is what alerts people. Where nothing is left that loads, every decision is a
refusal. No failure ever turns into a yes.

While a policy change is staged, questions about resources of test environments are decided by the
candidate. Stored decisions name the bundle that made them, so they replay as they were made.

Source: Spec PC-2, PC-5; design, rules 3 and 5.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from charter.adapters.opa.client import OpaClient, OpaError
from charter.adapters.opa.engine import OpaEngine
from charter.adapters.rego.describe import RuleDescription, describe_rules
from charter.adapters.rego.engine import EngineThread
from charter.core.access.invariants import ResourceRef
from charter.core.kernel.errors import CharterError, UnavailableError
from charter.core.policy.bundle import Bundle, PolicyData
from charter.core.policy.pipeline import ChangeState
from charter.core.policy.result import PolicyFailure
from charter.services.policy_signature import signed_by
from charter.services.policy_workers import KeptWorkers
from charter.settings import Settings
from charter.store import tables as t
from charter.store.unit_of_work import Tx

_RETRY_SECONDS: Final = 30.0  # a load can fail for want of memory: it is tried again, not each time
_KEPT: Final = 3  # in force, staged, and the one before, under which requests still finish
_MOST_TRIED: Final = 10  # of the history, when a process starts with a broken bundle in force

_WAYS_BACK: Final = ("rollback", "automatic-rollback")


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


@dataclass(frozen=True, slots=True)
class Trouble:
    """A bundle that should decide and cannot be loaded here.

    `own_fault` is False where an external engine is what is missing: no other bundle would help.
    """

    digest: str
    message: str
    own_fault: bool


class PolicyPoint:
    """Gives the policy that decides in a transaction; safe to share between threads.

    `key` is the public half of the key that signs bundles; `make` compiles one.
    """

    def __init__(
        self, key: Ed25519PublicKey, make: Callable[[Bundle], ActivePolicy] = compile_engine
    ) -> None:
        self._key = key
        self._make = make
        self._lock = threading.Lock()
        self.workers = KeptWorkers()
        """For what must not hold up decisions: explanations of past and present ones."""
        self._compiled: dict[str, ActivePolicy] = {}  # the newest last
        self._last_good: str | None = None
        self._broken: dict[str, tuple[str, float, str]] = {}

    def active(self, tx: Tx) -> ActivePolicy:
        """The policy in force in `tx`, or the last good one while that one cannot be loaded.

        Raises `UnavailableError` when no bundle is in force or none can be loaded.
        """
        return self._in_force(tx, _digests(tx)[0])

    def deciding(self, tx: Tx, resource: ResourceRef) -> ActivePolicy:
        """The policy that decides about `resource`: a staged one for test environments."""
        digest, staged = _digests(tx)
        policy = self._in_force(tx, digest)
        if staged is None or resource.project_id is None:
            return policy
        query = sa.select(t.projects.c.environment).where(t.projects.c.id == resource.project_id)
        project = tx.one(query)
        if project is None or project["environment"] not in policy.data.pipeline.test_environments:
            return policy
        return self._usable(tx, staged) or policy

    @property
    def troubled(self) -> bool:
        """Whether any bundle has failed to load in this process; cheap, for each decision."""
        return bool(self._broken)

    def trouble(self, tx: Tx) -> tuple[Trouble, ...]:
        """What should decide at this moment and cannot be loaded in this process."""
        wanted = [digest for digest in _digests(tx) if digest is not None]
        return tuple(
            Trouble(digest, found[0], found[2] != "opa-unavailable")
            for digest in wanted
            if (found := self._broken.get(digest)) is not None
        )

    def _in_force(self, tx: Tx, digest: str | None) -> ActivePolicy:
        if digest is None:
            raise UnavailableError(
                "No policy bundle is active, so nothing can be decided.",
                fix="An administrator loads one: charter policy apply DIR.",
                code="policy-unavailable",
            )
        found = self._usable(tx, digest)
        if found is not None:
            self._last_good = digest
            return found
        return self._standing_in(tx, digest)

    def _standing_in(self, tx: Tx, digest: str) -> ActivePolicy:
        """The last good policy in place of the one with `digest`, which is broken."""
        last = None if self._last_good is None else self._usable(tx, self._last_good)
        if last is not None:
            return last
        c = t.policy_activations.c
        tried: set[str] = {digest}
        newest = (c.at.desc(), c.id.desc())
        query = sa.select(c.digest).order_by(taken_back(), *newest).limit(1000)
        for row in tx.all(query):
            if row["digest"] in tried or len(tried) > _MOST_TRIED:
                continue
            tried.add(row["digest"])
            found = self._usable(tx, row["digest"])
            if found is not None:
                self._last_good = found.digest
                return found
        why = self._broken.get(digest, ("It failed to load.", 0.0, ""))
        raise UnavailableError(
            f"The active policy bundle cannot be used: {why[0]}",
            fix="An administrator puts a working one in force: charter policy apply DIR.",
            code="policy-unavailable",
        )

    def _usable(self, tx: Tx, digest: str) -> ActivePolicy | None:
        """The policy with this digest, compiled; None when it cannot be loaded."""
        found = self._compiled.get(digest)
        if found is not None or self._failed_lately(digest):
            return found
        with self._lock:
            if digest not in self._compiled and not self._failed_lately(digest):
                try:
                    self._keep(self._make(self._stored(tx, digest)))
                except CharterError as error:
                    self._broken[digest] = (error.message, time.monotonic(), error.code)
            return self._compiled.get(digest)

    def _failed_lately(self, digest: str) -> bool:
        failed = self._broken.get(digest)
        return failed is not None and time.monotonic() - failed[1] < _RETRY_SECONDS

    def _stored(self, tx: Tx, digest: str) -> Bundle:
        """The bundle from the database, if it is what its digest says and was signed here."""
        row = tx.one(sa.select(t.bundles).where(t.bundles.c.digest == digest))
        bundle = Bundle({} if row is None else row["files"])
        if row is None or bundle.digest != digest or not signed_by(self._key, row):
            raise UnavailableError(
                f"The stored bundle {digest[:19]}… is not what was signed under its digest.",
                fix="Put another one in force: charter policy rollback. Then look into it.",
                code="policy-corrupt",
            )
        return bundle

    def _keep(self, policy: ActivePolicy) -> None:
        """Keep `policy`. The oldest goes, never the last good one.

        Requests that began under the previous bundle finish under it: its engine lives on for a
        while, or they would store refusals that no replay could explain.
        """
        self._broken.pop(policy.digest, None)
        self._compiled[policy.digest] = policy
        spare = [digest for digest in self._compiled if digest != self._last_good]
        while len(self._compiled) > _KEPT and len(spare) > 1:
            self._compiled.pop(spare.pop(0)).engine.close()

    def close(self) -> None:
        """End the engines' threads and the workers."""
        self.workers.close()
        with self._lock:
            for policy in self._compiled.values():
                policy.engine.close()
            self._compiled.clear()
            self._last_good = None


def _digests(tx: Tx) -> tuple[str | None, str | None]:
    """The digests of the bundle in force and of the staged candidate."""
    c = t.policy_changes.c
    staged = sa.select(c.digest).where(c.state == ChangeState.STAGED.value).scalar_subquery()
    row = tx.one(sa.select(t.active_bundle.c.digest, staged.label("staged")))
    return (None, None) if row is None else (str(row["digest"]), row["staged"])


def taken_back() -> sa.ColumnElement[bool]:
    """Of an activation: whether its bundle was rolled back since; such a one is the last resort."""
    c, later = t.policy_activations.c, t.policy_activations.alias()
    back = later.c.kind.in_(_WAYS_BACK) & (later.c.previous == c.digest) & (later.c.id > c.id)
    return sa.exists().where(back).correlate(t.policy_activations)


def write_down(tx: Tx, digest: str, kind: str, message: str) -> None:
    """Keep that a bundle failed (`load`: it cannot be loaded; `engine`: it failed to decide).

    The monitor alerts people and, where a change is answerable, takes it back.
    """
    tx.insert_new(t.policy_failures, digest=digest, kind=kind, message=message, at=tx.now)
