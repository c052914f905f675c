"""Links that carry one approver's vote: made for a mail, followed in a browser, used once.

Following a link decides nothing. It shows what is asked, to the person whom the link was made for:
to whoever is signed in as that person or, where policy says that the link is proof enough
(`data/notifications.json`), to whoever follows it. Somebody else who is signed in gets a refusal,
the link ends, and its owner is told. The vote itself goes the way of every vote: decided anew, with
the rights that the person holds at that moment, in the transaction that marks the link as used.

Whoever shows something that was never a link of ours learns nothing: one answer for everything.

Source: Spec AP-7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.subjects import Human, SessionFacts
from charter.core.approvals.request import ApprovalRequest
from charter.core.audit.event import Outcome
from charter.core.kernel.errors import ConflictError, ForbiddenError, NotFoundError
from charter.core.notifications import links
from charter.services import approval_records, approval_requests, approvals, networks
from charter.services.access import note
from charter.services.notification_secrets import link_key
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_human
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_NONCE_BYTES: Final = 16
VIA: Final = "approval-link"


@dataclass(frozen=True, slots=True)
class Followed:
    """A link that was followed by somebody who may see what it is about.

    `caller` is who votes with it; None when they have to sign in first, as `handle`.
    """

    handle: str
    caller: Caller | None
    approval: Mapping[str, Any] | None


# --- making -----------------------------------------------------------------------------------
def new_row(
    rt: Runtime, tx: Tx, approval_id: str, person_id: str, address: str, ends: datetime
) -> dict[str, Any]:
    """The row of a new link, to be inserted; it never outlives the request."""
    lifetime = rt.policy.active(tx).data.links.lifetime_seconds
    expires_at = min(ends, tx.now + timedelta(seconds=lifetime)).replace(microsecond=0)
    row = {
        "id": tx.new_id("approval-link"),
        "approval_id": approval_id,
        "person_id": person_id,
        "nonce": rt.randomness(_NONCE_BYTES),
        "address": address,
        "made_at": tx.now,
        "expires_at": expires_at,
    }
    _, token_hash = links.make(_facts(row), link_key(rt))
    return {**row, "token_hash": token_hash}


def url_of(rt: Runtime, tx: Tx, link_id: str) -> str | None:
    """The address to put into a mail; None where the row does not fit its hash (another key)."""
    row = tx.one(sa.select(t.approval_links).where(t.approval_links.c.id == link_id))
    if row is None:
        return None
    text, token_hash = links.make(_facts(row), link_key(rt))
    return f"{rt.settings.url}/vote?link={text}" if token_hash == row["token_hash"] else None


def _facts(row: Row) -> links.LinkFacts:
    return links.LinkFacts(
        row["id"], row["approval_id"], row["person_id"], row["expires_at"], bytes(row["nonce"])
    )


# --- following --------------------------------------------------------------------------------
def follow(rt: Runtime, text: str, session: Caller | None, ip: str | None = None) -> Followed:
    """What the link is about, for whoever may see it.

    Raises `NotFoundError` for what is no link, `ConflictError` for one that is over, and
    `ForbiddenError` when somebody else is signed in, which ends the link.
    """
    with rt.database.unit_of_work() as tx:
        row = _genuine(rt, tx, text)
        if session is not None and session.id != row["person_id"]:
            _misused(tx, row, session)
            found = None
        else:
            found = _looked_at(rt, tx, row, session, ip)
    if found is None:
        raise ForbiddenError(
            "This link was made for somebody else, so it does nothing for you.",
            fix="Ask for a link of your own, or look into your inbox. Its owner has been told.",
            code="link-not-yours",
        )
    return found


def _genuine(rt: Runtime, tx: Tx, text: str, *, lock: bool = False) -> Row:
    shown = links.parse(text)
    row = None
    if shown is not None:
        query = sa.select(t.approval_links).where(t.approval_links.c.id == shown.id)
        row = tx.one(query.with_for_update() if lock else query)
    if (
        shown is None
        or row is None
        or not links.genuine(shown, _facts(row), bytes(row["token_hash"]), link_key(rt))
    ):
        raise NotFoundError(
            "This is not a link of this Charter, or it is incomplete.",
            fix="Copy the whole link out of the mail, or decide in the inbox.",
            code="no-such-link",
        )
    return row


def _looked_at(rt: Runtime, tx: Tx, row: Row, session: Caller | None, ip: str | None) -> Followed:
    owner = load_human(tx, row["person_id"])
    found = approval_requests.load(tx, row["approval_id"])
    if owner is None or found is None:
        raise AssertionError("a link points at a person and a request")
    stored, request = found
    caller = session or _by_link(row, owner, ip, networks.admit(rt, tx, owner, row["id"], ip))
    _refuse_over(tx, row, owner, caller, request)
    if session is None and not _proof(rt, tx, stored):
        return Followed(owner.handle, None, None)
    return Followed(owner.handle, caller, approval_records.view(tx, caller, row["approval_id"]))


def _by_link(row: Row, owner: Human, ip: str | None, why: str | None) -> Caller:
    """The person as the link shows them: once, with one factor, known since the link was made."""
    facts = SessionFacts(row["id"], VIA, row["made_at"], mfa=False, ip=ip)
    return Caller(replace(owner, session=facts), VIA, row["id"], ip=ip, networks=why)


def _proof(rt: Runtime, tx: Tx, stored: Row) -> bool:
    """Whether the link alone is enough for this request; what wants a step-up wants more."""
    data = rt.policy.active(tx).data
    rules = [needed["rule"] for needed in stored["requirements"]]
    step_up = data.step_up.get(Permission.APPROVAL_VOTE)
    fresh = step_up is not None and (
        step_up.only_rules is None or not set(rules).isdisjoint(step_up.only_rules)
    )
    return not fresh and data.links.proof(stored["action"], rules)


def _refuse_over(tx: Tx, row: Row, owner: Human, caller: Caller, request: ApprovalRequest) -> None:
    c = t.approval_links.c
    newer = sa.select(c.id).where(
        c.approval_id == row["approval_id"],
        c.person_id == row["person_id"],
        sa.tuple_(c.made_at, c.id) > sa.tuple_(sa.literal(row["made_at"]), sa.literal(row["id"])),
    )
    person = tx.one(sa.select(t.people.c.email).where(t.people.c.id == owner.id))
    refusal = approval_records.why_not_vote(caller, request, tx)
    reason = links.why_over(
        links.LinkState(
            expires_at=row["expires_at"],
            used=row["used_at"] is not None,
            ended=row["ended_at"] is not None,
            replaced=tx.one(newer.limit(1)) is not None,
            person_active=owner.active,
            same_address=person is not None and person["email"] == row["address"],
            why_not_vote=None if refusal is None else refusal.message,
        ),
        tx.now,
    )
    if reason is not None:
        raise ConflictError(
            reason,
            fix="If the request still waits for you, your inbox shows it.",
            code="link-over",
        )


def _misused(tx: Tx, row: Row, stranger: Caller) -> None:
    """Somebody else shows the link: it ends, and its owner learns who it was."""
    c = t.approval_links.c
    ended = tx.update(
        t.approval_links,
        c.id == row["id"],
        c.ended_at.is_(None),
        ended_at=tx.now,
        ended_by=stranger.id,
    )
    note(
        tx,
        stranger,
        "approval.link-misused",
        "approval",
        row["approval_id"],
        outcome=Outcome.DENIED,
        facts={"link": row["id"], "owner": row["person_id"]},
    )
    if ended:
        who = tx.one(sa.select(t.people.c.handle).where(t.people.c.id == stranger.person.id))
        approval_requests.notify(
            tx,
            row["person_id"],
            "approval-link-misused",
            f"{who['handle'] if who else 'Somebody else'} opened an approval link that was made "
            "for you. The link does not count any more; nothing was decided with it.",
            resource=("approval", row["approval_id"]),
            dedupe_key=f"link-misused:{row['id']}",
        )


# --- voting -----------------------------------------------------------------------------------
def vote(
    rt: Runtime,
    text: str,
    *,
    approve: bool,
    comment: str | None,
    session: Caller | None,
    ip: str | None = None,
) -> dict[str, Any]:
    """Vote with the link, as the person whom it was made for; raises as `follow` does."""
    found = follow(rt, text, session, ip)
    if found.caller is None or found.approval is None:
        raise _sign_in_first(found.handle)
    act = approvals.approve if approve else approvals.deny

    def use(tx: Tx) -> None:
        """In the transaction of the vote, everything is looked at once more."""
        row = _genuine(rt, tx, text, lock=True)
        again = _looked_at(rt, tx, row, session, ip)
        if again.caller is None:
            raise _sign_in_first(again.handle)
        tx.update(t.approval_links, t.approval_links.c.id == row["id"], used_at=tx.now)

    return act(rt, found.caller, found.approval["id"], comment, along=use)


def _sign_in_first(handle: str) -> ForbiddenError:
    return ForbiddenError(
        f"This request wants you to be signed in as {handle}.",
        fix="Sign in, then open the link again, or decide in the inbox.",
        code="link-sign-in",
    )
