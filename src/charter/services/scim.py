"""Directories: the identity providers that provision by SCIM, and the tokens they do it with.

A *directory* is a name: the set of people and teams that one identity provider keeps here. Several
tokens may speak for one directory, so that a token can be replaced without a gap; a token of one
directory sees nothing of another's, nor of what is kept by hand. Somebody who was there before the
directory is handed over by an administrator (`adopt`): a directory that could take over whoever
has a certain name would be a way into an administrator's account.

A provisioning token may speak SCIM and do nothing else, and nothing else may speak SCIM.

Source: Spec ID-3.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.roles import RoleName
from charter.core.access.subjects import System
from charter.core.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    UnauthenticatedError,
)
from charter.services import attempts, lookup, networks, paging, role_bounds, secrets
from charter.services.access import carry_out, missing, note, simple
from charter.services.attempts import Door, WrongCredentialError
from charter.services.decisions import Answer, Question
from charter.services.policy_bundles import tell
from charter.services.runtime import Caller, Provisioner, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_NOUN: Final = "scim-token"
_DAY_SECONDS: Final = 86_400
_WARNED_BEFORE: Final = timedelta(days=30)  # time enough for a change at the identity provider
_TOUCH_SECONDS: Final = 60  # as for tokens of people: not every request shall write
_SHOWN: Final = (
    "id",
    "name",
    "directory",
    "created_by",
    "created_at",
    "expires_at",
    "last_used_at",
    "revoked_at",
)


def _manage(caller: Caller) -> Question:
    return simple(caller, Permission.PEOPLE_MANAGE, ResourceRef(_NOUN))


def create_token(
    rt: Runtime, caller: Caller, *, name: str, directory: str, days: int
) -> dict[str, Any]:
    """A new token that speaks for `directory`, with its `secret`, shown this once."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        longest = rt.policy.active(tx).data.credentials.scim_token_max_seconds
        if days * _DAY_SECONDS > longest:
            raise InvalidInputError(
                f"A provisioning token may live for {longest // _DAY_SECONDS} days at most.",
                fix="Ask for fewer days; replace the token before it ends.",
                code="token-too-long",
            )
        role_bounds.check_directory(rt, tx, caller, directory)
        token_id = tx.new_id(_NOUN)
        secret, secret_hash = secrets.make("scm", token_id, rt.randomness)
        row = {
            "id": token_id,
            "name": name,
            "directory": directory,
            "created_by": caller.id,
            "created_at": tx.now,
            "expires_at": tx.now + timedelta(days=days),
            "last_used_at": None,
            "revoked_at": None,
        }
        if not tx.insert_new(t.scim_tokens, secret_hash=secret_hash, **row):
            raise ConflictError(
                f"There is a provisioning token {name} already.",
                fix="Choose another name; a revoked token keeps its own.",
                code="name-taken",
            )
        note(
            tx,
            caller,
            "scim-token.created",
            _NOUN,
            token_id,
            decision_id=answer.id,
            facts={"directory": directory, "days": days},
        )
        return {**row, "secret": secret, "url": f"{rt.settings.url}/scim/v2"}

    return carry_out(rt, lambda _: _manage(caller), act)


