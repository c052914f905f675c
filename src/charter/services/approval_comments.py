"""Words between whoever asks and those who are asked, while a request is open."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.approvals.request import ApprovalRequest, course
from charter.core.kernel.errors import ConflictError, InvalidInputError
from charter.services import approval_records as records
from charter.services import approval_requests, lookup
from charter.services.access import carry_out, note
from charter.services.approval_questions import pending, question
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_MOST_COMMENTS: Final = 200


def comment(rt: Runtime, caller: Caller, approval_id: str, text: str) -> dict[str, Any]:
    """A word between the requester and those who are asked, while the request is open."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row, request = pending(tx, approval_id, "Make a new request if things have changed.")
        _keep_short(tx, approval_id)
        comment_id = tx.new_id("comment")
        tx.insert(
            t.approval_comments,
            id=comment_id,
            approval_id=approval_id,
            author_kind="agent" if caller.is_agent else "human",
            author_id=caller.id,
            text=text,
            at=tx.now,
        )
        note(
            tx,
            caller,
            "approval.commented",
            "approval",
            approval_id,
            decision_id=answer.id,
            private={"comment": text},
        )
        _tell_of_comment(tx, caller, row, request, comment_id)
        return records.view(tx, caller, approval_id)

    if not text.strip():
        raise InvalidInputError("A comment has words.", fix="Write one.", code="comment-empty")
    return carry_out(
        rt, lambda tx: question(rt, tx, caller, approval_id, Permission.APPROVAL_COMMENT), act
    )


def _keep_short(tx: Tx, approval_id: str) -> None:
    c = t.approval_comments.c
    count = sa.select(sa.func.count().label("n")).where(c.approval_id == approval_id)
    row = tx.one(count)
    if row is not None and row["n"] >= _MOST_COMMENTS:
        raise ConflictError(
            f"The request has {_MOST_COMMENTS} comments, and takes no more.",
            fix="Talk to each other, then vote or withdraw.",
            code="too-many-comments",
        )


def _tell_of_comment(
    tx: Tx, caller: Caller, row: Row, request: ApprovalRequest, comment_id: str
) -> None:
    """Tell the requester, and whoever has spoken or is asked, of a comment by somebody else."""
    c = t.approval_comments.c
    spoken = tx.all(
        sa.select(c.author_id).where(c.approval_id == row["id"], c.author_kind == "human")
    )
    others = {comment["author_id"] for comment in spoken}
    others |= {vote.approver_id for vote in request.votes} | {row["sponsor_id"]}
    if caller.id in request.interested or caller.person.id == row["sponsor_id"]:
        words = frozenset().union(*(s.asked for s in course(request, tx.now).standings))
        place = (row["team_id"], row["project_id"])
        others |= set(approval_requests.approvers(tx, words, *place, but=row["sponsor_id"]))
    name = lookup.subject_name(tx, caller.id)
    for person in sorted(others - {caller.person.id}):
        approval_requests.notify(
            tx,
            person,
            "approval-comment",
            f"{name} commented on an approval: {row['summary']}.",
            resource=("approval", row["id"]),
            dedupe_key=f"comment:{comment_id}",
        )
