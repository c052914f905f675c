"""What access reviews leave for auditors, and what they would ask about: what nobody uses.

Source: Spec ID-10.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.resource import ResourceRef
from charter.core.access.reviews import ReviewRules, unused
from charter.core.kernel.canonical import canonical_json, rfc3339
from charter.services import access_held, access_reviews, lookup
from charter.services.access import carry_out, note, simple
from charter.services.decisions import Answer as DecisionAnswer
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx

_COLUMNS: Final = (
    "id",
    "kind",
    "target_id",
    "what",
    "holder",
    "team",
    "privileged",
    "since",
    "last_used_at",
    "unused",
    "answer",
    "answered_by",
    "answered_at",
    "comment",
)


def export(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """The evidence of a campaign: every item with its answer, as CSV, and the digest of that.

    The digest is written into the audit trail, so that a file that is shown later can be held
    against what was exported.
    """

    def act(tx: Tx, decided: DecisionAnswer) -> dict[str, Any]:
        campaign = access_reviews.find(tx, caller, ref)
        rules = rt.policy.active(tx).data.access_reviews
        c = t.access_review_items.c
        rows = [
            dict(row)
            for row in tx.all(
                sa.select(t.access_review_items)
                .where(c.campaign_id == campaign["id"])
                .order_by(c.id)
            )
        ]
        items = access_reviews.item_views(tx, caller, rows, campaign, rules)
        text = _csv(items)
        digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
        note(
            tx,
            caller,
            "access-review.exported",
            "access-review",
            campaign["id"],
            decision_id=decided.id,
            facts={"digest": digest, "items": len(items)},
        )
        [view] = access_reviews.campaign_views(tx, caller, [campaign])
        return {"campaign": view, "rules": _rules_view(rules), "digest": digest, "csv": text}

    return carry_out(
        rt,
        lambda _: simple(
            caller, Permission.AUDIT_EXPORT, ResourceRef("access-review"), {"spec": {}}
        ),
        act,
    )


def _csv(items: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for item in items:
        writer.writerow([_cell(item[name]) for name in _COLUMNS])
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return rfc3339(value)
    text = value if isinstance(value, str) else canonical_json(value)
    # A spreadsheet would run what begins like a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _rules_view(rules: ReviewRules) -> dict[str, Any]:
    return {
        "answer_seconds": rules.answer_seconds,
        "unused_seconds": rules.unused_seconds,
        "privileged_roles": sorted(rules.privileged_roles),
        "reviewers": {place.value: sorted(roles) for place, roles in rules.reviewers.items()},
    }


def list_unused(rt: Runtime, caller: Caller) -> dict[str, Any]:
    """What is held and was not used for as long as the policy calls stale, longest first."""
    with rt.database.reading() as tx:
        rules = rt.policy.active(tx).data.access_reviews
        reach = reach_set(caller.subject, Permission.ACCESS_REVIEW_VIEW, tx.now)
        found = [
            item
            for item in access_held.held(tx, rules)
            if unused(item["since"], item["last_used_at"], rules, tx.now)
            and (
                reach.everything or item["holder_id"] == caller.id or item["team_id"] in reach.teams
            )
        ]
        found.sort(key=lambda item: item["last_used_at"] or item["since"])
        names = lookup.subject_names(tx, {item["holder_id"] for item in found})
        return {
            "days": rules.unused_seconds // 86_400,
            "items": [
                {
                    **{
                        n: item[n]
                        for n in (
                            "kind",
                            "target_id",
                            "what",
                            "privileged",
                            "since",
                            "last_used_at",
                        )
                    },
                    "holder": names.get(item["holder_id"], item["holder_id"]),
                }
                for item in found
            ],
        }
