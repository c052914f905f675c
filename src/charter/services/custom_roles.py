"""The organisation's own roles: define, change, show, retire.

A role is changed for everybody who holds it, from their next request on. So a change is held
against separation of duties for each holder, nobody widens a role that they hold themselves, and
nobody puts more into a role than they could give to everybody.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from charter.core.access.break_glass import ordinary
from charter.core.access.custom_roles import may_define, may_give, reaches_for, widened
from charter.core.access.permissions import Permission
from charter.core.access.resource import ResourceRef
from charter.core.access.roles import CustomRole, Reach, RoleName, role_reach, scope_chain
from charter.core.access.separation import conflicts
from charter.core.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from charter.services.access import carry_out, note, simple
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import custom_role
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_TITLES = {
    RoleName.DEVELOPER: "Own workspaces and agents",
    RoleName.TEAM_LEAD: "The team's workspaces, agents and approvals",
    RoleName.PLATFORM_ADMIN: "Configures the platform",
    RoleName.SECURITY_ADMIN: "Sees everything, stops what is dangerous, configures nothing",
    RoleName.AGENT: "The widest an agent can be; never given to people",
    RoleName.READ_ONLY: "Looks and touches nothing",
}


# --- finding ------------------------------------------------------------------------------------
def _row(tx: Tx, name: str, *, lock: bool = False) -> Row | None:
    c = t.custom_roles.c
    query = sa.select(t.custom_roles).where(c.name == name, c.retired_at.is_(None))
    return tx.one(query.with_for_update() if lock else query)


def all_of(tx: Tx) -> list[CustomRole]:
    """The organisation's own roles, by name."""
    c = t.custom_roles.c
    rows = tx.all(sa.select(t.custom_roles).where(c.retired_at.is_(None)).order_by(c.name))
    return [custom_role(row["name"], row["permissions"]) for row in rows]


def held(tx: Tx, name: str) -> CustomRole | str:
    """The role of a binding: an own one as it is now, else its name."""
    row = None if name in list(RoleName) else _row(tx, name)
    return name if row is None else custom_role(name, row["permissions"])


def resolve(tx: Tx, name: str) -> CustomRole | str:
    """The role of this name that may be given to people; raises `InvalidInputError`.

    An own role is locked, so that it is not changed or retired while it is being given.
    """
    if name in list(RoleName) and name != RoleName.AGENT:
        return name
    row = _row(tx, name, lock=True)
    if row is not None:
        return custom_role(name, row["permissions"])
    raise InvalidInputError(
        f"There is no role {name} that people can hold.", fix=_near(tx, name), code="role-unknown"
    )


def _near(tx: Tx, name: str) -> str:
    names = [r.value for r in RoleName if r is not RoleName.AGENT]
    names += [role.name for role in all_of(tx)]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names
    return f"Use {' or '.join(near)}; charter role catalogue shows what each holds."


# --- showing ------------------------------------------------------------------------------------
def catalogue(rt: Runtime, caller: Caller) -> list[dict[str, Any]]:
    """Every role, built-in and own, with what it holds and how many people hold it.

    What roles mean is no secret: everybody who is signed in may know what to ask for.
    """
    del caller
    with rt.database.reading() as tx:
        holders = _holders(tx)
        own = tx.all(
            sa.select(t.custom_roles)
            .where(t.custom_roles.c.retired_at.is_(None))
            .order_by(t.custom_roles.c.name)
        )
        return [
            *(
                _view(role.value, _TITLES[role], role_reach(role.value), holders)
                for role in RoleName
            ),
            *(_own_view(row, holders) for row in own),
        ]


def get(rt: Runtime, caller: Caller, name: str) -> dict[str, Any]:
    """One role."""
    found = next((role for role in catalogue(rt, caller) if role["name"] == name), None)
    if found is None:
        with rt.database.reading() as tx:
            raise NotFoundError(f"There is no role {name}.", fix=_near(tx, name))
    return found


def _holders(tx: Tx) -> Mapping[str, int]:
    c = t.role_bindings.c
    rows = tx.all(
        sa.select(c.role, sa.func.count(sa.distinct(c.person_id)).label("people"))
        .where(c.revoked_at.is_(None), sa.or_(c.expires_at.is_(None), c.expires_at > tx.now))
        .group_by(c.role)
    )
    return {row["role"]: row["people"] for row in rows}


def _view(
    name: str, title: str, reaches: Mapping[Permission, Reach], holders: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "built_in": True,
        "permissions": {p.value: reaches[p].value for p in Permission if p in reaches},
        "holders": holders.get(name, 0),
        "changed_at": None,
    }


def _own_view(row: Row, holders: Mapping[str, int]) -> dict[str, Any]:
    role = custom_role(row["name"], row["permissions"])
    view = _view(row["name"], row["title"], dict(role.permissions), holders)
    return {**view, "built_in": False, "changed_at": row["changed_at"]}


def choices() -> list[dict[str, Any]]:
    """What a role can be made of: each permission with the reaches that it may have."""
    return [
        {"permission": permission.value, "reaches": [reach.value for reach in reaches]}
        for permission in Permission
        if (reaches := reaches_for(permission))
    ]


# --- changing -----------------------------------------------------------------------------------
_RESOURCE = ResourceRef("role")


