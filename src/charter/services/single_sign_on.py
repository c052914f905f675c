"""Sign in with an OpenID provider: from the button to a session of Charter's own.

`set_out` sends a browser away with a signed cookie; `come_back` takes it back. Between the two
stands everything that could go wrong: another browser, another provider, a second use, a token that
was not made for this attempt. Only then does policy say whether the provider may bring the person
in.

Source: Spec ID-3, ID-4.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.adapters.identity.oidc import OidcProvider
from charter.adapters.identity.tokens import LEEWAY_SECONDS, SignedIn
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.sign_in_attempt import SECRET_BYTES, Attempt, own_path, seal, unseal
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.errors import (
    CharterError,
    ConflictError,
    ForbiddenError,
    UnauthenticatedError,
)
from charter.services import identity, secrets
from charter.services.access import missing
from charter.services.attempts import Door
from charter.services.external_identities import identify
from charter.services.group_access import bring_in_line, source_of
from charter.services.provider_sessions import (
    AtProvider,
    ended_meanwhile,
    lock_issuer,
    provider_of,
)
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_AGAIN: Final = "Sign in again from Charter's own page."
_ERROR_WORD: Final = re.compile(r"[a-z_]{1,60}")
_LONGEST_PARAMETER: Final = 4096
_MOST_GROUPS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the browser goes, and the cookie that it takes along for `seconds`."""

    url: str
    cookie: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Completion:
    """The new session (as `identity.open_session` answers) and where the person wanted to go."""

    session: Mapping[str, Any]
    next_path: str


def ways(rt: Runtime) -> list[dict[str, str]]:
    """The providers that people may sign in with."""
    return [
        {"name": name, "label": provider.config.label}
        for name, provider in sorted(rt.sign_in_providers.items())
    ]


def states(rt: Runtime, caller: Caller) -> list[dict[str, Any]]:
    """How each provider stands, for those who operate the platform."""
    with rt.database.reading() as tx:
        if not reach_set(caller.subject, Permission.CONTROLLER_VIEW, tx.now).everything:
            raise missing("page")
    found = [provider.state() for _, provider in sorted(rt.sign_in_providers.items())]
    return [
        {
            "name": each.name,
            "label": each.label,
            "issuer": each.issuer,
            "usable": each.usable,
            "message": each.message,
            "ends_sessions": each.ends_sessions,
        }
        for each in found
    ]


def set_out(
    rt: Runtime, name: str, *, next_path: str | None, fresh: bool, person_id: str | None
) -> Beginning:
    """Set out to the provider `name`.

    `fresh` asks it for a proof of identity now (step-up); then `person_id`, who is signed in,
    must be who comes back.
    """
    provider = provider_of(rt, name)
    with rt.database.reading() as tx:
        limits = rt.policy.active(tx).data.credentials
    attempt = Attempt(
        provider=name,
        secret=rt.randomness(SECRET_BYTES),
        started_at=rt.now(),
        next_path=own_path(next_path),
        fresh=fresh,
        person_id=person_id if fresh else None,
    )
    url = provider.authorization_url(attempt, limits.human_session_seconds)
    return Beginning(url, seal(attempt, _key(rt)), limits.one_time_link_seconds)


def come_back(
    rt: Runtime,
    name: str,
    given: Mapping[str, str],
    *,
    cookie: str | None,
    session_cookie: str | None,
    ip: str | None,
    user_agent: str | None,
) -> Completion:
    """Take the browser back with what the provider gave it, and open a session.

    `session_cookie` is the session that the browser has now: it ends, so that no session survives
    a sign-in that somebody else could have planted before it.
    """
    with identity.guarded(rt, Door.SIGN_IN, ip, wrong=UnauthenticatedError):
        return _completed(rt, name, given, cookie, session_cookie, ip, user_agent)


