"""Production just in time: ask, take the token once, show it at the door, and every use on record.

What the approval leaves is the access, not the token: a token that lay ready for its requester
would have to lie somewhere. Whoever asked takes it, and is decided about anew when they do, with
the second factor that policy asks for; only its hash is kept. The door to production (an
enforcement point) asks `production_door` what it is worth, and that question is the use.

Source: Spec AP-3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef, invariants
from charter.core.access.permissions import Permission
from charter.core.access.production import Access, AccessState, state_of
from charter.core.access.reach import reach_set
from charter.core.approvals.grants import Grant
from charter.core.approvals.requirements import Carried
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import ConflictError, InvalidInputError
from charter.core.policy.decide import GrantView
from charter.services import approval_records, approval_requests, lookup, paging, secrets
from charter.services.access import carry_out, missing, note
from charter.services.decisions import Answer, Question, ask, grants_of, refuse_unless_allowed
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_NOUN: Final = "production-access"
KIND: Final = "prd"
_MINUTE: Final = 60
_TO_TAKE_SECONDS: Final = 3600  # how long an access that needed no yes waits for its token


def _revoked(row: Row) -> datetime | None:
    """When it was revoked, itself or with its grant."""
    ends = [at for at in (row["revoked_at"], row["grant_revoked_at"]) if at is not None]
    return min(ends, default=None)


def access_of(row: Row) -> Access:
    """The core's view of a stored access."""
    return Access(
        id=row["id"],
        person_id=row["person_id"],
        team_id=row["team_id"],
        project_id=row["project_id"],
        environment=row["environment"],
        issued_at=row["issued_at"],
        expires_at=row["expires_at"],
        revoked_at=_revoked(row),
    )


def select_accesses() -> sa.Select[Any]:
    """Accesses with the name of their project and the end of their grant."""
    return sa.select(
        t.production_accesses,
        t.grants.c.revoked_at.label("grant_revoked_at"),
        t.projects.c.name.label("project"),
    ).select_from(
        t.production_accesses.join(
            t.projects, t.projects.c.id == t.production_accesses.c.project_id
        ).outerjoin(t.grants, t.grants.c.id == t.production_accesses.c.grant_id)
    )


def _row(tx: Tx, access_id: str, *, lock: bool = False) -> Row:
    query = select_accesses().where(t.production_accesses.c.id == access_id)
    row = tx.one(query.with_for_update(of=t.production_accesses) if lock else query)
    if row is None:
        raise missing(_NOUN)
    return row


# --- asking -----------------------------------------------------------------------------------
def request(
    rt: Runtime,
    caller: Caller,
    *,
    project: str,
    minutes: int,
    reason: str | None,
    ticket: str | None = None,
) -> dict[str, Any]:
    """Ask for access to the production of a project: `approval`, or `access` where none is needed.

    Grants of earlier requests do not count: each access is asked for and approved by itself.
    """
    with rt.database.unit_of_work() as tx:
        asked = {"project": project, "minutes": minutes, "ticket": ticket}
        question = _question(rt, tx, caller, asked, reason)
        answer = ask(rt, tx, question)
        lacking = approval_requests.incomplete(rt, tx, answer, Carried(reason or "", ticket or ""))
        made = None
        approval_id = None
        if answer.decision.allowed:
            made = _create(tx, caller, question, grant=None)
        elif answer.decision.effect is Effect.REQUIRE_APPROVAL and lacking is None:
            approval_id = approval_requests.open_request(
                rt,
                tx,
                caller,
                answer,
                summary=f"production of {question.resource_facts['name']} for {minutes} minutes",
                pending={"action": "production.access", "request": asked},
                justification=reason,
                ticket=ticket,
            )
        result = {
            "decision": answer.as_json(),
            "access": None if made is None else _views(tx, [_row(tx, made)])[0],
            "approval": None
            if approval_id is None
            else approval_records.view(tx, caller, approval_id),
        }
    if lacking is not None:
        raise lacking
    if approval_id is None:
        refuse_unless_allowed(answer)
    return result