def define(
    rt: Runtime,
    caller: Caller,
    name: str,
    *,
    title: str,
    permissions: Mapping[str, str],
    new: bool = False,
) -> dict[str, Any]:
    """Make a role, or change what the role of this name holds; with `new`, only make one.

    Raises `InvalidInputError` for what no role may hold, `ForbiddenError` when the caller would
    widen a role of their own, `ConflictError` when a holder may not hold the two together.
    """
    role = _read(name, permissions)

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        objections = list(may_define(role))
        if objections:
            raise InvalidInputError(
                " ".join(o.message for o in objections),
                fix=" ".join(o.fix for o in objections),
                code=objections[0].rule.removeprefix("invariant/"),
            )
        row = _row(tx, name, lock=True)
        before = CustomRole(name, ()) if row is None else custom_role(name, row["permissions"])
        if row is not None and new:
            raise ConflictError(
                f"There is a role {name} already.",
                fix="Choose another name, or change that one.",
                code="name-taken",
            )
        _check_bound(tx, caller, before, role)
        if row is not None:
            _check_holders(rt, tx, caller, before, role)
        values = {
            "title": title,
            "permissions": {p.value: reach.value for p, reach in role.permissions},
            "changed_at": tx.now,
        }
        if row is not None:
            tx.update(t.custom_roles, t.custom_roles.c.id == row["id"], **values)
        elif not tx.insert_new(
            t.custom_roles,
            id=tx.new_id("role"),
            name=name,
            made_by=caller.id,
            created_at=tx.now,
            **values,
        ):
            raise ConflictError(
                f"Somebody else has just defined {name}.", fix="Look at it and try again."
            )
        note(
            tx,
            caller,
            "role.defined" if row is None else "role.changed",
            "role",
            name,
            decision_id=answer.id,
            facts=_difference(before, role),
        )
        stored = _row(tx, name)
        if stored is None:
            raise AssertionError
        return _own_view(stored, _holders(tx))

    facts = {"name": name, "spec": {"permissions": [p.value for p, _ in role.permissions]}}
    return carry_out(rt, lambda _: simple(caller, Permission.ROLE_DEFINE, _RESOURCE, facts), act)


def _read(name: str, permissions: Mapping[str, str]) -> CustomRole:
    known = [p.value for p in Permission]
    for permission in permissions:
        if permission not in known:
            near = difflib.get_close_matches(permission, known, n=3, cutoff=0.5)
            raise InvalidInputError(
                f"There is no permission {permission!r}.",
                fix=f"Did you mean {' or '.join(near)}?"
                if near
                else "charter access matrix lists every one.",
                code="permission-unknown",
            )
    for reach in permissions.values():
        if reach not in list(Reach):
            raise InvalidInputError(
                f"Nothing reaches {reach!r}.", fix=f"Say {', '.join(Reach)}.", code="reach-unknown"
            )
    ordered = sorted(permissions.items())
    return CustomRole(name, tuple((Permission(p), Reach(reach)) for p, reach in ordered))


def _check_bound(tx: Tx, caller: Caller, before: CustomRole, after: CustomRole) -> None:
    """Raise when the role gains what the caller may not give: its holders would have it at once."""
    more = set(widened(before, after))
    gained = CustomRole(after.name, tuple(held for held in after.permissions if held[0] in more))
    excess = may_give(ordinary(caller.person), gained, scope_chain(), tx.now)
    if excess is not None:
        raise ForbiddenError(excess.message, fix=excess.fix, code="role-exceeds-giver")


def _check_holders(
    rt: Runtime, tx: Tx, caller: Caller, before: CustomRole, after: CustomRole
) -> None:
    c = t.role_bindings.c
    holders = tx.all(
        sa.select(c.person_id).distinct().where(c.role == after.name, c.revoked_at.is_(None))
    )
    ids = sorted(row["person_id"] for row in holders)
    if caller.id in ids and widened(before, after):
        raise ForbiddenError(
            "Nobody widens a role that they hold themselves.",
            fix="Ask another administrator.",
            code="own-role",
        )
    # Who is being given another role at this moment waits, or is waited for.
    tx.all(
        sa.select(t.people.c.id)
        .where(t.people.c.id.in_(ids))
        .order_by(t.people.c.id)
        .with_for_update()
    )
    listed = rt.policy.active(tx).data.role_conflicts
    roles: dict[str, list[CustomRole | str]] = {}
    for row in tx.all(
        sa.select(c.person_id, c.role).where(c.person_id.in_(ids), c.revoked_at.is_(None))
    ):
        role = after if row["role"] == after.name else held(tx, row["role"])
        roles.setdefault(row["person_id"], []).append(role)
    for together in roles.values():
        clash = conflicts(together, listed)
        if clash:
            raise ConflictError(
                f"Somebody who holds {after.name} may not hold it so: {clash[0].message}",
                fix=clash[0].fix,
                code="separation-of-duties",
            )


def _difference(before: CustomRole, after: CustomRole) -> dict[str, str]:
    old, new = dict(before.permissions), dict(after.permissions)
    added = [f"{p}={reach}" for p, reach in after.permissions if old.get(p) != reach]
    removed = [p.value for p in old if p not in new]
    return {"set": " ".join(added), "removed": " ".join(removed)}


def retire(rt: Runtime, caller: Caller, name: str) -> None:
    """Take a role away for good; refused while anybody holds it."""

    def act(tx: Tx, answer: Answer) -> None:
        row = _row(tx, name, lock=True)
        if row is None:
            raise NotFoundError(f"There is no role {name} of your own.", fix=_near(tx, name))
        people = _holders(tx).get(name, 0)
        if people:
            raise ConflictError(
                f"{people} {'person holds' if people == 1 else 'people hold'} the role {name}.",
                fix="Revoke it first: charter role list shows who holds it.",
                code="role-in-use",
            )
        tx.update(t.custom_roles, t.custom_roles.c.id == row["id"], retired_at=tx.now)
        note(tx, caller, "role.retired", "role", name, decision_id=answer.id)

    facts = {"name": name, "spec": {"permissions": []}}
    carry_out(rt, lambda _: simple(caller, Permission.ROLE_DEFINE, _RESOURCE, facts), act)
