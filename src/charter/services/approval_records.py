"""Approvals as rows: show them, say who may see them, and who may vote on them now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.subjects import Human
from charter.core.approvals.request import ApprovalRequest, Course, course, seen_at
from charter.core.approvals.requirements import grant_span
from charter.core.approvals.voting import may_vote
from charter.core.kernel.decision import Violation
from charter.core.kernel.units import show_mib
from charter.services import approval_requests, lookup
from charter.services.access import missing
from charter.services.approval_entitlement import (
    Voice,
    names_behind,
    open_to_me,
    put_to_me,
    voices,
    words_of,
)
from charter.services.approval_rows import nobody_left
from charter.services.runtime import Caller
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx


def voices_of(tx: Tx, caller: Caller) -> tuple[Voice, ...]:
    """Those in whose name the caller may vote; an agent in nobody's, not even in its sponsor's."""
    return voices(tx, caller.subject) if isinstance(caller.subject, Human) else ()


def visible_approvals(
    tx: Tx, caller: Caller, heard: Sequence[Voice] | None = None
) -> sa.ColumnElement[bool]:
    """The filter that gives exactly the approvals which the caller may see."""
    c = t.approvals.c
    reach = reach_set(caller.subject, Permission.APPROVAL_VIEW, tx.now)
    if reach.everything:
        return sa.true()
    return sa.or_(
        c.requester_id == caller.id,
        c.sponsor_id == caller.id,
        c.team_id.in_(reach.teams),
        c.project_id.in_(reach.projects),
        put_to_me(tx, voices_of(tx, caller) if heard is None else heard),
    )


def why_not_vote(
    caller: Caller, request: ApprovalRequest, tx: Tx, heard: Sequence[Voice] | None = None
) -> Violation | None:
    """Why the caller may not vote on the request now; None when they may."""
    refusal, _ = voice_for(caller, request, tx, voices_of(tx, caller) if heard is None else heard)
    return refusal


def voice_for(
    caller: Caller, request: ApprovalRequest, tx: Tx, heard: Sequence[Voice]
) -> tuple[Violation | None, Voice | None]:
    """The voice that may be raised, their own before those of others; or why none may."""
    now = seen_at(request, tx.now)
    if not heard:
        return may_vote(request, caller.id, "agent", frozenset(), now), None
    refusals: list[Violation] = []
    for voice in heard:
        words = words_of(voice, request, now)
        refusal = may_vote(request, caller.id, "human", words, now, for_id=voice.for_id)
        if refusal is None:
            return None, voice
        refusals.append(refusal)
    # Whoever is no approver in person is told what stands against voting for somebody else.
    telling = (refusal for refusal in refusals if refusal.rule != "invariant/not-an-approver")
    return next(telling, refusals[0]), None


_SHOWN = (
    "id",
    "action",
    "summary",
    "requester_kind",
    "requester_id",
    "team_id",
    "requirements",
    "justification",
    "ticket",
    "duration_seconds",
    "renews_id",
    "reminders",
    "created_at",
    "deadline",
    "closed_at",
    "outcome",
    "result_id",
    "decision_id",
)


@dataclass(frozen=True, slots=True)
class _Around:
    """What several views share, looked up once for all of them."""

    heard: Sequence[Voice]
    names: Mapping[str, str]
    words: Mapping[str, str]
    documents: Mapping[str, Any]
    places: Mapping[str, str]
    comments: Mapping[str, Sequence[Row]]
    grants: Mapping[str, Row]


def view(tx: Tx, caller: Caller, approval_id: str) -> dict[str, Any]:
    """The approval for faces, with whether the caller may vote on it now."""
    found = views(tx, caller, [approval_id])
    if not found:
        raise missing("approval")
    return found[0]


def views(tx: Tx, caller: Caller, ids: Sequence[str]) -> list[dict[str, Any]]:
    """As `view`, of several in this order, with a handful of queries for all of them."""
    found = {row["id"]: (row, request) for row, request in approval_requests.load_all(tx, ids)}
    rows = [row for row, _ in found.values()]
    comments = _comments(tx, list(found))
    people = {
        *(who for _, r in found.values() for v in r.votes for who in (v.approver_id, v.counts_as)),
        *(row["requester_id"] for row in rows),
        *(row["sponsor_id"] for row in rows),
        *(comment["author_id"] for each in comments.values() for comment in each),
    }
    words = {
        word
        for _, r in found.values()
        for needed in r.requirements
        for word in needed.roles | needed.escalate_to
    }
    around = _Around(
        heard=voices_of(tx, caller),
        names=lookup.subject_names(tx, people),
        words=names_behind(tx, words),
        documents=_documents(tx, rows),
        places=_places(tx, rows),
        comments=comments,
        grants=_grants(tx, list(found)),
    )
    return [_view(tx, caller, *found[id_], around) for id_ in ids if id_ in found]


def _view(
    tx: Tx, caller: Caller, row: Row, request: ApprovalRequest, around: _Around
) -> dict[str, Any]:
    refusal, voice = voice_for(caller, request, tx, around.heard)
    moment = seen_at(request, tx.now)
    now = course(request, moment)
    stands_for = None if voice is None else voice.for_id
    return {
        **{name: row[name] for name in _SHOWN},
        "state": now.state.value,
        "requester": around.names.get(row["requester_id"], row["requester_id"]),
        "sponsor": around.names.get(row["sponsor_id"], row["sponsor_id"]),
        "team": around.places.get(row["team_id"], row["team_id"]),
        "outstanding": _outstanding(now, around),
        "escalated": any(standing.escalated_at for standing in now.standings),
        "votes": [
            {
                "approver_id": v.approver_id,
                "approver": around.names.get(v.approver_id, v.approver_id),
                "for_id": v.for_id,
                "for_name": None if v.for_id is None else around.names.get(v.for_id, v.for_id),
                "verdict": v.verdict.value,
                "comment": v.comment or None,
                "at": v.at,
                "counts": v.lost_at is None or bool(v.roles_at(moment)),
            }
            for v in request.votes
        ],
        "comments": [
            {
                "id": comment["id"],
                "author": around.names.get(comment["author_id"], comment["author_id"]),
                "text": comment["text"],
                "at": comment["at"],
            }
            for comment in around.comments.get(row["id"], ())
        ],
        "gives": _gives(row, request, around),
        "details": _details(row, around.documents.get(row["decision_id"]), around.places),
        "can_vote": refusal is None,
        "votes_for": None
        if stands_for is None
        else around.names.get(stands_for) or _handle(tx, stands_for),
        "why_not": None if refusal is None else refusal.message,
    }


def _handle(tx: Tx, person_id: str) -> str:
    return lookup.subject_name(tx, person_id)


def _outstanding(now: Course, around: _Around) -> list[dict[str, Any]]:
    """What is missing: by whom, since when they are asked, and whether others may answer too."""
    return [
        {
            "rule": standing.requirement.rule,
            "roles": sorted(
                around.words[word] for word in standing.asked or standing.requirement.roles
            ),
            "people": standing.people_missing,
            "step": standing.requirement.step,
            "since": standing.opened_at,
            "escalates_at": standing.escalates_at,
        }
        for standing in now.standings
        if standing.people_missing
    ]


def _gives(row: Row, request: ApprovalRequest, around: _Around) -> dict[str, Any]:
    """What a yes gives, or gave: for how long, for one use only, and the grant."""
    grant = around.grants.get(row["id"])
    seconds, single_use = grant_span(request.requirements, request.duration_seconds)
    return {
        "seconds": None if single_use else seconds,
        "single_use": single_use,
        "ends_with_task": row["task_id"] is not None,
        "grant_id": None if grant is None else grant["id"],
        "until": None if grant is None else grant["expires_at"],
    }


def _comments(tx: Tx, ids: Sequence[str]) -> dict[str, list[Row]]:
    c = t.approval_comments.c
    found: dict[str, list[Row]] = {}
    for row in tx.all(
        sa.select(t.approval_comments).where(c.approval_id.in_(ids)).order_by(c.at, c.id)
    ):
        found.setdefault(row["approval_id"], []).append(row)
    return found


def _grants(tx: Tx, ids: Sequence[str]) -> dict[str, Row]:
    c = t.grants.c
    rows = tx.all(sa.select(c.id, c.approval_id, c.expires_at).where(c.approval_id.in_(ids)))
    return {row["approval_id"]: row for row in rows}


def _documents(tx: Tx, rows: Sequence[Row]) -> dict[str, Any]:
    """The decision documents behind the requests, by the id of the decision."""
    c = t.decisions.c
    wanted = {row["decision_id"] for row in rows}
    found = tx.all(sa.select(c.id, c.facts).where(c.id.in_(wanted)))
    return {row["id"]: json.loads(row["facts"])["document"] for row in found}


def _places(tx: Tx, rows: Sequence[Row]) -> dict[str, str]:
    """The names of the requests' teams and projects, by their ids."""
    found: dict[str, str] = {}
    for column, table in (("team_id", t.teams), ("project_id", t.projects)):
        wanted = {row[column] for row in rows if row[column] is not None}
        named = tx.all(sa.select(table.c.id, table.c.name).where(table.c.id.in_(wanted)))
        found |= {row["id"]: row["name"] for row in named}
    return found


