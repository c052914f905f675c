"""Switches off accounts that nobody uses, and tells their owners (`core.access.dormancy`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.dormancy import Dormancy, DormancyRules, dormancy, ends_at
from charter.core.access.roles import RoleName
from charter.core.kernel.errors import ConflictError
from charter.services import deactivation
from charter.services.approval_requests import notify
from charter.services.policy_bundles import tell
from charter.services.runtime import Clockwork, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

ACTOR: Final = Clockwork("dormant-accounts")
_AT_ONCE: Final = 50
_WARNED: Final = "account-sleepy"
_KEPT: Final = "account-kept"
_WATCHERS: Final = (RoleName.SECURITY_ADMIN.value,)


def last_seen() -> sa.ColumnElement[Any]:
    """When a person was last signed in or had a token at work.

    Their beginning counts, and what their directory or an administrator changed about them.
    """
    p = t.people.c
    sessions = sa.select(sa.func.max(t.sessions.c.last_used_at)).where(
        t.sessions.c.person_id == p.id
    )
    tokens = sa.select(sa.func.max(t.api_tokens.c.last_used_at)).where(
        t.api_tokens.c.person_id == p.id
    )
    return sa.func.greatest(
        p.created_at, p.updated_at, sessions.scalar_subquery(), tokens.scalar_subquery()
    )


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Look at some accounts that have slept for long; what was done."""
    ended: list[deactivation.Ended] = []
    with rt.database.unit_of_work() as tx:
        rules = rt.policy.active(tx).data.access_reviews.dormancy
        if rules is None:
            return None
        told = 0
        for row in _sleeping(tx, rules):
            if dormancy(row["seen"], rules, tx.now) is Dormancy.DORMANT:
                gone = _switch_off(tx, row)
                ended += [] if gone is None else [gone]
            else:
                told += _warn(tx, row, rules)
    for each in ended:
        deactivation.stop(rt, ACTOR, each)
    return {"deactivated": len(ended), "told": told} if ended or told else None


def _sleeping(tx: Tx, rules: DormancyRules) -> list[Row]:
    """Those whose owners are to be told now, and those that are to be switched off now."""
    p = t.people.c
    people = (
        sa.select(p.id, p.handle, last_seen().label("seen"))
        .where(p.deactivated_at.is_(None))
        .subquery()
    )
    warned = tx.now - timedelta(seconds=rules.warn_seconds)
    gone = tx.now - timedelta(seconds=rules.deactivate_seconds)
    # Who was told since they were last seen is not told again, nor the last admin on and on.
    told = sa.exists().where(
        t.notices.c.person_id == people.c.id,
        t.notices.c.kind == sa.case((people.c.seen <= gone, _KEPT), else_=_WARNED),
        t.notices.c.created_at > people.c.seen,
    )
    return list(
        tx.all(
            sa.select(people)
            .where(people.c.seen <= warned, sa.not_(told))
            .order_by(people.c.seen)
            .limit(_AT_ONCE)
        )
    )


def _warn(tx: Tx, row: Row, rules: DormancyRules) -> int:
    notify(
        tx,
        row["id"],
        _WARNED,
        "Nobody has used your account for long. Sign in before "
        f"{ends_at(row['seen'], rules):%Y-%m-%d %H:%M} UTC, or it is switched off.",
    )
    return 1


def _switch_off(tx: Tx, row: Row) -> deactivation.Ended | None:
    """Deactivate the account, unless nobody would be left to administer the instance."""
    savepoint = tx.conn.begin_nested()
    try:
        ended = deactivation.end(tx, ACTOR, row)
    except ConflictError:
        savepoint.rollback()  # house: allow unit-of-work — undoes the attempt only
        message = (
            f"The account of {row['handle']}, the last platform admin, sleeps and is kept. "
            "Give the role to somebody who signs in."
        )
        notify(tx, row["id"], _KEPT, message)
        tell(tx, _WATCHERS, _KEPT, message, ("person", row["id"]))
        return None
    savepoint.commit()  # house: allow unit-of-work — a savepoint, not the transaction
    tell(
        tx,
        (RoleName.PLATFORM_ADMIN.value, *_WATCHERS),
        "account-dormant",
        f"The account of {row['handle']} was switched off: nobody has used it since "
        f"{row['seen']:%Y-%m-%d}. charter person reactivate gives it back, without its roles.",
        ("person", row["id"]),
    )
    return ended
