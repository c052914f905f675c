"""What policy says about approvals is read strictly, and what older bundles said still reads."""

from __future__ import annotations

from typing import Any

import pytest

from charter.core.approvals.rules import ApprovalSettings, Step, read_approvals
from charter.core.policy.reading import Reader
from tests.spec import spec

OLD: dict[str, Any] = {
    "approvers": ["team-lead"],
    "approvals_needed": 1,
    "requires": ["justification"],
    "grant_seconds": 3600,
}


def read(**changed: Any) -> tuple[ApprovalSettings, list[str]]:
    document = {"deadline_seconds": 600, "reminder_seconds": 300, "fallback": OLD, "rules": {}}
    problems: list[str] = []
    reader = Reader({**document, **changed}, "approvals", problems)
    settings = read_approvals(reader)
    reader.finish()
    return settings, problems


def rule(**changed: Any) -> tuple[ApprovalSettings, list[str]]:
    return read(rules={"a/b": {**OLD, **changed}})


@spec("AP-1")
def test_the_document_of_an_older_bundle_reads_as_before() -> None:
    settings, problems = read(rules={"a/b": OLD})
    assert problems == []
    found = settings.of("a/b")
    assert (found.also, found.then, found.escalation) == ((), (), None)
    assert (found.grant_seconds, found.max_grant_seconds) == (3600, None)
    assert settings.deadline_of(["a/b", "c/d"]) == 600
    assert settings.reminder_of(["a/b"]) == 300


@spec("AP-1")
def test_everything_that_can_be_said() -> None:
    settings, problems = rule(
        approvers=["manager", "person:sam", "team:payments", "release-manager"],
        also=[{"approvers": ["team-lead"], "approvals_needed": 1}],
        then=[{"_why": "last", "approvers": ["security-admin"], "approvals_needed": 2}],
        requires=["ticket", "duration"],
        max_grant_seconds=7200,
        deadline_seconds=120,
        escalation={"after_seconds": 60, "approvers": ["approver-manager"]},
    )
    assert problems == []
    found = settings.of("a/b")
    assert found.then == (Step(("security-admin",), 2),)
    assert found.escalation is not None
    assert settings.deadline_of(["a/b", "c/d"]) == 120


@spec("AP-1")
@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"approvers": []}, "must hold at least 1"),
        ({"approvers": ["approver-manager"]}, "names 'approver-manager'"),
        ({"approvers": ["person:"]}, "names 'person:'"),
        ({"approvers": ["group:x"]}, "names 'group:x'"),
        ({"then": [{"approvers": ["manager"], "approvals_needed": 0}]}, "at least 1"),
        ({"max_grant_seconds": 60}, "is below grant_seconds"),
        ({"grant_seconds": None, "requires": ["duration"]}, "how long may be asked for"),
        ({"escalation": {"after_seconds": 1, "approvers": ["manager"]}}, "at least 60"),
        ({"escalation": {"after_seconds": 60, "approvers": ["manager"], "x": 1}}, "not a known"),
    ],
)
def test_what_makes_no_sense_is_refused(changed: dict[str, Any], complaint: str) -> None:
    assert any(complaint in problem for problem in rule(**changed)[1])


@spec("AP-1")
def test_a_ticket_has_the_shape_that_policy_gives_it() -> None:
    settings, _ = read()
    assert settings.is_ticket("OPS-1")
    assert not settings.is_ticket("OPS-1 or so")
    assert not settings.is_ticket("ops-1\n")
    own, problems = read(ticket_pattern="INC[0-9]{7}")
    assert problems == []
    assert own.is_ticket("INC0000001")
    assert not own.is_ticket("OPS-1")


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "a*", "a|b", "[a-z]{1,9}" * 4, "[z-a]", "a" * 201, "["]
)
def test_a_pattern_that_could_take_for_ever_is_refused(pattern: str) -> None:
    assert any("ticket_pattern" in problem for problem in read(ticket_pattern=pattern)[1])
