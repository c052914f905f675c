"""Enforcement points outside Charter: clusters, OPAs and AuthZEN clients that ask it or follow it.

A point is registered by an administrator and gets a token of its own, shown once. It authenticates
the point and nobody else: whatever the point says about people is a claim (`external_decisions`).
A rotated token's predecessor stays valid for a grace period, so that a fleet can be given the new
one without a gap; a revoked point is dead at its next request.

Source: Spec PC-12.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.networks import NetworkLists
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    UnauthenticatedError,
)
from charter.services import attempts, networks, paging, secrets
from charter.services.access import carry_out, missing, note, simple
from charter.services.attempts import Door, WrongCredentialError
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

KINDS: Final = ("kubernetes", "opa", "authzen")
LONGEST_GRACE_SECONDS: Final = 7 * 86_400
_TOUCH_SECONDS: Final = 60  # as for tokens: not every request shall write
_MOST_SEEN: Final = 1000
_MAX_SETTINGS_BYTES: Final = 16_384
_NOUN: Final = "enforcement-point"

SETTINGS: Final[Mapping[str, type]] = {
    "obligations": list,  # types of obligations that the point can carry out
    "projects": list,  # before whose production the point stands
    "own_agents": bool,  # whether agents that Charter does not know may be decided about
}
"""Settings of every kind of point, with the type of each; a kind may add its own below."""

KIND_SETTINGS: Final[Mapping[str, Mapping[str, type]]] = {
    "kubernetes": {},
    "opa": {},
    "authzen": {},
}


@dataclass(frozen=True, slots=True)
class EnforcementPoint:
    """A registered point, as those who decide for it need it."""

    id: str
    kind: str
    name: str
    settings: Mapping[str, Any]
    bearer: secrets.Bearer | None = None
    """What it showed, to be looked at again in the transaction that decides for it."""
    ip: str | None = None
    """Where it asks from; None where nobody can say."""

    @property
    def obligations(self) -> frozenset[str]:
        """What it declared that it can carry out; a decision with another obligation is a no."""
        return frozenset(self.settings.get("obligations", ()))

    @property
    def own_agents(self) -> bool:
        """Whether it is trusted to bring agents that Charter does not know."""
        return bool(self.settings.get("own_agents", False))

    def as_policy_sees_it(self) -> dict[str, str]:
        """`context.enforcement_point` of its decisions."""
        return {"id": self.id, "kind": self.kind, "name": self.name}


_SHOWN: Final = (
    "id",
    "kind",
    "name",
    "settings",
    "created_by",
    "created_at",
    "rotated_at",
    "revoked_at",
    "last_seen_at",
    "last_status",
    "last_status_at",
)


def _view(row: Row, active_digest: str | None) -> dict[str, Any]:
    status = row["last_status"] or {}
    revision = status.get("active_revision")
    return {
        **{name: row[name] for name in _SHOWN},
        "previous_until": row["previous_until"],
        "drift": None if revision is None else revision != active_digest,
    }


def _active_digest(tx: Tx) -> str | None:
    row = tx.one(sa.select(t.active_bundle.c.digest))
    return None if row is None else str(row["digest"])


def find(tx: Tx, ref: str, *, lock: bool = False) -> Row:
    """The point with this id or name."""
    c = t.enforcement_points.c
    query = sa.select(t.enforcement_points).where(sa.or_(c.id == ref, c.name == ref))
    row = tx.one(query.with_for_update() if lock else query)
    if row is None:
        raise missing(_NOUN)
    return row


def _checked(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings`, if every one is known to points of this kind and has its type."""
    known = {**SETTINGS, **KIND_SETTINGS[kind]}
    for name, value in settings.items():
        if name not in known:
            raise InvalidInputError(
                f"A point of the kind {kind} has no setting {name!r}.",
                fix=f"Known are: {', '.join(sorted(known))}.",
                code="enforcement-point-setting",
            )
        listed = known[name] is not list or (
            isinstance(value, list) and all(isinstance(part, str) and part for part in value)
        )
        if not isinstance(value, known[name]) or not listed:
            raise InvalidInputError(
                f"The setting {name!r} takes {_WORDS[known[name]]}.",
                fix="Correct the value.",
                code="enforcement-point-setting",
            )
    if len(canonical_json(dict(settings)).encode()) > _MAX_SETTINGS_BYTES:
        raise InvalidInputError(
            f"The settings of a point take {_MAX_SETTINGS_BYTES} bytes at most.",
            fix="Leave out what is not needed.",
            code="enforcement-point-setting",
        )
    return dict(settings)