def _question(
    rt: Runtime,
    tx: Tx,
    caller: Caller,
    asked: Mapping[str, Any],
    reason: str | None,
    *,
    access_id: str | None = None,
    grants: Sequence[GrantView] = (),
) -> Question:
    team, project = lookup.place(tx, caller, None, asked["project"])
    if project is None:  # place answers with the project that it was given
        raise missing("project")
    if project["environment"] not in rt.policy.active(tx).data.production_environments:
        raise InvalidInputError(
            f"{project['name']} is {project['environment']}, which is not production.",
            fix="Work there as usual; access just in time is for production.",
            code="not-production",
        )
    spec = {"seconds": asked["minutes"] * _MINUTE, "environment": project["environment"]}
    if asked.get("ticket"):
        spec["ticket"] = asked["ticket"]
    context: dict[str, Any] = {"environment": project["environment"]}
    if reason is not None:
        context["justification"] = reason
    return Question(
        caller=caller,
        action=Permission.PRODUCTION_ACCESS,
        resource=ResourceRef(
            _NOUN,
            id=access_id,
            owner_id=caller.id,
            owner_kind="agent" if caller.is_agent else "human",
            sponsor_id=caller.person.id if caller.is_agent else None,
            team_id=team["id"],
            project_id=project["id"],
        ),
        resource_facts={
            "name": project["name"],
            "spec": spec,
            "data_class": project["data_class"],
        },
        context=context,
        grants=grants,
    )


def _create(tx: Tx, caller: Caller, question: Question, *, grant: Grant | None) -> str:
    access_id = tx.new_id(_NOUN)
    spec: Any = question.resource_facts["spec"]
    to_take = tx.now + timedelta(seconds=_TO_TAKE_SECONDS)
    tx.insert(
        t.production_accesses,
        id=access_id,
        person_id=caller.id,
        team_id=question.resource.team_id,
        project_id=question.resource.project_id,
        environment=spec["environment"],
        seconds=spec["seconds"],
        ticket=spec.get("ticket"),
        approval_id=None if grant is None else grant.request_id,
        grant_id=None if grant is None else grant.id,
        created_at=tx.now,
        expires_at=to_take if grant is None else grant.expires_at,
    )
    note(
        tx,
        caller,
        "production.granted",
        _NOUN,
        access_id,
        facts={"project": question.resource.project_id, "seconds": spec["seconds"]},
    )
    return access_id


def create_in(
    rt: Runtime, tx: Tx, requester: Caller, asked: Mapping[str, Any], grant: Grant
) -> tuple[str, str | None]:
    """After the yes: what came of it, and the id of the access when there is one.

    Only what Python itself says is asked again here. Policy asks who takes the token, since it
    asks for a second factor, and whoever votes shows theirs and not the requester's.
    """
    question = _question(rt, tx, requester, asked, None)
    refusals = invariants(
        requester.subject, Permission.PRODUCTION_ACCESS, question.resource, tx.now
    )
    if refusals:
        return " ".join(violation.message for violation in refusals), None
    access_id = _create(tx, requester, question, grant=grant)
    done = f"Whoever asked takes the token: charter production token {access_id}."
    return done, access_id


# --- the token --------------------------------------------------------------------------------
def take_token(rt: Runtime, caller: Caller, access_id: str) -> dict[str, Any]:
    """The access with its `token`, shown this once; the access lasts from now on."""

    def question(tx: Tx) -> Question:
        row = _row(tx, access_id, lock=True)
        asked = {
            "project": row["project_id"],
            "minutes": row["seconds"] // _MINUTE,
            "ticket": row["ticket"],
        }
        reason = None
        if row["approval_id"] is not None:
            a = t.approvals.c
            found = tx.one(sa.select(a.justification).where(a.id == row["approval_id"]))
            reason = None if found is None else found["justification"]
        own = [g for g in grants_of(tx, row["person_id"]) if g.id == row["grant_id"]]
        asking = _question(rt, tx, caller, asked, reason, access_id=row["id"], grants=own)
        # Whose it is stands in the row, not in who asks.
        return replace(asking, resource=access_of(row).ref)

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = _row(tx, access_id, lock=True)
        state = state_of(access_of(row), tx.now)
        if state is not AccessState.APPROVED:
            raise ConflictError(
                "The token of this access was taken already, and is shown once."
                if state is AccessState.ACTIVE
                else f"This access is {state}.",
                fix="Ask for access anew: charter production request.",
                code="token-taken" if state is AccessState.ACTIVE else "access-over",
            )
        token, secret_hash = secrets.make(KIND, row["id"], rt.randomness)
        ends = tx.now + timedelta(seconds=row["seconds"])
        if row["grant_id"] is not None:  # never longer than the yes
            ends = min(ends, row["expires_at"])
        tx.update(
            t.production_accesses,
            t.production_accesses.c.id == row["id"],
            secret_hash=secret_hash,
            issued_at=tx.now,
            expires_at=ends,
        )
        note(
            tx,
            caller,
            "production.token-issued",
            _NOUN,
            row["id"],
            decision_id=answer.id,
            facts={"project": row["project_id"]},
        )
        return {**_views(tx, [_row(tx, row["id"])])[0], "token": token}

    return carry_out(rt, question, act)