def _details(
    row: Row, document: Mapping[str, Any] | None, places: Mapping[str, str]
) -> dict[str, str]:
    """What is asked for, for whoever has to decide on it: out of the facts of the decision."""
    if document is None:  # the foreign key forbids it
        return {}
    resource = document["resource"]
    spec = resource["spec"]
    details: dict[str, str] = {"name": str(resource.get("name", ""))}
    if "resources" in spec:
        wanted = spec["resources"]
        details |= {
            "template": f"{spec['template']['name']}@{spec['template']['version']}",
            "CPU": f"{wanted['cpu']} vCPU",
            "memory": show_mib(wanted["memoryMib"]),
            "disk": show_mib(wanted["diskMib"]),
            "GPU": str(wanted["gpu"]),
            "network": spec["network"]["mode"],
        }
    asked = row["pending"].get("request", {})
    for key, label in (("task", "task"), ("tier", "tier"), ("minutes", "minutes")):
        if row["action"] == Permission.AGENT_CREATE and key in asked:
            details[label] = str(asked[key])
    if row["action"] == Permission.AGENT_CREATE:
        details["repositories"] = ", ".join(asked.get("repositories", [])) or "none"
    for column, label in (("team_id", "team"), ("project_id", "project")):
        if row[column] is not None:
            details[label] = places.get(row[column], row[column])
    return details


