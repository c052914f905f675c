"""Who somebody is to a provider, and which account that opens.

People are found by what the provider calls them for ever (issuer and subject), never by a name
that can be given to somebody else. The first time, a verified e-mail address opens the one
account that has it, or a new account is made, or neither: as policy says for this provider.

Source: Spec ID-3.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

import sqlalchemy as sa

from charter.adapters.identity.oidc import ProviderConfig
from charter.adapters.identity.tokens import SignedIn
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.errors import CharterError, ConflictError, ForbiddenError
from charter.core.policy.single_sign_on import ProviderPolicy
from charter.services.approval_requests import notify
from charter.services.group_access import source_of
from charter.services.people import known_time_zone
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f]{1,64}@[A-Za-z0-9.-]{1,189}")
_NOT_IN_HANDLE: Final = re.compile(r"[^a-z0-9._-]+")
_LONGEST_HANDLE: Final = 50  # leaves room for a number behind it
_LONGEST_NAME: Final = 200
_TRIES: Final = 1000


def identify(tx: Tx, config: ProviderConfig, policy: ProviderPolicy, who: SignedIn) -> Row:
    """The row that ties them to an account that is active; made if policy lets it be.

    The caller holds the issuer (`provider_sessions.lock_issuer`). Raises `ForbiddenError` or
    `ConflictError` for those whom it does not let in.
    """
    c = t.external_identities.c
    known = tx.one(
        sa.select(t.external_identities).where(c.issuer == config.issuer, c.subject == who.subject)
    )
    row = known or _first_time(tx, config, policy, who)
    person = tx.one(sa.select(t.people).where(t.people.c.id == row["person_id"]))
    if person is None or person["deactivated_at"] is not None:
        raise _deactivated()
    return row


def _deactivated() -> CharterError:
    return ForbiddenError(
        "This account is deactivated.", fix="Ask an administrator.", code="person-deactivated"
    )


def _first_time(tx: Tx, config: ProviderConfig, policy: ProviderPolicy, who: SignedIn) -> Row:
    email = _verified_email(who)
    if policy.link_by_verified_email and email is not None:
        found = tx.all(
            sa.select(t.people)
            .where(sa.func.lower(t.people.c.email) == email.lower())
            .with_for_update()
        )
        if len(found) > 1:
            raise ConflictError(
                "Several accounts have your e-mail address, so none of them was opened.",
                fix="Ask an administrator to correct the addresses.",
                code="email-ambiguous",
            )
        if found:
            return _link(tx, config, found[0], who)
    if policy.create_people:
        return _tie(tx, config, _create(tx, config, who, email), who)
    raise ForbiddenError(
        f"Nobody in Charter is known under your account at {config.label}.",
        fix="Ask an administrator: data/single_sign_on.json of the policy says whether the provider"
        " may open the account that has your verified e-mail address, or make a new one.",
        code="person-unknown",
    )


def _link(tx: Tx, config: ProviderConfig, person: Row, who: SignedIn) -> Row:
    if person["deactivated_at"] is not None:
        raise _deactivated()
    c = t.external_identities.c
    other = tx.all(
        sa.select(c.id).where(c.person_id == person["id"], c.issuer == config.issuer).limit(1)
    )
    if other:
        # An address that was given to somebody new does not open the account of the one before.
        raise ConflictError(
            f"The account with your e-mail address belongs to somebody else at {config.label}.",
            fix="Ask an administrator to correct the address of that account.",
            code="identity-taken",
        )
    notify(
        tx,
        person["id"],
        "identity-linked",
        f"From now on you can sign in with {config.label}. Tell an administrator if that was not"
        " you.",
    )
    return _tie(tx, config, person["id"], who)


def _create(tx: Tx, config: ProviderConfig, who: SignedIn, email: str | None) -> str:
    person_id = tx.new_id("person")
    wanted = _handle(who, email)
    for number in range(1, _TRIES):
        handle = wanted if number == 1 else f"{wanted}-{number}"
        if tx.insert_new(
            t.people,
            id=person_id,
            handle=handle,
            display_name=_name(who) or handle,
            email=email,
            time_zone=_time_zone(who),
            created_at=tx.now,
            source="oidc",
        ):
            break
    else:
        raise ConflictError(
            f"Every handle that begins with {wanted} is taken.", fix="Ask an administrator."
        )
    _event(tx, config, "person.created", person_id, {"handle": handle, "email": email})
    return person_id


def _tie(tx: Tx, config: ProviderConfig, person_id: str, who: SignedIn) -> Row:
    row = {
        "id": tx.new_id("identity"),
        "person_id": person_id,
        "provider": config.name,
        "issuer": config.issuer,
        "subject": who.subject,
        "created_at": tx.now,
        "last_used_at": tx.now,
    }
    tx.insert(t.external_identities, **row)
    _event(
        tx,
        config,
        "person.identity-linked",
        person_id,
        {"issuer": config.issuer, "subject": who.subject},
    )
    return row


def _event(
    tx: Tx, config: ProviderConfig, action: str, person_id: str, private: dict[str, object]
) -> None:
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=ActorRef("system", source_of(config.name)),
            action=action,
            resource_kind="person",
            resource_id=person_id,
            outcome=Outcome.DONE,
            facts={"provider": config.name},
            private=private,
        )
    )


# --- out of claims ----------------------------------------------------------------------------
def _verified_email(who: SignedIn) -> str | None:
    """The address, if the provider has checked it: an unchecked one is anybody's word."""
    email: Any = who.claims.get("email")
    if who.claims.get("email_verified") is not True or not isinstance(email, str):
        return None
    return email if _EMAIL.fullmatch(email) else None


def _handle(who: SignedIn, email: str | None) -> str:
    name: Any = who.claims.get("preferred_username") or email or ""
    plain = unicodedata.normalize("NFKD", str(name).split("@")[0]).encode("ascii", "ignore")
    handle = _NOT_IN_HANDLE.sub("-", plain.decode().lower()).strip("._-")[:_LONGEST_HANDLE]
    return handle or "person"


def _name(who: SignedIn) -> str | None:
    name: Any = who.claims.get("name")
    if not isinstance(name, str):
        return None
    shown = "".join(c for c in name if unicodedata.category(c)[0] != "C").strip()
    return shown[:_LONGEST_NAME] or None


def _time_zone(who: SignedIn) -> str:
    zone: Any = who.claims.get("zoneinfo")
    return zone if isinstance(zone, str) and known_time_zone(zone) else "UTC"