_WORDS: Final = {
    bool: "true or false",
    list: "a list of texts",
    str: "a text",
    int: "a whole number",
    dict: "an object",
}


def register(
    rt: Runtime, caller: Caller, *, kind: str, name: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """A new point with its `token`, shown this once."""
    if kind not in KINDS:
        raise InvalidInputError(
            f"There is no enforcement point of the kind {kind!r}.",
            fix=f"Choose one of {', '.join(KINDS)}.",
        )
    checked = _checked(kind, settings)

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        point_id = tx.new_id(_NOUN)
        token, secret_hash = secrets.make("cep", point_id, rt.randomness)
        if not tx.insert_new(
            t.enforcement_points,
            id=point_id,
            kind=kind,
            name=name,
            secret_hash=secret_hash,
            settings=checked,
            created_by=caller.id,
            created_at=tx.now,
        ):
            raise ConflictError(
                f"There is an enforcement point {name} already.",
                fix="Choose another name; a revoked point keeps its own.",
                code="name-taken",
            )
        note(
            tx,
            caller,
            "enforcement-point.registered",
            _NOUN,
            point_id,
            decision_id=answer.id,
            facts={"kind": kind, "own_agents": bool(checked.get("own_agents", False))},
        )
        return {**_view(find(tx, point_id), _active_digest(tx)), "token": token}

    return carry_out(rt, lambda _: _manage(caller), act)


def rotate(rt: Runtime, caller: Caller, ref: str, grace_seconds: int) -> dict[str, Any]:
    """A new `token`; the one before stays valid for `grace_seconds` (0: ends at once)."""
    if not 0 <= grace_seconds <= LONGEST_GRACE_SECONDS:
        words = f"The grace period takes 0 to {LONGEST_GRACE_SECONDS} seconds."
        raise InvalidInputError(words, fix="Choose less: both tokens are valid meanwhile.")

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = find(tx, ref, lock=True)
        if row["revoked_at"] is not None:
            raise ConflictError(f"{row['name']} is revoked.", fix="Register a new point.")
        token, secret_hash = secrets.make("cep", row["id"], rt.randomness)
        tx.update(
            t.enforcement_points,
            t.enforcement_points.c.id == row["id"],
            secret_hash=secret_hash,
            previous_hash=row["secret_hash"] if grace_seconds else None,
            previous_until=tx.now + timedelta(seconds=grace_seconds) if grace_seconds else None,
            rotated_at=tx.now,
        )
        note(
            tx,
            caller,
            "enforcement-point.rotated",
            _NOUN,
            row["id"],
            decision_id=answer.id,
            facts={"grace_seconds": grace_seconds},
        )
        return {**_view(find(tx, row["id"]), _active_digest(tx)), "token": token}

    return carry_out(rt, lambda _: _manage(caller), act)


def revoke(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """End a point for ever; doing it twice is no error."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = find(tx, ref, lock=True)
        c = t.enforcement_points.c
        tx.update(
            t.enforcement_points, c.id == row["id"], c.revoked_at.is_(None), revoked_at=tx.now
        )
        note(tx, caller, "enforcement-point.revoked", _NOUN, row["id"], decision_id=answer.id)
        return _view(find(tx, row["id"]), _active_digest(tx))

    return carry_out(rt, lambda _: _manage(caller), act)


def _manage(caller: Caller) -> Any:
    return simple(caller, Permission.ENFORCEMENT_POINT_MANAGE, ResourceRef(_NOUN))


def check_may_view(tx: Tx, caller: Caller) -> None:
    """Raise unless the caller may look at points."""
    if not reach_set(caller.subject, Permission.ENFORCEMENT_POINT_VIEW, tx.now).everything:
        raise ForbiddenError(
            "Looking at enforcement points takes the right to view them.",
            fix="Ask a platform admin or a security admin.",
            code="denied",
        )


def list_page(
    rt: Runtime, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """All points, revoked ones too, newest first."""
    with rt.database.reading() as tx:
        check_may_view(tx, caller)
        active = _active_digest(tx)
        c = t.enforcement_points.c
        return paging.newest_first(
            tx,
            sa.select(t.enforcement_points),
            c.id,
            lambda row: _view(row, active),
            cursor,
            limit,
        )


def get(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """One point."""
    with rt.database.reading() as tx:
        check_may_view(tx, caller)
        return _view(find(tx, ref), _active_digest(tx))


# --- authentication ---------------------------------------------------------------------------
_NOT_A_POINT: Final = "This is not the token of an enforcement point that may ask here."
_REGISTER: Final = "Register the point, or rotate its token: charter enforcement-point register."


def authenticate_point(
    rt: Runtime, token: str, kind: str | None = None, ip: str | None = None
) -> EnforcementPoint:
    """The live point behind `token`, which is shown from `ip`; raises `UnauthenticatedError`.

    `kind` is the kind that this door is for; None lets every kind in. A wrong secret, an unknown
    id, a revoked point and a point of another kind all give the same answer.
    """
    bearer = secrets.parse(token)
    with attempts.counted(rt, Door.BEARER, ip), networks.recorded(rt):
        if bearer is None or bearer.kind != "cep":
            raise WrongCredentialError(_NOT_A_POINT, fix=_REGISTER)
        with rt.database.reading() as tx:
            c = t.enforcement_points.c
            row = tx.one(sa.select(t.enforcement_points).where(c.id == bearer.id))
            if not _matches(bearer, row, tx.now) or row is None:
                raise WrongCredentialError(_NOT_A_POINT, fix=_REGISTER, credential_id=bearer.id)
            if row["revoked_at"] is not None or kind not in (None, row["kind"]):
                refuse_point()
            now, point = tx.now, _point(row, bearer, ip)
            check_network(tx, rt.policy.active(tx).data.networks, point)
    _touch(rt, row, now)
    return point


def check_network(tx: Tx, lists: NetworkLists, point: EnforcementPoint) -> None:
    """Raise unless the point may ask from where it does; a caller's own token is no point."""
    if point.bearer is not None:
        networks.admit_service(tx, lists, point.id, point.ip, kind="enforcement-point")


def _point(row: Row, bearer: secrets.Bearer | None, ip: str | None) -> EnforcementPoint:
    return EnforcementPoint(row["id"], row["kind"], row["name"], row["settings"], bearer, ip)


class SeenPoints:
    """Points that this process has let in within the last minute, by what they showed.

    For doors that ask `live_points` in the transaction that decides, where a revoked or rotated
    token is noticed. Here strangers only are kept from costing more than a look.
    """

    def __init__(self, rt: Runtime, kind: str) -> None:
        self._rt, self._kind = rt, kind
        self._seen: dict[tuple[Any, str | None], tuple[EnforcementPoint, float]] = {}

    def authenticate(self, token: str, ip: str | None = None) -> EnforcementPoint:
        """As `authenticate_point`, from memory where it may be."""
        bearer = secrets.parse(token)
        known = self._seen.get((bearer, ip))
        if known is not None and time.monotonic() - known[1] < _TOUCH_SECONDS:
            return known[0]
        self._seen.pop((bearer, ip), None)
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        point = authenticate_point(self._rt, token, self._kind, ip)
        self._seen[bearer, ip] = (point, time.monotonic())
        return point


def live_points(tx: Tx, points: Sequence[EnforcementPoint]) -> list[EnforcementPoint | None]:
    """Each point as it is now; None for one whose token does not count any more."""
    wanted = {point.id for point in points if point.bearer is not None}
    c = t.enforcement_points.c
    rows = {
        row["id"]: row for row in tx.all(sa.select(t.enforcement_points).where(c.id.in_(wanted)))
    }
    found: list[EnforcementPoint | None] = []
    for point in points:
        row = rows.get(point.id)
        if point.bearer is None:
            found.append(point)
        elif (
            row is None or row["revoked_at"] is not None or not _matches(point.bearer, row, tx.now)
        ):
            found.append(None)
        else:
            found.append(_point(row, point.bearer, point.ip))
    return found


def refuse_point() -> NoReturn:
    """Raise what everybody gets whose token lets nobody in here."""
    raise UnauthenticatedError(_NOT_A_POINT, fix=_REGISTER)


def _matches(bearer: secrets.Bearer, row: Row | None, now: datetime) -> bool:
    """Whether the secret is the row's, or was until a moment that has not come yet."""
    kept = (None, None) if row is None else (row["secret_hash"], row["previous_hash"])
    current, previous = map(bearer.matches, kept)
    return current or (previous and row is not None and now < row["previous_until"])


def _touch(rt: Runtime, row: Row, now: datetime) -> None:
    last = row["last_seen_at"]
    if last is not None and (now - last).total_seconds() < _TOUCH_SECONDS:
        return
    with rt.database.unit_of_work() as tx:
        points = t.enforcement_points
        tx.update(points, points.c.id == row["id"], last_seen_at=tx.now)
