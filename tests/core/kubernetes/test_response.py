"""What the API server gets to see."""

from __future__ import annotations

from charter.core.kernel.decision import Decision, Effect, Violation, decide_from
from charter.core.kubernetes.response import (
    LONGEST_MESSAGE,
    LONGEST_WARNING,
    MOST_WARNINGS,
    of_decision,
    undecided,
)
from tests.spec import spec as proves


def violation(effect: Effect, message: str = "No.", rule: str = "kubernetes/x") -> Violation:
    return Violation(
        rule=rule, effect=effect, message=message, fix="Do it.", approvers=("team-lead",)
    )


def answered(decision: Decision, *, dry_run: bool = False) -> dict[str, object]:
    made = of_decision(
        "u", decision, decision_id="dec_1", bundle_digest="sha256:1", dry_run=dry_run
    )
    assert made["apiVersion"] == "admission.k8s.io/v1"
    assert made["kind"] == "AdmissionReview"
    found: dict[str, object] = made["response"]
    return found


@proves("PC-8")
def test_a_plain_yes() -> None:
    assert answered(decide_from([])) == {
        "uid": "u",
        "allowed": True,
        "auditAnnotations": {
            "bundle-digest": "sha256:1",
            "decision-id": "dec_1",
            "effect": "allow",
        },
    }


@proves("PC-8")
def test_a_no_says_why_and_what_to_do() -> None:
    found = answered(decide_from([violation(Effect.DENY, "Not pinned.")]), dry_run=True)
    assert found["allowed"] is False
    assert found["status"] == {
        "code": 403,
        "reason": "Forbidden",
        "message": "[kubernetes/x] Not pinned. Do it. (decision dec_1)",
    }
    assert found["auditAnnotations"] == {
        "bundle-digest": "sha256:1",
        "decision-id": "dec_1",
        "dry-run": "true",
        "effect": "deny",
        "rules": "kubernetes/x",
    }


@proves("PC-8")
def test_an_approval_is_a_no_with_a_hint() -> None:
    found = answered(decide_from([violation(Effect.REQUIRE_APPROVAL, "Large.")]))
    assert found["allowed"] is False
    assert "This needs an approval first (team-lead)." in str(found["status"])
    assert "'approval': 'team-lead'" in str(found["auditAnnotations"])


@proves("PC-8")
def test_warnings_are_short_clean_and_few() -> None:
    said = [
        violation(
            Effect.WARN, f"{number} \x1b[31mred\n\u202e " + "long " * 100, f"kubernetes/{number}"
        )
        for number in range(30)
    ]
    found = answered(decide_from(said))
    assert found["allowed"] is True
    warnings = found["warnings"]
    assert isinstance(warnings, list)
    assert len(warnings) == MOST_WARNINGS
    assert all(len(w) <= LONGEST_WARNING and w.isprintable() for w in warnings)


def test_a_thousand_reasons_stay_one_message() -> None:
    many = [violation(Effect.DENY, f"Container {number}.") for number in range(1000)]
    found = answered(decide_from(many))
    assert "And 988 more." in str(found["status"])
    assert len(str(found["status"])) < LONGEST_MESSAGE + 100
    assert "'rules': 'kubernetes/x'" in str(found["auditAnnotations"])


@proves("PC-8")
def test_without_a_decision_the_class_counts() -> None:
    closed = undecided("u", closed=True, why="The database does not answer.")["response"]
    assert closed["allowed"] is False
    assert closed["status"]["code"] == 503
    assert "The database does not answer." in closed["status"]["message"]
    opened = undecided("u", closed=False, why="The database does not answer.")["response"]
    assert opened["allowed"] is True
    assert "fails open" in opened["warnings"][0]
