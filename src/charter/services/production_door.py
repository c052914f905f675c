"""The door to production: what a token is worth there, and every use on record (RFC 7662).

An enforcement point asks; a yes is a use, and a no about a token that once was something is an
attempt. Both are in the trail, with the door.

Source: Spec AP-3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from charter.core.access.production import worthless
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.errors import InvalidInputError
from charter.services import lookup, secrets
from charter.services.enforcement_points import EnforcementPoint, live_points, refuse_point
from charter.services.production import KIND, access_of, select_accesses
from charter.services.runtime import Runtime
from charter.services.subjects import load_human
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx


def introspect(
    rt: Runtime, point: EnforcementPoint, token: str, project: str | None = None
) -> dict[str, Any]:
    """What a token is worth at this point (RFC 7662 §2.2); a yes is a use, and recorded.

    The door says which project it stands before: with every question, or once and for all by the
    setting `projects` of its registration, and then a question about another is a no.
    """
    with rt.database.unit_of_work() as tx:
        [live] = live_points(tx, [point])
        if live is None:
            refuse_point()
        before = _doors(tx, live, project)
        bearer = secrets.parse(token)
        if bearer is None or bearer.kind != KIND:
            return {"active": False}
        query = select_accesses().where(t.production_accesses.c.id == bearer.id)
        row = tx.one(query.with_for_update(of=t.production_accesses))
        if row is None or row["secret_hash"] is None or not bearer.matches(row["secret_hash"]):
            return {"active": False}
        door = before.get(row["project_id"])
        reason = worthless(
            access_of(row),
            load_human(tx, row["person_id"]),
            tx.now,
            project_id=None if door is None else row["project_id"],
            environment=None if door is None else door["environment"],
        )
        _record(tx, row, point, reason)
        return {"active": False} if reason is not None else _worth(rt, tx, row)


def _doors(tx: Tx, point: EnforcementPoint, project: str | None) -> dict[str, Row]:
    """The projects before which the point stands, by id."""
    named = [str(name) for name in point.settings.get("projects", ())]
    if project is None and not named:
        raise InvalidInputError(
            "The question does not say before which project the door stands.",
            fix="Send audience=PROJECT with the token, or register the point with its projects.",
            code="invalid_request",
        )
    c = t.projects.c

    def found(names: Sequence[str]) -> dict[str, Row]:
        rows = tx.all(sa.select(t.projects).where(sa.or_(c.id.in_(names), c.name.in_(names))))
        return {row["id"]: row for row in rows}

    asked = found(named if project is None else [project])
    own = found(named) if named else asked
    return {id_: row for id_, row in asked.items() if id_ in own}


def _record(tx: Tx, row: Row, point: EnforcementPoint, reason: str | None) -> None:
    """The use, or the attempt, with the door at which it was."""
    if reason is None:
        c = t.production_accesses.c
        tx.update(
            t.production_accesses,
            c.id == row["id"],
            uses=c.uses + 1,
            last_used_at=tx.now,
            last_used_where=point.name,
        )
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=ActorRef("human", row["person_id"], None, row["id"]),
            action="production.used" if reason is None else "production.refused",
            resource_kind="project",
            resource_id=row["project_id"],
            outcome=Outcome.DONE if reason is None else Outcome.DENIED,
            reason_codes=() if reason is None else (f"production/{reason}",),
            facts={"access": row["id"], "point": point.id},
        )
    )


def _worth(rt: Runtime, tx: Tx, row: Row) -> dict[str, Any]:
    return {
        "active": True,
        "token_type": "Bearer",
        "scope": f"production:{row['project']}",
        "sub": row["person_id"],
        "username": lookup.subject_name(tx, row["person_id"]),
        "aud": row["project"],
        "iss": rt.settings.url,
        "jti": row["id"],
        "iat": int(row["issued_at"].timestamp()),
        "nbf": int(row["issued_at"].timestamp()),
        "exp": int(row["expires_at"].timestamp()),
        "project": row["project_id"],
        "environment": row["environment"],
        "ticket": row["ticket"],
        "approval": row["approval_id"],
    }
