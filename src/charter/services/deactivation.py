"""Deactivation: everything that a person can act with ends at once, by whichever door it comes.

An account that is switched off already fails every check, so one might leave the rest as it is. But
an account can be switched on again, and then a forgotten session, a link in an old e-mail or a role
would be back with it. So `end` closes all of them in the transaction that switches the account off,
and `reactivate` gives the account back and nothing else.

What is *running* does not wait for anybody's next request: the sandboxes of the person and of their
agents are decided to be stopped in the same transaction and killed right after it (`stop`),
straight through the provider as the kill switch does it. What cannot be killed here the executors
go on with.

Nothing is deleted. What a person did, asked for and was given stays where it is: it is evidence.

Source: Spec ID-3, ID-8, AG-4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from charter.core.access.roles import RoleName, ScopeKind
from charter.core.agents.tasks import TaskEvent
from charter.core.audit.event import Outcome
from charter.core.kernel.errors import ConflictError
from charter.core.lifecycle.states import Desired
from charter.services import agent_records
from charter.services.access import missing, note
from charter.services.approval_entitlement import call_off
from charter.services.approval_requests import notify
from charter.services.kill_switch import kill_sandboxes, write_stopped
from charter.services.roles import keep_one_admin, lock_admins
from charter.services.runtime import Doer, Runtime
from charter.services.workspace_records import set_desired
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_REASON: Final = "The account was deactivated."
_WITHDRAWN: Final = "Withdrawn: the account of whoever asked was deactivated."


@dataclass(frozen=True, slots=True)
class Ended:
    """What `end` ended; `sandboxes` (workspace, generation) are still to be killed by `stop`."""

    person_id: str
    sandboxes: tuple[tuple[str, int], ...] = ()
    counts: dict[str, int] = field(default_factory=dict)


def end(tx: Tx, actor: Doer, person: Row, *, decision_id: str | None = None) -> Ended:
    """Switch the person off and end all that they can act with; doing it twice is no error.

    Raises `ConflictError` (`last-admin`) when nobody would be left to administer the instance.
    """
    person_id = str(person["id"])
    hold(tx, person_id)
    if _held(tx, person_id)["deactivated_at"] is not None:
        return Ended(person_id)
    _keep_an_admin(tx, person_id)
    _switch(tx, person_id, by=actor.id)
    ended = _end_all(tx, actor, person_id)
    note(
        tx,
        actor,
        "person.deactivated",
        "person",
        person_id,
        decision_id=decision_id,
        facts=ended.counts,
    )
    return ended


def reactivate(tx: Tx, actor: Doer, person: Row, *, decision_id: str | None = None) -> None:
    """Give the account back, and nothing that it had; doing it twice is no error.

    Whatever came to be while the account was being switched off ends here once more.
    """
    person_id = str(person["id"])
    hold(tx, person_id)
    if _held(tx, person_id)["deactivated_at"] is None:
        return
    _end_all(tx, actor, person_id)
    _switch(tx, person_id, by=None)
    note(tx, actor, "person.reactivated", "person", person_id, decision_id=decision_id)


def stop(rt: Runtime, actor: Doer, ended: Ended) -> list[dict[str, Any]]:
    """Kill the sandboxes that `end` decided to stop; call it after the commit."""
    if not ended.sandboxes:
        return []
    reports = kill_sandboxes(rt, ended.sandboxes)
    with rt.database.unit_of_work() as tx:
        for report in reports:
            if "error" not in report:
                write_stopped(tx, report)
        failed = sum("error" in report for report in reports)
        note(
            tx,
            actor,
            "person.sandboxes-stopped",
            "person",
            ended.person_id,
            outcome=Outcome.FAILED if failed else Outcome.DONE,
            facts={"workspaces": len(reports), "failed": failed},
        )
    return reports


def hold(tx: Tx, person_id: str) -> None:
    """Take the locks of an end in the order in which everybody takes them.

    First that of the administrators, then requests (a vote in progress holds its own), then people.
    Whoever locks the person before `end` or `reactivate` calls this before that.
    """
    lock_admins(tx)
    c = t.approvals.c
    tx.all(
        sa.select(c.id)
        .where(c.sponsor_id == person_id, c.state == "pending")
        .order_by(c.id)
        .with_for_update()
    )


def _held(tx: Tx, person_id: str) -> Row:
    """The person, with what they are just starting finished (`subjects.hold_starter`)."""
    query = sa.select(t.people).where(t.people.c.id == person_id)
    row = tx.one(query.with_for_update(key_share=True))
    if row is None:
        raise missing("person")
    return row


def _switch(tx: Tx, person_id: str, *, by: str | None) -> None:
    """The account off (`by` whom) or on (None), and what its directory reads of it."""
    on = by is None
    c = t.people.c
    tx.update(
        t.people,
        c.id == person_id,
        deactivated_at=None if on else tx.now,
        deactivated_by=by,
        updated_at=tx.now,
        scim=c.scim.op("||")(sa.cast({"active": on}, JSONB)),  # null stays null
    )


def _keep_an_admin(tx: Tx, person_id: str) -> None:
    c = t.role_bindings.c
    if tx.one(
        sa.select(c.id)
        .where(
            c.person_id == person_id,
            c.role == RoleName.PLATFORM_ADMIN.value,
            c.scope_kind == ScopeKind.ORGANISATION.value,
            c.revoked_at.is_(None),
        )
        .limit(1)
    ):
        keep_one_admin(tx, without=t.people.c.id == person_id)


def _end_all(tx: Tx, actor: Doer, person_id: str) -> Ended:
    counts = {
        "sessions": _revoke(tx, t.sessions, t.sessions.c.person_id == person_id),
        "tokens": _revoke(tx, t.api_tokens, t.api_tokens.c.person_id == person_id),
        "roles": _revoke(tx, t.role_bindings, t.role_bindings.c.person_id == person_id),
        "grants": _revoke(tx, t.grants, t.grants.c.subject_id == person_id),
        "passkeys": _set(tx, t.passkeys, person_id, "removed_at"),
        "production": _set(tx, t.production_accesses, person_id, "revoked_at", revoked_by=actor.id),
        "break_glass": _set(tx, t.break_glass, person_id, "ended_at", ended_by=actor.id),
        "approval_links": _set(tx, t.approval_links, person_id, "ended_at"),
        "links": _end_links(tx, person_id),
        "requests": _withdraw_requests(tx, actor, person_id),
        "votes": _void_votes(tx, person_id),
        "absences": _end_absences(tx, actor, person_id),
        "agents": _end_agents(tx, actor, person_id),
    }
    sandboxes = _order_stop(tx, person_id)
    return Ended(person_id, sandboxes, {**counts, "workspaces": len(sandboxes)})


def _revoke(tx: Tx, table: sa.Table, whose: sa.ColumnElement[bool]) -> int:
    return tx.update(table, whose, table.c.revoked_at.is_(None), revoked_at=tx.now)


def _set(tx: Tx, table: sa.Table, person_id: str, ended: str, **more: object) -> int:
    """End what the person holds in a table whose rows end by the column `ended`."""
    mine = table.c.person_id == person_id
    return tx.update(table, mine, table.c[ended].is_(None), **{ended: tx.now, **more})


def _end_links(tx: Tx, person_id: str) -> int:
    c = t.sign_in_links.c
    return tx.update(
        t.sign_in_links,
        c.person_id == person_id,
        c.used_at.is_(None),
        c.expires_at > tx.now,
        expires_at=tx.now,
    )


def _withdraw_requests(tx: Tx, actor: Doer, person_id: str) -> int:
    """Take back what the person, or an agent of theirs, still asks for."""
    c = t.approvals.c
    waiting = tx.all(
        sa.select(c.id).where(c.sponsor_id == person_id, c.state == "pending").order_by(c.id)
    )
    for row in waiting:
        tx.update(
            t.approvals, c.id == row["id"], state="cancelled", closed_at=tx.now, outcome=_WITHDRAWN
        )
        note(
            tx,
            actor,
            "approval.withdrawn",
            "approval",
            row["id"],
            facts={"why": "requester-deactivated"},
        )
    call_off(tx, [row["id"] for row in waiting])
    return len(waiting)


def _void_votes(tx: Tx, person_id: str) -> int:
    """What the person said on requests that still wait counts no more from now on."""
    c, a = t.approval_votes.c, t.approvals.c
    waiting = sa.select(a.id).where(a.state == "pending", a.deadline > tx.now)
    return tx.update(
        t.approval_votes,
        sa.or_(c.approver_id == person_id, c.counts_as == person_id),
        c.lost_at.is_(None),
        c.approval_id.in_(waiting),
        lost_roles=c.roles,
        lost_at=tx.now,
    )


def _end_absences(tx: Tx, actor: Doer, person_id: str) -> int:
    """Nobody stands in for the person, nor the person for anybody; who loses them is told."""
    c = t.absences.c
    live = sa.and_(c.revoked_at.is_(None), c.ends_at > tx.now)
    for row in tx.all(sa.select(c.person_id).where(c.delegate_id == person_id, live).distinct()):
        notify(
            tx,
            row["person_id"],
            "delegate",
            "Whoever stood in for you while you are away has left. Name somebody else.",
        )
    mine = sa.or_(c.person_id == person_id, c.delegate_id == person_id)
    return tx.update(t.absences, mine, live, revoked_at=tx.now, revoked_by=actor.id)


def _end_agents(tx: Tx, actor: Doer, person_id: str) -> int:
    """Kill the agents that the person sponsors: task, credentials and grants end with them."""
    c = t.agents.c
    sponsored = tx.all(
        sa.select(c.id).where(c.sponsor_id == person_id, c.state == "active").order_by(c.id)
    )
    for found in sponsored:
        row = agent_records.row_of(tx, found["id"], lock=True)
        agent_records.close(tx, row, TaskEvent.CANCEL, _REASON, state="killed")
        _revoke(tx, t.elevations, t.elevations.c.agent_id == row["id"])
        note(tx, actor, "agent.killed", "agent", row["id"], facts={"why": "sponsor-deactivated"})
    return len(sponsored)


def _order_stop(tx: Tx, person_id: str) -> tuple[tuple[str, int], ...]:
    """Decide that the person's workspaces and those of their agents stop."""
    c = t.workspaces.c
    live = tx.all(
        sa.select(t.workspaces)
        .where(
            c.sponsor_id == person_id, c.deleted_at.is_(None), c.desired == Desired.RUNNING.value
        )
        .order_by(c.id)
        .with_for_update()
    )
    return tuple(
        (row["id"], set_desired(tx, row, Desired.STOPPED, _REASON, stopped_by="kill"))
        for row in live
    )


def refuse_own(actor: Doer, person: Row) -> None:
    """Raise when somebody would switch themselves off."""
    if person["id"] == actor.id:
        raise ConflictError(
            "You cannot deactivate yourself.", fix="Ask another administrator.", code="own-account"
        )
