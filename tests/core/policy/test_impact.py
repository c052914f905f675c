"""Reports about candidate policies: sums that add up, merging in any order, and what is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.kernel.decision import Effect, Violation, decide_from
from charter.core.policy.impact import (
    EFFECTS,
    UNKNOWN,
    Case,
    Report,
    causes,
    lacking,
    merged,
    report_of,
)
from charter.core.policy.impact_view import view
from tests.spec import spec

RULES = ("admission/cpu", "admission/gpu", "runtime/idle")


def result(*spoken: tuple[str, str], shadow: tuple[str, ...] = ()) -> dict[str, Any]:
    """A decision in which these rules spoke with these effects."""
    return decide_from(
        [Violation(rule, Effect(effect), f"{rule} says so.", "") for rule, effect in spoken],
        (),
        [Violation(rule, Effect.DENY, "", "") for rule in shadow],
    ).as_json()


def case(number: int = 1, **given: Any) -> Case:
    return Case(
        **{
            "origin": "decision",
            "id": f"dec_{number:06d}",
            "at": f"2026-03-02T09:00:{number % 60:02d}.000000Z",
            "subject_kind": "human",
            "subject_id": "per_1",
            "team": "team_1",
            "action": "workspace.create",
            "resource_kind": "workspace",
            "resource_id": None,
            "before": result(),
            "after": result(),
            "vcpu": 4,
            **given,
        }
    )


spoken = st.lists(
    st.tuples(st.sampled_from(RULES), st.sampled_from(EFFECTS[1:])), max_size=3, unique=True
)
results = spoken.map(lambda said: result(*said))
cases = st.builds(
    case,
    st.integers(0, 10_000),
    origin=st.sampled_from(["decision", "workspace"]),
    team=st.sampled_from([None, *(f"team_{n}" for n in range(12))]),
    subject_kind=st.sampled_from(["human", "agent"]),
    action=st.sampled_from(["workspace.create", "workspace.stop"]),
    before=results,
    after=results,
    missing=st.sampled_from([(), (), ("input.context.ip",)]),
    vcpu=st.sampled_from([None, 2, 40]),
)
many = st.lists(cases, max_size=40, unique_by=lambda c: (c.origin, c.id))


@spec("PC-6")
@given(many)
def test_every_case_is_counted_once_in_every_dimension(found: list[Case]) -> None:
    report = report_of(found)
    shown = view(report)
    assert report.total == len(found) == shown["total"]
    assert sum(n for row in shown["matrix"].values() for n in row.values()) == report.known
    assert shown["flipped"] + shown["unchanged"] + shown["unknown"]["count"] == len(found)
    for groups in shown["by"].values():
        assert sum(group["total"] + group["unknown"] for group in groups) == len(found)
        assert sum(group["flipped"] for group in groups) == shown["flipped"]


@spec("PC-6")
@given(st.lists(many, max_size=4), st.randoms())
def test_reports_merge_in_any_order_and_grouping(parts: list[list[Case]], random: Any) -> None:
    whole = report_of([c for part in parts for c in part])
    made = [report_of(part) for part in parts]
    left = Report()
    for report in made:
        left = merged(left, report)
    right = Report()
    for report in reversed(made):
        right = merged(report, right)
    random.shuffle(made)
    shuffled = Report()
    for report in made:
        shuffled = merged(shuffled, report)
    assert left.as_json() == right.as_json() == shuffled.as_json()
    assert left.cells == whole.cells
    assert left.rules == whole.rules


@given(many, st.integers(0, 40))
def test_the_examples_of_the_whole_are_those_of_its_parts(found: list[Case], cut: int) -> None:
    distinct = list({c.id: c for c in found}.values())
    parts = merged(report_of(distinct[:cut]), report_of(distinct[cut:]))
    assert parts == report_of(distinct)
    assert Report.from_json(parts.as_json()) == parts


@spec("PC-6")
def test_a_case_that_lacks_what_the_candidate_reads_stands_in_no_matrix() -> None:
    report = report_of([case(1), case(2, after=result(("r", "deny")), missing=("input.x",))])
    shown = view(report)
    assert (shown["total"], shown["flipped"], shown["unchanged"]) == (2, 0, 1)
    assert shown["unknown"]["paths"] == [{"path": "input.x", "count": 1}]
    assert "input.x" in shown["unknown"]["examples"][0]["message"]
    assert list(report.examples) == [UNKNOWN]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [("a", "deny")], {"a"}),
        ([("a", "warn")], [("a", "warn"), ("b", "deny")], {"b"}),
        ([("a", "deny"), ("b", "warn")], [("b", "warn")], {"a"}),
        ([("a", "deny")], [("a", "warn")], {"a"}),
        ([("a", "deny")], [("b", "deny")], set()),
    ],
)
def test_what_caused_a_flip(
    before: list[tuple[str, str]], after: list[tuple[str, str]], expected: set[str]
) -> None:
    assert {v["rule"] for v in causes(result(*before), result(*after))} == expected


def test_the_rules_that_begin_and_end_to_speak_also_in_dry_run() -> None:
    report = report_of(
        [
            case(1, after=result(("a", "deny"), shadow=("s",))),
            case(2, before=result(("a", "deny"))),
            case(3, before=result(("a", "warn")), after=result(("b", "warn"))),
        ]
    )
    shown = {row["rule"]: row for row in view(report)["rules"]}
    assert (shown["a"]["caused"], shown["a"]["begins"], shown["a"]["ends"]) == (2, 1, 2)
    assert (shown["b"]["caused"], shown["b"]["begins"]) == (0, 1)
    assert shown["s"]["would_begin"] == 1
    assert report.other_reasons == 1


def test_cost_counts_only_what_decides_whether_something_runs() -> None:
    denied = result(("a", "deny"))
    report = report_of(
        [
            case(1, origin="workspace", action="workspace.start", after=denied, vcpu=8),
            case(2, before=denied, vcpu=16),
            case(3, after=denied, vcpu=None),
            case(4, action="workspace.stop", after=denied),
            case(5, after=result(("a", "warn"))),
        ]
    )
    assert dict(report.vcpu) == {
        ("workspace", "refused"): 8,
        ("decision", "admitted"): 16,
        ("decision", "uncosted"): 1,
    }


def test_examples_are_the_newest_and_show_many_teams() -> None:
    denied = result(("a", "deny"))
    loud = [case(n, team="loud", after=denied) for n in range(30, 60)]
    quiet = [case(n, team=f"quiet_{n}", after=denied) for n in range(5)]
    shown = view(report_of([*loud, *quiet]))["examples"]
    assert [cell["count"] for cell in shown] == [35]
    teams = [example["team"] for example in shown[0]["examples"]]
    assert teams[:6] == ["loud", *(f"quiet_{n}" for n in (4, 3, 2, 1, 0))]
    assert teams[6:] == ["loud"] * 3


def test_who_sees_only_a_team_sees_its_examples_and_its_row() -> None:
    denied = result(("a", "deny"))
    report = report_of([case(1, team="mine", after=denied), case(2, team="other", after=denied)])
    shown = view(report, lambda team, _subject: team == "mine")
    assert [group["key"] for group in shown["by"]["team"]] == ["mine"]
    assert [e["team"] for e in shown["examples"][0]["examples"]] == ["mine"]
    assert shown["flipped"] == 2


DOCUMENT: Mapping[str, Any] = {
    "subject": {"kind": "human", "ip": None},
    "resource": {"labels": {}, "list": [{"a": 1}], "none": []},
    "context": {"now": "x"},
}


@spec("PC-6")
@pytest.mark.parametrize(
    ("path", "lacks"),
    [
        ("context.now", False),
        ("subject.ip", False),  # null was recorded, which is an answer
        ("subject.country", True),
        ("context.network.zone", True),
        ("resource.list.*.b", False),  # which elements have it is not asked
        ("resource.gone.*.b", True),
        ("context.now.deeper", True),
        ("resource.labels.cost", False),  # a label is recorded wherever there is one
        ("context.justification", False),
        ("subject.tier", False),  # people have none
        ("subject.mfa", True),
    ],
)
def test_what_a_record_lacks(path: str, lacks: bool) -> None:
    expected = (f"input.{path}",) if lacks else ()
    assert lacking(DOCUMENT, [tuple(path.split("."))]) == expected
