"""What a message says: the notice, and for a request that waits all that its approver must know.

A message to a person may hold a link that carries that person's vote. A message to a channel never
does: its link opens the page, for those who are signed in and may see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from charter.core.kernel.units import show_seconds
from charter.core.notifications.kinds import asks_for_vote, kind_of
from charter.core.notifications.text import Section
from charter.services import approval_links, approval_records, approval_requests, lookup
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_human
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_PAGES: Final = {
    "approval": "/approvals/{}",
    "grant": "/approvals/grants",
    "absence": "/approvals/away",
    "workspace": "/workspaces/{}",
    "agent": "/agents/{}",
    "review": "/policies/reviews/{}",
    "policy-change": "/policies/changes/{}",
}


@dataclass(frozen=True, slots=True)
class Told:
    """One message. `over` says why it need not be sent any more."""

    title: str
    message: str
    url: str
    facts: tuple[tuple[str, str], ...] = ()
    button: str = "Open in Charter"
    over: str | None = None


def told(rt: Runtime, tx: Tx, row: Row, person_id: str | None) -> Told:
    """What the delivery says to this person, or to a channel."""
    page = _PAGES.get(row["resource_kind"] or "", "/").format(row["resource_id"])
    plain = Told(kind_of(row["kind"]).title, row["message"], rt.settings.url + page)
    if row["resource_kind"] != "approval" or not asks_for_vote(row["kind"]):
        return plain
    return _asked(rt, tx, row, person_id, plain)


def _asked(rt: Runtime, tx: Tx, row: Row, person_id: str | None, plain: Told) -> Told:
    """A request that waits: everything that is needed to decide, and until when."""
    found = approval_requests.load(tx, row["resource_id"])
    if found is None:
        return plain
    stored, request = found
    title = f"Approval: {stored['summary']}"
    if approval_requests.is_settled(stored, request, tx.now):
        return Told(title, plain.message, plain.url, over="The request was settled meanwhile.")
    button, url = plain.button, plain.url
    if person_id is not None:
        owner = load_human(tx, person_id)
        if owner is None:
            return plain
        caller = Caller(owner, "notification", "none", networks="not-asked")
        if approval_records.why_not_vote(caller, request, tx) is not None:
            return Told(title, plain.message, plain.url, over="The person may not vote any more.")
        link = None if row["link_id"] is None else approval_links.url_of(rt, tx, row["link_id"])
        button, url = ("Look and decide", link) if link else (button, url)
        view = approval_records.view(tx, caller, stored["id"])
        facts = _facts(rt, view)
    else:
        facts = _few(rt, tx, stored)
    return Told(title, plain.message, url, facts, button)


def _facts(rt: Runtime, view: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    agent = view["requester_kind"] == "agent"
    facts = [
        ("Requested by", f"{view['requester']} (agent of {view['sponsor']})")
        if agent
        else ("Requested by", view["requester"]),
        ("Action", view["action"]),
        *(
            (label.capitalize() if label.islower() else label, value)
            for label, value in view["details"].items()
            if value
        ),
        ("Justification", view["justification"] or "none given"),
        ("Ticket", view["ticket"] or ""),
        ("A yes gives", _gives(view["gives"])),
        ("You stand in for", view["votes_for"] or ""),
        *((f"{comment['author']} says", comment["text"]) for comment in view["comments"]),
        *(
            ("Still needed", f"{need['people']} {' or '.join(need['roles'])}, for {need['rule']}")
            for need in view["outstanding"]
        ),
        _until(rt, view["deadline"]),
    ]
    return tuple((name, value) for name, value in facts if value)


def _gives(gives: Mapping[str, Any]) -> str:
    if gives["single_use"]:
        return "this one request"
    lasts = (
        "a grant" if gives["seconds"] is None else f"a grant for {show_seconds(gives['seconds'])}"
    )
    return f"{lasts}, which ends with the task" if gives["ends_with_task"] else lasts


def _few(rt: Runtime, tx: Tx, stored: Row) -> tuple[tuple[str, str], ...]:
    """For a channel: who, what, where, until when; the reasons are for those who may see them."""
    team = tx.one(sa.select(t.teams.c.name).where(t.teams.c.id == stored["team_id"]))
    return (
        ("Requested by", lookup.subject_name(tx, stored["requester_id"])),
        ("Action", stored["action"]),
        ("Team", team["name"] if team is not None else stored["team_id"]),
        _until(rt, stored["deadline"]),
    )


def _until(rt: Runtime, deadline: Any) -> tuple[str, str]:
    left = max(int((deadline - rt.now()).total_seconds()), 0)
    rough = " ".join(show_seconds(left).split(" ")[:2])
    return "Closes", f"{deadline:%Y-%m-%d %H:%M} UTC, in {rough}"


def subject_of(said: Sequence[Told]) -> str:
    """The subject of a mail about these."""
    if len(said) == 1:
        only = said[0]
        return only.title if only.facts else only.message.split("\n", 1)[0]
    return f"Charter: {len(said)} notices"


def section_of(said: Told) -> Section:
    """The part of a mail that tells this."""
    return Section((said.message,), said.facts, (said.button, said.url))
