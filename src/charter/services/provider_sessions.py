"""Sessions at a provider, and how their end ends Charter's own.

A provider that people signed in with can say that somebody's session is over (OpenID Connect
Back-Channel Logout): Charter's sessions of that sign-in, and the tokens that command lines got in
them, are dead from that moment on. A logout may overtake the sign-in that it ends, because the two
take different ways, so what was ended is remembered for as long as a sign-in can be under way.

Source: Spec ID-3.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from charter.adapters.identity.oidc import OidcProvider
from charter.adapters.identity.tokens import LoggedOut, SignedIn, refused
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.errors import NotFoundError
from charter.services.group_access import source_of
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx


@dataclass(frozen=True, slots=True)
class AtProvider:
    """How a provider names somebody who signed in with it, and their session there."""

    identity_id: str
    subject: str
    sid: str | None

    def columns(self) -> dict[str, str | None]:
        """As sessions and tokens keep it, so that a logout at the provider finds them."""
        return {
            "identity_id": self.identity_id,
            "provider_subject": self.subject,
            "provider_sid": self.sid,
        }


def provider_of(rt: Runtime, name: str) -> OidcProvider:
    """The provider of that name."""
    found = rt.sign_in_providers.get(name)
    if found is None:
        raise NotFoundError(
            "There is no such provider to sign in with.",
            fix="The sign-in page shows those that there are.",
            code="provider-unknown",
        )
    return found


def lock_issuer(tx: Tx, issuer: str) -> None:
    """Sign-ins and logouts of one issuer wait for each other until the commit."""
    tx.conn.execute(
        sa.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"charter.sso {issuer}"}
    )


def ended_meanwhile(tx: Tx, issuer: str, who: SignedIn) -> bool:
    """Whether the provider has ended the session from which this sign-in comes."""
    c = t.provider_logouts.c
    of_session = sa.and_(c.sid.is_not(None), c.sid == who.sid)
    of_person = sa.and_(
        c.sid.is_(None), c.subject == who.provider_subject, c.issued_at >= who.issued_at
    )
    query = sa.select(c.jti).where(c.issuer == issuer, sa.or_(of_session, of_person)).limit(1)
    return tx.one(query) is not None


def end_by_provider(rt: Runtime, name: str, logout_token: str) -> int:
    """End what the provider says is over; answers how many sessions and tokens that were.

    Raises `UnauthenticatedError` for a token that is not to be believed or was shown before.
    """
    provider = provider_of(rt, name)
    over = provider.logged_out(logout_token)
    with rt.database.unit_of_work() as tx:
        lock_issuer(tx, provider.config.issuer)
        seen = t.provider_logouts
        tx.conn.execute(sa.delete(seen).where(seen.c.expires_at <= tx.now))
        new = tx.insert_new(
            seen,
            issuer=provider.config.issuer,
            jti=over.jti,
            subject=over.subject,
            sid=over.sid,
            issued_at=over.issued_at,
            expires_at=over.expires_at,
        )
        if not new:
            raise refused("it was shown before")
        return sum(_end(tx, table, provider, over) for table in (t.sessions, t.api_tokens))


def _end(tx: Tx, table: sa.Table, provider: OidcProvider, over: LoggedOut) -> int:
    c, identities = table.c, t.external_identities.c
    of_issuer = sa.select(identities.id).where(identities.issuer == provider.config.issuer)
    which = [c.identity_id.in_(of_issuer), c.revoked_at.is_(None), c.expires_at > tx.now]
    if over.subject is not None:
        which.append(c.provider_subject == over.subject)
    if over.sid is not None:
        which.append(c.provider_sid == over.sid)
    ended = tx.all(sa.select(c.id, c.person_id).where(*which).order_by(c.id).with_for_update())
    tx.update(table, c.id.in_([row["id"] for row in ended]), revoked_at=tx.now)
    tx.audit(
        *(
            AuditEvent(
                id=tx.new_id("event"),
                at=tx.now,
                actor=ActorRef("system", source_of(provider.config.name), None, row["id"]),
                action="session.closed",
                resource_kind="person",
                resource_id=row["person_id"],
                outcome=Outcome.DONE,
                facts={"why": "ended by the provider"},
            )
            for row in ended
        )
    )
    return len(ended)


def session_stands(tx: Tx, session_id: str | None) -> bool:
    """Whether the session in which a link was made is still open; links without one stand alone."""
    if session_id is None:
        return True
    c = t.sessions.c
    open_ = sa.and_(c.id == session_id, c.revoked_at.is_(None), c.expires_at > tx.now)
    return tx.one(sa.select(c.id).where(open_)) is not None


def at_provider(tx: Tx, session_id: str | None) -> AtProvider | None:
    """How the provider names the session, so that what is made in it ends with it."""
    c = t.sessions.c
    row = tx.one(sa.select(t.sessions).where(c.id == session_id, c.identity_id.is_not(None)))
    if row is None:
        return None
    return AtProvider(row["identity_id"], row["provider_subject"], row["provider_sid"])


def provider_of_session(rt: Runtime, session_id: str) -> str | None:
    """The provider with which this session was opened."""
    query = (
        sa.select(t.external_identities.c.provider)
        .join(t.sessions, t.sessions.c.identity_id == t.external_identities.c.id)
        .where(t.sessions.c.id == session_id)
    )
    with rt.database.reading() as tx:
        row = tx.one(query)
    return None if row is None else str(row["provider"])


def sign_out_link(rt: Runtime, name: str) -> dict[str, str] | None:
    """Where a browser ends its session at the provider as well, if the provider offers that."""
    provider = rt.sign_in_providers.get(name)
    url = None if provider is None else provider.logout_url(f"{rt.settings.url}/sign-in")
    if provider is None or url is None:
        return None
    return {"label": provider.config.label, "url": url}