def _completed(
    rt: Runtime,
    name: str,
    given: Mapping[str, str],
    cookie: str | None,
    session_cookie: str | None,
    ip: str | None,
    user_agent: str | None,
) -> Completion:
    provider = provider_of(rt, name)
    attempt = _attempt(rt, name, given, cookie)
    provider.check_issuer(given.get("iss"))
    _use_up(rt, attempt)
    if "error" in given:
        raise _declined(provider, given["error"])
    who = provider.exchange(given.get("code", ""), attempt)
    refusal: CharterError | None = None
    with rt.database.unit_of_work() as tx:
        lock_issuer(tx, provider.config.issuer)
        try:
            with tx.conn.begin_nested():  # a refusal leaves nothing of what was tried
                known = _enter(rt, tx, provider, attempt, who)
                _end_shown(tx, session_cookie)
                session = _open(rt, tx, provider, who, known, ip, user_agent)
        except CharterError as error:
            refusal = error
            _refusal_noted(tx, name, who, error)
    if refusal is not None:
        raise refusal
    return Completion(session, attempt.next_path)


# --- the attempt ------------------------------------------------------------------------------
def _key(rt: Runtime) -> bytes:
    return hmac.digest(rt.keys.sealing.private_bytes_raw(), b"sign-in attempts", "sha256")


def _attempt(rt: Runtime, name: str, given: Mapping[str, str], cookie: str | None) -> Attempt:
    """The attempt that this browser began, if what came back belongs to it."""
    attempt = unseal(cookie, _key(rt))
    state = given.get("state", "")
    if (
        attempt is None
        or attempt.provider != name
        or not hmac.compare_digest(state.encode(), attempt.state.encode())
        or any(len(value) > _LONGEST_PARAMETER for value in given.values())
    ):
        raise ForbiddenError(
            "This answer does not belong to a sign-in that was begun in this browser.",
            fix=_AGAIN,
            code="sign-in-foreign",
        )
    with rt.database.reading() as tx:
        seconds = rt.policy.active(tx).data.credentials.one_time_link_seconds
    if rt.now() >= attempt.started_at + timedelta(seconds=seconds):
        raise ForbiddenError("Signing in took too long.", fix=_AGAIN, code="sign-in-expired")
    return attempt


def _use_up(rt: Runtime, attempt: Attempt) -> None:
    used = t.used_attempts
    with rt.database.unit_of_work() as tx:
        lifetime = rt.policy.active(tx).data.credentials.one_time_link_seconds
        tx.conn.execute(sa.delete(used).where(used.c.expires_at <= tx.now))
        ends = attempt.started_at + timedelta(seconds=lifetime)
        if not tx.insert_new(used, id=attempt.id, expires_at=ends):
            raise ForbiddenError(
                "This sign-in was completed already.", fix=_AGAIN, code="sign-in-used"
            )


def _declined(provider: OidcProvider, error: str) -> CharterError:
    label = provider.config.label
    if error == "access_denied":
        return ForbiddenError(
            f"{label} did not let you in, or you cancelled.", fix=_AGAIN, code="provider-declined"
        )
    word = error if _ERROR_WORD.fullmatch(error) else "unknown error"
    return ForbiddenError(
        f"{label} refused the sign-in ({word}).",
        fix="Sign in again; if it happens again, an administrator compares the provider's settings"
        " with Charter's.",
        code="provider-declined",
    )


# --- who it is --------------------------------------------------------------------------------
def _enter(rt: Runtime, tx: Tx, provider: OidcProvider, attempt: Attempt, who: SignedIn) -> Row:
    """The identity's row with which they come in; raises when they may not."""
    config = provider.config
    data = rt.policy.active(tx).data
    policy = data.single_sign_on.of(config.name)
    groups = _groups(provider, who)
    if not policy.admits(groups):
        raise ForbiddenError(
            f"None of your groups at {config.label} may sign in to Charter.",
            fix="Ask an administrator which group is needed.",
            code="not-in-allowed-group",
        )
    if ended_meanwhile(tx, config.issuer, who):
        raise UnauthenticatedError(
            f"{config.label} has ended this session meanwhile.",
            fix=_AGAIN,
            code="provider-session-ended",
        )
    _check_age(tx, provider, attempt, who, data.credentials.human_session_seconds)
    known = identify(tx, config, policy, who)
    if attempt.person_id not in {None, known["person_id"]}:
        raise ForbiddenError(
            "You came back as somebody else than you are signed in as.",
            fix="Sign out first to change who you are.",
            code="other-person",
        )
    bring_in_line(rt, tx, known["person_id"], config.name, groups)
    return known


