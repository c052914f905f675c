"""What the server answers about policy changes and the history of bundles."""

from __future__ import annotations

from charter.api import policy_changes
from charter.api import schemas as s
from tests.cli.answers import BUNDLE, NOW

ACTIVATION = s.ActivationOut(
    id="act_1",
    digest=BUNDLE.digest,
    previous=None,
    kind="apply",
    by="per_1",
    by_handle="dana",
    why="A reason.",
    change_id=None,
    at=NOW,
    active=True,
)
EXPORTED_BUNDLE = s.ExportedBundleOut(
    statement={"digest": BUNDLE.digest},
    signature="ed25519:AA==",
    public_key="AA==",
    files={"a.rego": "package a"},
)
_CHANGE = {
    "id": "chg_00000000000000000000000001",
    "source": "git",
    "branch": "topic",
    "commit": "a" * 40,
    "title": "Two hours for agents",
    "author": "Pat",
    "state": "in-review",
    "reason": "Its impact is known; people look at it.",
    "since": NOW,
    "created_at": NOW,
    "digest": BUNDLE.digest,
    "base_digest": BUNDLE.digest,
    "files": 1,
}
CHANGE_SUMMARY = policy_changes.ChangeSummaryOut.model_validate(_CHANGE)
CHANGE = policy_changes.ChangeOut.model_validate(
    {
        **_CHANGE,
        "description": "",
        "author_ids": [],
        "changed": [{"path": "data/tasks.json", "kind": "changed"}],
        "diff": "-1\n+2",
        "checks": {"passed": True, "summary": "All 3 tests passed."},
        "impact_id": "imp_1",
        "reviews": [
            {
                "id": "rev_1",
                "reviewer_id": "per_1",
                "handle": "sam",
                "side": "security",
                "verdict": "approve",
                "comment": "",
                "impact_id": "imp_1",
                "at": NOW,
                "counts": True,
            }
        ],
        "missing_reviews": ["platform"],
        "waits_for": None,
        "not_promotable": "It is in review.",
        "stage": None,
        "promoted_at": None,
        "previous_digest": None,
        "monitor": None,
        "monitored_until": None,
        "closed_at": None,
        "active": False,
    }
)
SOURCE = policy_changes.SourceOut.model_validate(
    {
        "repository": "/srv/policies.git",
        "branch": "main",
        "path": "",
        "poll_seconds": 60,
        "webhook": False,
        "fetched_at": NOW,
        "error": None,
        "failing_since": None,
        "heads": [
            {
                "branch": "topic",
                "commit": "a" * 40,
                "change_id": CHANGE.id,
                "outcome": "It was received.",
                "seen_at": NOW,
            }
        ],
    }
)