def check_visible(tx: Tx, caller: Caller, approval_id: str) -> None:
    """Raise the 404 of an approval that does not exist or is not the caller's to see."""
    if (
        tx.one(
            sa.select(t.approvals.c.id).where(
                t.approvals.c.id == approval_id, visible_approvals(tx, caller)
            )
        )
        is None
    ):
        raise missing("approval")


def count_for(tx: Tx, caller: Caller) -> int:
    """How many requests wait for the caller's vote."""
    query = sa.select(sa.func.count().label("n")).where(votable(tx, caller))
    row = tx.one(query.select_from(t.approvals))
    return 0 if row is None else int(row["n"])


def votable(tx: Tx, caller: Caller, heard: Sequence[Voice] | None = None) -> sa.ColumnElement[bool]:
    """The filter that gives exactly the pending requests that the caller may vote on now.

    It says in SQL what `why_not_vote` says of one request, because an inbox asks about thousands.
    """
    return sa.and_(
        still_pending(tx), open_to_me(tx, voices_of(tx, caller) if heard is None else heard)
    )


def still_pending(tx: Tx) -> sa.ColumnElement[bool]:
    """The filter of requests that nothing has settled and whose time has not run out."""
    c = t.approvals.c
    return sa.and_(c.state == "pending", c.deadline > tx.now, nobody_left(tx.now))