def _groups(provider: OidcProvider, who: SignedIn) -> frozenset[str]:
    claim = provider.config.groups_claim
    elsewhere = who.claims.get("_claim_names")
    found = who.claims.get(claim, [])
    found = [found] if isinstance(found, str) else found
    partly = isinstance(elsewhere, dict) and claim in elsewhere
    if partly or not isinstance(found, list) or len(found) > _MOST_GROUPS:
        # Some providers leave the list out when it is long. To take that for "in no group" would
        # lock people out in silence; to keep old groups would keep what was taken away.
        raise ConflictError(
            f"{provider.config.label} did not say which groups you are in.",
            fix="An administrator limits the groups that the provider sends to those that the"
            " mapping names.",
            code="groups-unknown",
        )
    return frozenset(each for each in found if isinstance(each, str))


def _check_age(
    tx: Tx, provider: OidcProvider, attempt: Attempt, who: SignedIn, longest_seconds: int
) -> None:
    """Raise when the proof of identity is older than what was asked for."""
    label = provider.config.label
    allowed = float(longest_seconds + LEEWAY_SECONDS)
    why = f"{label} last asked who you are too long ago."
    if attempt.fresh:
        # Both moments are of the provider's clock, so that it may be wrong without harm. Two
        # seconds are for their rounding.
        allowed = (tx.now - attempt.started_at).total_seconds() + 2
        why = f"{label} did not ask you to prove again who you are."
    if who.authenticated_at is None:
        age = float("inf") if attempt.fresh else 0.0
    else:
        age = (who.issued_at - who.authenticated_at).total_seconds()
    if age > allowed:
        fix = "Sign out there and sign in again, or use a passkey."
        raise UnauthenticatedError(why, fix=fix, code="proof-too-old")


# --- the session ------------------------------------------------------------------------------
def _open(
    rt: Runtime,
    tx: Tx,
    provider: OidcProvider,
    who: SignedIn,
    known: Row,
    ip: str | None,
    user_agent: str | None,
) -> dict[str, Any]:
    data = rt.policy.active(tx).data
    tx.update(t.external_identities, t.external_identities.c.id == known["id"], last_used_at=tx.now)
    return identity.open_session(
        rt,
        tx,
        known["person_id"],
        method="oidc",
        mfa=data.single_sign_on.of(provider.config.name).second_factor.shown(who.acr, who.amr),
        ip=ip,
        user_agent=user_agent,
        authenticated_at=_proved_at(tx.now, who, data.credentials.human_session_seconds),
        at_provider=AtProvider(known["id"], who.provider_subject, who.sid),
    )


def _proved_at(now: datetime, who: SignedIn, longest_seconds: int) -> datetime:
    """When the person last proved who they are; a provider that does not say counts as long ago."""
    if who.authenticated_at is None:
        return now - timedelta(seconds=longest_seconds)
    return min(who.authenticated_at, now)


def _end_shown(tx: Tx, cookie: str | None) -> None:
    bearer = secrets.parse(cookie or "")
    if bearer is None or bearer.kind != "ses":
        return
    row = tx.one(sa.select(t.sessions).where(t.sessions.c.id == bearer.id))
    if row is None or not bearer.matches(row["secret_hash"]) or row["revoked_at"] is not None:
        return
    tx.update(t.sessions, t.sessions.c.id == row["id"], revoked_at=tx.now)
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=ActorRef("human", row["person_id"], None, row["id"]),
            action="session.closed",
            resource_kind="person",
            resource_id=row["person_id"],
            outcome=Outcome.DONE,
            facts={"why": "signed in again"},
        )
    )


def _refusal_noted(tx: Tx, name: str, who: SignedIn, error: CharterError) -> None:
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=ActorRef("system", source_of(name)),
            action="session.refused",
            resource_kind="provider",
            resource_id=name,
            outcome=Outcome.DENIED,
            facts={"code": error.code},
            private={"subject": who.subject},
        )
    )
