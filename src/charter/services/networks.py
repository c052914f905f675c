"""Networks that are let in: held against every request at the door, shown, and set aside in need.

`admit` is called when somebody has proved who they are, before anything is done or read for them;
the rule `access/network-not-allowed` says the same in the decisions that follow. Its data is parsed
with the bundle, so that a request costs a few comparisons.

When the lists shut everybody out, whoever runs Charter's own machine sets them aside for some
minutes (`set_aside`, by `charter access networks --open`): no request over the network can do that.
It is on record, and every administrator is told.

Source: Spec ID-5; the lists in `core.access.networks`, who must stay in `services.network_lockout`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.addresses import parse_address
from charter.core.access.networks import FIX, MESSAGE, RULE, NetworkLists
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.roles import RoleName
from charter.core.access.subjects import Agent, Human, Subject
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.decision import Mode
from charter.core.kernel.errors import ConflictError, ForbiddenError, InvalidInputError
from charter.core.policy.bundle import Bundle, PolicyData
from charter.services import attempts, network_lockout
from charter.services.policy_bundles import SECURITY_AND_PLATFORM, row_of, tell
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_human
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

OPERATOR: Final = ActorRef("system", "operator")
SERVICE: Final = "service"
SET_ASIDE: Final = "set-aside"
AGENT_ROLES: Final = frozenset({RoleName.AGENT.value})


class NetworkRefusedError(ForbiddenError):
    """A request of somebody who is known, from where the policy lets nobody of theirs in."""

    code = "network-not-allowed"

    def __init__(self, actor: ActorRef, ip: str | None, closed: tuple[str, ...]) -> None:
        super().__init__(MESSAGE, fix=FIX, details={"rule": RULE})
        self.actor = actor
        self.ip = ip
        self.closed = closed


# --- at the door --------------------------------------------------------------------------------
def admit(rt: Runtime, tx: Tx, subject: Subject, credential_id: str, ip: str | None) -> str | None:
    """Raise unless the subject may come from `ip`; `set-aside` where that is why they may."""
    lists = rt.policy.active(tx).data.networks
    kind, roles = kind_and_roles(subject, tx)
    if not lists.refuses(ip, kind, roles, subject.id, tx.now):
        return None
    sponsor = subject.sponsor.id if isinstance(subject, Agent) else None
    actor = ActorRef(kind, subject.id, sponsor, credential_id)
    return _unless_set_aside(tx, NetworkRefusedError(actor, ip, lists.closed_to(ip, kind, roles)))


def admit_person(rt: Runtime, tx: Tx, person_id: str, ip: str | None) -> None:
    """The same for somebody who is about to sign in."""
    person = load_human(tx, person_id)
    if person is not None:
        admit(rt, tx, person, "sign-in", ip)


def admit_service(
    tx: Tx, lists: NetworkLists, credential_id: str, ip: str | None, *, kind: str = SERVICE
) -> str | None:
    """The same for what is neither a person nor an agent: a point, a directory; `kind` names it."""
    if not lists.refuses(ip, SERVICE, frozenset(), credential_id, tx.now):
        return None
    actor = ActorRef(kind, credential_id, None, None)
    closed = lists.closed_to(ip, SERVICE, frozenset())
    return _unless_set_aside(tx, NetworkRefusedError(actor, ip, closed))


def kind_and_roles(subject: Subject, tx: Tx) -> tuple[str, frozenset[str]]:
    """What the lists ask of a subject: every role counts, wherever it is held."""
    if isinstance(subject, Human):
        held = frozenset(b.role for b in subject.bindings if b.live(tx.now))
        return "human", held
    return "agent", AGENT_ROLES


def _unless_set_aside(tx: Tx, refused: NetworkRefusedError) -> str:
    if opening(tx) is None:
        raise refused
    return SET_ASIDE


@contextmanager
def recorded(rt: Runtime) -> Iterator[None]:
    """Record a request that `admit` refuses in the block, once for each window of attempts.

    The block's own transaction is over by then: refusals are no reason to keep what it did.
    """
    try:
        yield
    except NetworkRefusedError as refused:
        with rt.database.unit_of_work() as tx:
            who = refused.actor
            key = f"network:{who.id}:{who.credential_id}:{refused.ip}"
            if attempts.first_in_window(rt, tx, key):
                tx.audit(
                    AuditEvent(
                        id=tx.new_id("event"),
                        at=tx.now,
                        actor=who,
                        action="access.network-refused",
                        resource_kind="policy",
                        resource_id=RULE,
                        outcome=Outcome.DENIED,
                        reason_codes=(RULE,),
                        facts={"lists": ", ".join(refused.closed)},
                        private={"address": refused.ip},
                    )
                )
        raise


# --- set aside, on the machine itself -----------------------------------------------------------
def opening(tx: Tx) -> Row | None:
    """The opening that holds now, if there is one."""
    c = t.network_openings.c
    return tx.one(
        sa.select(t.network_openings)
        .where(c.until > tx.now, c.closed_at.is_(None))
        .order_by(c.until.desc())
        .limit(1)
    )


def set_aside(rt: Runtime, reason: str, minutes: int) -> dict[str, Any]:
    """Set the lists aside for so many minutes. For the operator on the machine, and nobody else.

    Signing in takes a credential all the same: this opens the network, not the door.
    """
    if not reason.strip():
        raise InvalidInputError(
            "Setting the allowlists aside needs its reason on record.",
            fix="Say why: --reason.",
            code="reason-required",
        )
    with rt.database.unit_of_work() as tx:
        longest = rt.policy.active(tx).data.networks.opening_minutes_max
        if not 1 <= minutes <= longest:
            raise InvalidInputError(
                f"The allowlists can be set aside for 1 to {longest} minutes at once.",
                fix="Choose fewer; it can be done again.",
                code="opening-too-long",
            )
        _end_openings(tx)
        opening_id, until = tx.new_id("opening"), tx.now + timedelta(minutes=minutes)
        tx.insert(
            t.network_openings, id=opening_id, opened_at=tx.now, until=until, reason=reason.strip()
        )
        _record(tx, "access.networks-opened", opening_id, {"minutes": minutes}, reason)
        tell(
            tx,
            SECURITY_AND_PLATFORM,
            "networks-opened",
            f"On the server itself, the allowlists of networks were set aside until "
            f"{until:%Y-%m-%d %H:%M} UTC: {reason.strip()}",
            ("policy", RULE),
        )
        return {"id": opening_id, "until": until, "reason": reason.strip()}


def put_back(rt: Runtime) -> dict[str, Any]:
    """End the opening before its time. Raises `ConflictError` when there is none."""
    with rt.database.unit_of_work() as tx:
        found = opening(tx)
        if found is None:
            raise ConflictError(
                "The allowlists are not set aside.",
                fix="Nothing is to be done: they hold.",
                code="networks-not-open",
            )
        _end_openings(tx)
        _record(tx, "access.networks-closed", found["id"], {}, None)
        return {"id": found["id"], "until": tx.now, "reason": found["reason"]}


def _end_openings(tx: Tx) -> None:
    c = t.network_openings.c
    tx.update(t.network_openings, c.until > tx.now, c.closed_at.is_(None), closed_at=tx.now)


def _record(
    tx: Tx, action: str, opening_id: str, facts: dict[str, int], reason: str | None
) -> None:
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=OPERATOR,
            action=action,
            resource_kind="policy",
            resource_id=opening_id,
            outcome=Outcome.DONE,
            facts=facts,
            private=None if reason is None else {"reason": reason},
        )
    )


# --- what people see ----------------------------------------------------------------------------
def view(
    rt: Runtime, caller: Caller, *, address: str | None = None, digest: str | None = None
) -> dict[str, Any]:
    """The lists, whom `address` would be let in as, and which administrators would get in.

    `digest` asks about another kept bundle in place of the one in force. The addresses of
    administrators are shown to those who manage people.
    """
    checked = None
    if address is not None and (checked := parse_address(address)) is None:
        raise InvalidInputError(
            f"{address!r} is no address.", fix="Give an IPv4 or IPv6 address, without a port."
        )
    with rt.database.reading() as tx:
        lists = rt.policy.active(tx).data.networks
        if digest is not None:
            lists = PolicyData.from_bundle(Bundle(row_of(tx, digest)["files"])).networks
        manages = reach_set(caller.subject, Permission.PEOPLE_MANAGE, tx.now).everything
        found = opening(tx)
        return {
            "enforced": lists.mode is Mode.ENFORCE,
            "mode": lists.mode.value,
            "lists": [
                {"name": name, "networks": [str(network) for network in networks]}
                for name, networks in named(lists)
            ],
            "open_until": None if found is None else found["until"],
            "open_reason": None if found is None else found["reason"],
            "your_address": caller.ip,
            "address": None if checked is None else str(checked),
            "closed": []
            if checked is None
            else [
                name for name, networks in named(lists) if not any(checked in n for n in networks)
            ],
            "administrators": network_lockout.administrators(tx, lists) if manages else None,
        }


def named(lists: NetworkLists) -> list[tuple[str, tuple[Any, ...]]]:
    """Every list that says something, with its name."""
    found = [("organisation", lists.organisation)]
    found += [(f"kinds.{kind}", networks) for kind, networks in lists.kinds.items()]
    found += [(f"roles.{role}", networks) for role, networks in sorted(lists.roles.items())]
    return [(name, networks) for name, networks in found if networks]