def revoke(rt: Runtime, caller: Caller, access_id: str) -> dict[str, Any]:
    """End an access at once; doing it twice is no error."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = _row(tx, access_id, lock=True)
        c = t.production_accesses.c
        if tx.update(
            t.production_accesses,
            c.id == row["id"],
            c.revoked_at.is_(None),
            revoked_at=tx.now,
            revoked_by=caller.id,
        ):
            note(tx, caller, "production.revoked", _NOUN, row["id"], decision_id=answer.id)
            if row["person_id"] != caller.id:
                approval_requests.notify(
                    tx,
                    row["person_id"],
                    "production",
                    f"Your access to the production of {row['project']} was ended.",
                    resource=(_NOUN, row["id"]),
                )
        return _views(tx, [_row(tx, row["id"])])[0]

    def question(tx: Tx) -> Question:
        ref = access_of(_row(tx, access_id)).ref
        return Question(caller, Permission.PRODUCTION_REVOKE, ref, {}, {})

    return carry_out(rt, question, act)


# --- reading ----------------------------------------------------------------------------------
_SHOWN: Final = (
    "id",
    "person_id",
    "team_id",
    "project_id",
    "project",
    "environment",
    "seconds",
    "ticket",
    "approval_id",
    "created_at",
    "issued_at",
    "expires_at",
    "uses",
    "last_used_at",
    "last_used_where",
)


def _views(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    names = lookup.subject_names(tx, {row["person_id"] for row in rows})
    return [
        {
            **{name: row[name] for name in _SHOWN},
            "person": names.get(row["person_id"], row["person_id"]),
            "state": state_of(access_of(row), tx.now).value,
            "revoked_at": _revoked(row),
        }
        for row in rows
    ]


def _visible(tx: Tx, caller: Caller) -> sa.ColumnElement[bool]:
    c = t.production_accesses.c
    reach = reach_set(caller.subject, Permission.PRODUCTION_VIEW, tx.now)
    if reach.everything:
        return sa.true()
    return sa.or_(
        c.person_id == caller.id, c.team_id.in_(reach.teams), c.project_id.in_(reach.projects)
    )


def list_page(
    rt: Runtime,
    caller: Caller,
    *,
    mine: bool = False,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Accesses that the caller may see, newest first."""
    with rt.database.reading() as tx:
        c = t.production_accesses.c
        query = select_accesses().where(_visible(tx, caller))
        if mine:
            query = query.where(c.person_id == caller.id)
        page = paging.newest_first(tx, query, c.id, dict, cursor, limit)
        return {**page, "items": _views(tx, page["items"])}


def get(rt: Runtime, caller: Caller, access_id: str) -> dict[str, Any]:
    """One access."""
    with rt.database.reading() as tx:
        row = tx.one(
            select_accesses().where(t.production_accesses.c.id == access_id, _visible(tx, caller))
        )
        if row is None:
            raise missing(_NOUN)
        return _views(tx, [row])[0]


def list_projects(rt: Runtime, caller: Caller) -> list[str]:
    """The names of the projects in production that the caller's teams have."""
    with rt.database.reading() as tx:
        c = t.projects.c
        rows = tx.all(
            sa.select(c.name)
            .where(
                c.environment.in_(rt.policy.active(tx).data.production_environments),
                c.team_id.in_(caller.person.teams),
            )
            .order_by(c.name)
        )
        return [row["name"] for row in rows]
