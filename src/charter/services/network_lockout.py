"""Nobody shuts every administrator out: who could still get in under other lists of networks.

Before somebody puts a bundle in force, its lists are held against the address that they are at and
against those from which the platform admins last signed in. If none of them is let in, the bundle
is refused: whoever could mend it would stand outside. While an operator has set the lists aside on
the machine itself, that is their word that somebody will get in, and the check lets it pass.

Source: Spec ID-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from charter.core.access.networks import NetworkLists
from charter.core.access.roles import RoleName, ScopeKind
from charter.core.kernel.decision import Mode
from charter.core.kernel.errors import ConflictError
from charter.core.policy.bundle import Bundle, PolicyData
from charter.store import tables as t
from charter.store.unit_of_work import Tx

_MOST_NAMED: Final = 5


def administrators(
    tx: Tx, lists: NetworkLists, here: Mapping[str, str | None] | None = None
) -> list[dict[str, Any]]:
    """Every active platform admin, whence they last signed in, and whether `lists` let them in.

    `here` names addresses at which some of them are at this moment: these count too.
    """
    c = t.role_bindings.c
    live = (c.revoked_at.is_(None), sa.or_(c.expires_at.is_(None), c.expires_at > tx.now))
    admins = sa.select(c.person_id).where(
        c.role == RoleName.PLATFORM_ADMIN.value,
        c.scope_kind == ScopeKind.ORGANISATION.value,
        *live,
    )
    roles: dict[str, set[str]] = {}
    handles: dict[str, str] = {}
    for row in tx.all(
        sa.select(c.person_id, t.people.c.handle, c.role)
        .join(t.people, t.people.c.id == c.person_id)
        .where(c.person_id.in_(admins), t.people.c.deactivated_at.is_(None), *live)
        .order_by(t.people.c.handle)
    ):
        roles.setdefault(row["person_id"], set()).add(row["role"])
        handles[row["person_id"]] = row["handle"]
    last = _last_signed_in(tx, list(handles))
    found = []
    for person_id, handle in handles.items():
        address, at = last.get(person_id, (None, None))
        known = {address, (here or {}).get(person_id)} - {None}
        closed = {ip: lists.closed_to(ip, "human", roles[person_id]) for ip in known}
        inside = any(
            not lists.refuses(ip, "human", roles[person_id], person_id, tx.now)
            for ip in known or {None}
        )
        found.append(
            {
                "person": handle,
                "address": address,
                "signed_in_at": at,
                "inside": inside,
                "closed": sorted({name for names in closed.values() for name in names}),
            }
        )
    return found


def _last_signed_in(tx: Tx, people: list[str]) -> dict[str, tuple[str, Any]]:
    """For each person the address of the newest sign-in from a known one, and its time."""
    opened = sa.union_all(
        *(
            sa.select(c.person_id, c.ip, at.label("at")).where(
                c.person_id.in_(people), c.ip.is_not(None)
            )
            for c, at in (
                (t.sessions.c, t.sessions.c.authenticated_at),
                (t.api_tokens.c, t.api_tokens.c.created_at),
            )
        )
    ).subquery()
    rows = tx.all(
        sa.select(opened)
        .ext(distinct_on(opened.c.person_id))
        .order_by(opened.c.person_id, opened.c.at.desc())
    )
    return {row["person_id"]: (row["ip"], row["at"]) for row in rows}


def keep_an_admin_inside(tx: Tx, bundle: Bundle, person_id: str, ip: str | None) -> None:
    """Raise when no platform admin would get in under `bundle`, which the person at `ip` brings."""
    lists = PolicyData.from_bundle(bundle).networks
    if lists.mode is not Mode.ENFORCE or not (
        lists.organisation or lists.kinds.get("human") or any(lists.roles.values())
    ):
        return
    found = administrators(tx, lists, {person_id: ip})
    if any(each["inside"] for each in found) or _set_aside(tx):
        return
    known = [f"{each['person']}: {each['address'] or 'unknown'}" for each in found[:_MOST_NAMED]]
    raise ConflictError(
        "With this bundle no platform admin could get in any more: its networks let in none of the "
        f"addresses from which they last signed in ({'; '.join(known)}).",
        fix="Add such an address to data/access.json, or come from a network that is in it. If you "
        "are sure: charter access networks --open --reason WHY on the server's own machine, then "
        "again.",
        code="no-admin-inside",
        details={"administrators": [{**each, "signed_in_at": None} for each in found]},
    )


def _set_aside(tx: Tx) -> bool:
    """Whether an operator has set the lists aside for this moment."""
    c = t.network_openings.c
    return (
        tx.one(sa.select(c.id).where(c.until > tx.now, c.closed_at.is_(None)).limit(1)) is not None
    )
