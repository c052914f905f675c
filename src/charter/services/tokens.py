"""Personal tokens: what speaks for a person in scripts and on other machines.

A token carries how and when its owner had proved who they are when it was made, so that policy can
ask for a fresh proof before privileged actions (Spec ID-4). It never becomes fresh again: whoever
has to confirm who they are takes a new one. Nor does it make others for ever: a token that leaked
would live on in them, so that ends when the sign-in behind it is older than a session lasts.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.roles import ORGANISATION, ScopeKind
from charter.core.kernel.errors import ForbiddenError, InvalidInputError
from charter.services.access import carry_out, missing, note, simple
from charter.services.decisions import Answer, Question
from charter.services.identity import Proof, make_token
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx

_TOKEN = ("id", "name", "created_at", "expires_at", "last_used_at")
_DAY_SECONDS: Final = 86_400
STEP_UP: Final = "step-up-required"


def proof_of(caller: Caller) -> Proof:
    """What the caller has shown of who they are; raises `ForbiddenError` for agents."""
    session = caller.person.session
    if caller.is_agent or session is None:
        raise ForbiddenError(
            "This is for people who are signed in.", fix="Sign in with charter login."
        )
    return Proof(caller.id, session.method, session.authenticated_at, session.mfa)


def own_account(caller: Caller, kind: str, now: datetime) -> ResourceRef:
    """What belongs to the caller's account, placed where they hold a role.

    It belongs to no team, so a role that is held in one team only has to be enough.
    """
    scopes = [b.scope for b in caller.person.bindings if b.live(now)]
    place = scopes[0] if scopes and ORGANISATION not in scopes else ORGANISATION
    return ResourceRef(
        kind,
        owner_id=caller.id,
        owner_kind="human",
        team_id=place.id if place.kind is ScopeKind.TEAM else None,
        project_id=place.id if place.kind is ScopeKind.PROJECT else None,
    )


def _question(tx: Tx, caller: Caller) -> Question:
    return simple(caller, Permission.TOKEN_MANAGE, own_account(caller, "token", tx.now))


def list_tokens(rt: Runtime, caller: Caller) -> list[dict[str, Any]]:
    """The caller's own live tokens; secrets are never shown again."""
    with rt.database.reading() as tx:
        rows = tx.all(
            sa.select(t.api_tokens)
            .where(
                t.api_tokens.c.person_id == caller.id,
                t.api_tokens.c.revoked_at.is_(None),
                t.api_tokens.c.expires_at > tx.now,
            )
            .order_by(t.api_tokens.c.id.desc())
        )
        return [{n: row[n] for n in _TOKEN} for row in rows]


def create_token(rt: Runtime, caller: Caller, name: str, days: int) -> dict[str, Any]:
    """A personal token with its secret, shown this once."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        limits = rt.policy.active(tx).data.credentials
        longest = limits.api_token_max_seconds
        proof = proof_of(caller)
        session = timedelta(seconds=limits.human_session_seconds)
        if caller.via == "token" and tx.now - proof.at >= session:
            raise ForbiddenError(
                "The sign-in by which this token was made is too old for making another one.",
                fix="Make it in the portal, or sign in anew: charter login --step-up.",
                code=STEP_UP,
            )
        if days * _DAY_SECONDS > longest:
            raise InvalidInputError(
                f"A token may live for {longest // _DAY_SECONDS} days at most.",
                fix="Ask for fewer days and renew it.",
                code="token-too-long",
            )
        made = make_token(rt, tx, proof, name, days * _DAY_SECONDS, caller.ip)
        note(tx, caller, "token.created", "token", made["id"], decision_id=answer.id)
        return made

    return carry_out(
        rt,
        lambda tx: simple(caller, Permission.TOKEN_MANAGE, own_account(caller, "token", tx.now)),
        act,
    )


def revoke_token(rt: Runtime, caller: Caller, token_id: str) -> None:
    """End one of the caller's own tokens."""

    def act(tx: Tx, answer: Answer) -> None:
        c = t.api_tokens.c
        if not tx.update(
            t.api_tokens,
            c.id == token_id,
            c.person_id == caller.id,
            c.revoked_at.is_(None),
            revoked_at=tx.now,
        ):
            raise missing("token")
        note(tx, caller, "token.revoked", "token", token_id, decision_id=answer.id)

    carry_out(
        rt,
        lambda tx: simple(caller, Permission.TOKEN_MANAGE, own_account(caller, "token", tx.now)),
        act,
    )