def list_tokens(
    rt: Runtime, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """All provisioning tokens, ended ones too, newest first; without their secrets."""
    with rt.database.reading() as tx:
        if not reach_set(caller.subject, Permission.PEOPLE_MANAGE, tx.now).everything:
            raise ForbiddenError(
                "Looking at provisioning tokens takes the right to manage people.",
                fix="Ask a platform admin.",
                code="denied",
            )
        return paging.newest_first(
            tx, sa.select(t.scim_tokens), t.scim_tokens.c.id, _view, cursor, limit
        )


def _view(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in _SHOWN}


def revoke_token(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """End a token for ever; doing it twice is no error."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        c = t.scim_tokens.c
        row = tx.one(sa.select(t.scim_tokens).where(sa.or_(c.id == ref, c.name == ref)))
        if row is None:
            raise missing(_NOUN)
        tx.update(t.scim_tokens, c.id == row["id"], c.revoked_at.is_(None), revoked_at=tx.now)
        note(tx, caller, "scim-token.revoked", _NOUN, row["id"], decision_id=answer.id)
        return _view({**row, "revoked_at": row["revoked_at"] or tx.now})

    return carry_out(rt, lambda _: _manage(caller), act)


def warn_of_ends(rt: Runtime) -> int:
    """Tell platform admins of directories that will be cut off soon; how many notices are new.

    A directory whose token has ended can switch nobody off any more, and nothing else shows it. It
    says so once when its last token is near its end, and once when that has come.
    """
    with rt.database.unit_of_work() as tx:
        c = t.scim_tokens.c
        live = tx.all(sa.select(t.scim_tokens).where(c.revoked_at.is_(None)).order_by(c.expires_at))
        told = 0
        for row in {each["directory"]: each for each in live}.values():  # the last of each
            if row["expires_at"] > tx.now + _WARNED_BEFORE:
                continue
            over = row["expires_at"] <= tx.now
            when = f"ends {row['expires_at']:%Y-%m-%d %H:%M} UTC"
            told += tell(
                tx,
                (RoleName.PLATFORM_ADMIN.value,),
                "directory",
                f"The last token of the directory {row['directory']} "
                f"{'has ended' if over else when}. Without one it switches off nobody who leaves. "
                "Replace it: charter scim token create.",
                (_NOUN, row["id"]),
                f"scim-token-{'over' if over else 'soon'}:{row['id']}",
            )
        return told


def adopt(rt: Runtime, caller: Caller, *, directory: str, kind: str, ref: str) -> dict[str, Any]:
    """Hand a person or a team that is kept here over to a directory."""
    table, find = {"person": (t.people, lookup.person), "team": (t.teams, lookup.team)}[kind]

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = find(tx, ref)
        if row["id"] == caller.id:
            raise ForbiddenError(
                "Nobody hands their own account over to a directory.",
                fix="Ask another administrator.",
                code="own-account",
            )
        if row["directory"] not in (None, directory):
            raise ConflictError(
                f"{ref} is kept by the directory {row['directory']} already.",
                fix="Remove it there first.",
                code="kept-elsewhere",
            )
        if kind == "person":
            role_bounds.check_not_above(tx, caller, row["id"])
        label = "userName" if kind == "person" else "displayName"
        name = row["handle" if kind == "person" else "name"]
        values: dict[str, object] = {"directory": directory, "updated_at": tx.now}
        if row["scim"] is None:
            values["scim"] = {label: name}
        if kind == "person":
            values["source"] = "scim"
        tx.update(table, table.c.id == row["id"], **values)
        note(
            tx,
            caller,
            f"{kind}.adopted",
            kind,
            row["id"],
            decision_id=answer.id,
            facts={"directory": directory},
        )
        return {"kind": kind, "id": row["id"], "name": name, "directory": directory}

    permission = Permission.PEOPLE_MANAGE if kind == "person" else Permission.TEAM_MANAGE
    return carry_out(rt, lambda _: simple(caller, permission, ResourceRef(kind)), act)


# --- authentication ---------------------------------------------------------------------------
_NOT_VALID: Final = "This is not a provisioning token that is valid here."
_MAKE_ONE: Final = (
    "An administrator makes one: charter scim token create NAME --directory DIRECTORY."
)


def authenticate(rt: Runtime, text: str, ip: str | None = None) -> Provisioner:
    """The directory behind a provisioning token; raises `UnauthenticatedError`.

    A wrong secret, an unknown id, an ended token and a token of another kind get one answer.
    """
    bearer = secrets.parse(text)
    with attempts.counted(rt, Door.BEARER, ip), networks.recorded(rt):
        if bearer is None or bearer.kind != "scm":
            raise WrongCredentialError(_NOT_VALID, fix=_MAKE_ONE)
        with rt.database.unit_of_work() as tx:
            c = t.scim_tokens.c
            row = tx.one(sa.select(t.scim_tokens).where(c.id == bearer.id))
            matches = bearer.matches(None if row is None else row["secret_hash"])
            if row is None or not matches:
                raise WrongCredentialError(_NOT_VALID, fix=_MAKE_ONE, credential_id=bearer.id)
            if row["revoked_at"] is not None or row["expires_at"] <= tx.now:
                raise UnauthenticatedError(_NOT_VALID, fix=_MAKE_ONE)
            lists = rt.policy.active(tx).data.networks
            why = networks.admit_service(tx, lists, row["id"], ip, kind="system")
            last = row["last_used_at"]
            if last is None or (tx.now - last).total_seconds() >= _TOUCH_SECONDS:
                tx.update(t.scim_tokens, c.id == row["id"], last_used_at=tx.now)
            return Provisioner(System(row["id"], row["name"]), row["directory"], ip, why)
