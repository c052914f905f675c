"""Impact runs on a real database with real workers: what they find, and what interrupts them."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from charter.controllers import policy_impact
from charter.core.kernel.errors import CharterError, ForbiddenError
from charter.core.policy.bundle import Bundle
from charter.services import impact, impact_desk, impact_work, workspaces
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.spec import spec
from tests.support import STARTER, World

ENDLESS = (
    "count([1 | some a in numbers.range(1, 3000); some b in numbers.range(1, 3000); "
    "some c in numbers.range(1, 3000); a + b + c < 0]) >= 0"
)
GIGABYTES = (
    'count([x | some a in numbers.range(1, 30000); x := sprintf("%s%d", '
    '[concat("", [y | some b in numbers.range(1, 4000); y := "aaaaaaaaaa"]), a])]) > 0'
)


def changed(path: str, **values: Any) -> Bundle:
    """The starter policies with other values in a data document."""
    document = json.loads(STARTER.text(path))
    for key, value in values.items():
        place = document
        *steps, last = key.split("__")
        for step in steps:
            place = place[step]
        place[last] = value
    return STARTER.with_files({path: json.dumps(document)})


def rule(name: str, body: str, action: str = "workspace.create") -> Bundle:
    """The starter policies with one more rule."""
    text = (
        f"package admission.{name}\n\nimport rego.v1\n\n"
        f'deny contains {{"id": "admission/{name}", "message": "No."}} if {{\n'
        f'\tinput.action.name == "{action}"\n\t{body}\n}}\n'
    )
    return STARTER.with_files({f"admission/{name}.rego": text})


def ask(world: World, who: str, name: str, **fields: Any) -> None:
    request = WorkspaceRequest(**{"name": name, "template": "python", **fields})
    try:
        workspaces.create(world.rt, world.caller(who), request)
    except CharterError:
        return


@pytest.fixture
def history(world: World) -> World:
    """Two workspaces of payments, one of search, and a request of dana's that was too large."""
    ask(world, "dana", "small", vcpu=2)
    world.clock.advance(minutes=1)
    ask(world, "dana", "medium", vcpu=8)
    world.clock.advance(minutes=1)
    ask(world, "otto", "search-box", vcpu=8)
    world.clock.advance(minutes=1)
    ask(world, "dana", "huge", vcpu=2000)
    world.clock.advance(minutes=1)
    return world


def run(world: World, bundle: Bundle, who: str = "admin", **given: Any) -> dict[str, Any]:
    """The run of a candidate, carried out to its end."""
    files = {path: bundle.text(path) for path in bundle.files}
    made = impact.create(world.rt, world.caller(who), files=files, **given)
    while policy_impact.step(world.rt) is not None:
        pass
    return impact.get(world.rt, world.caller(who), made["id"])


def decisions(world: World) -> int:
    with world.rt.database.reading() as tx:
        query = sa.select(sa.func.count()).select_from(t.decisions)
        return int(tx.conn.execute(query).scalar_one())


def cells(found: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(c["before"], c["after"]): c["count"] for c in found["report"]["examples"]}


@spec("PC-6")
def test_the_bundle_in_force_changes_nothing(history: World) -> None:
    before = decisions(history)
    found = run(history, STARTER)
    report = found["report"]
    assert found["state"] == "done"
    assert (report["flipped"], report["other_reasons"], report["unknown"]["count"]) == (0, 0, 0)
    # What was recorded when the run was asked for, and the three workspaces.
    assert found["done"] == found["total"] == report["total"] >= before + 3
    assert found["per_second"] > 0
    assert found["eta_seconds"] is None


@spec("PC-5", "PC-6")
def test_a_stricter_candidate_shows_who_would_be_refused(history: World) -> None:
    found = run(history, changed("data/limits.json", cpu_without_approval=4))
    report = found["report"]
    assert found["state"] == "done"
    # Each of medium and search-box: the recorded request, and starting what exists.
    assert {after for _, after in cells(found)} == {"require_approval"}
    assert report["tightened"] == 4
    assert report["rules"][0] == {
        "rule": "admission/cpu-needs-approval",
        "caused": 4,
        "begins": 4,
        "ends": 0,
        "would_begin": 0,
        "would_end": 0,
    }
    by_team = {found["teams"].get(g["key"]): g["flipped"] for g in report["by"]["team"]}
    assert (by_team["payments"], by_team["search"]) == (2, 2)
    assert {c["origin"]: c["vcpu_refused"] for c in report["cost"]} == {
        "workspace": 16,
        "decision": 16,
    }
    example = report["examples"][0]["examples"][0]
    assert example["rules"] == ["admission/cpu-needs-approval"]
    assert "8 vCPU" in example["message"]


@spec("PC-6")
def test_a_looser_candidate_shows_what_would_be_admitted(world: World) -> None:
    ask(world, "dana", "forty", vcpu=40)
    world.clock.advance(minutes=1)
    rules = {"admission/cpu-needs-approval": "dry-run"}
    found = run(world, changed("data/enforcement.json", rules=rules))
    report = found["report"]
    assert cells(found) == {("require_approval", "warn"): 1}
    assert (report["loosened"], report["tightened"]) == (1, 0)
    assert report["rules"][0]["rule"] == "admission/cpu-needs-approval"
    assert (report["rules"][0]["ends"], report["rules"][0]["would_begin"]) == (1, 1)
    assert report["cost"][1] == {
        "origin": "decision",
        "vcpu_refused": 0,
        "vcpu_admitted": 40,
        "uncosted": 0,
    }


@spec("PC-6")
def test_a_fact_that_no_record_holds_is_unknown_and_never_guessed(history: World) -> None:
    found = run(history, rule("country", 'input.subject.country == "XX"'))
    report = found["report"]
    assert found["state"] == "done"
    assert report["unknown"]["paths"][0]["path"] == "input.subject.country"
    assert report["unknown"]["count"] == 4  # the rule is about creating, and nothing else
    assert report["flipped"] == 0
    assert report["unchanged"] + report["unknown"]["count"] == report["total"]


@spec("PC-6")
@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [ENDLESS, GIGABYTES],
    ids=["exponential", "gigabytes"],
)
def test_a_rule_without_measure_ends_the_run_and_nothing_else(
    history: World, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impact_desk, "LIMITS", impact_desk.CULPRIT_LIMITS)
    found = run(history, rule("runaway", body))
    assert found["state"] == "failed"
    assert "admission/runaway.rego of the candidate cannot decide decision dec_" in found["error"]
    assert run(history, STARTER)["state"] == "done"


def test_a_candidate_that_cannot_decide_fails_with_its_reason(history: World) -> None:
    found = run(
        history, STARTER.with_files({"admission/broken.rego": "package x\n\ndeny contains"})
    )
    assert found["state"] == "failed"
    assert "admission/broken.rego" in found["error"]


@spec("PC-6")
def test_a_crash_costs_a_second_of_work_and_counts_nothing_twice(
    history: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        ask(history, "dana", f"box-{number}", vcpu=2000)
    monkeypatch.setattr(impact_work, "_PAGE", 7)
    monkeypatch.setattr(impact_work, "_SAVE_SECONDS", 0.0)
    candidate = changed("data/limits.json", cpu_without_approval=4)
    whole = run(history, candidate)
    pages = 0
    original = impact_work.Desk.report

    def dying(desk: impact_work.Desk, questions: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages % 3 == 0:
            desk.candidate._process.kill()
            desk.candidate._process.wait()
            raise KeyboardInterrupt  # what ends a controller in the middle
        return original(desk, questions)

    monkeypatch.setattr(impact_work.Desk, "report", dying)
    with history.rt.database.unit_of_work() as tx:
        impact.keep_candidate(tx, candidate)
        run_id = impact.start(tx, candidate.digest, STARTER.digest, requested_by="test")
        until = tx.one(sa.select(t.impact_runs.c.until).where(t.impact_runs.c.id == whole["id"]))
        assert until is not None
        tx.update(t.impact_runs, t.impact_runs.c.id == run_id, until=until["until"])
    crashes = 0
    while True:
        try:
            if policy_impact.step(history.rt) is None:
                break
        except KeyboardInterrupt:
            crashes += 1
            assert policy_impact.step(history.rt) is None, "the claim holds for a minute"
            history.clock.advance(seconds=61)
    assert crashes >= 2
    found = impact.get(history.rt, history.caller("admin"), run_id)
    assert found["state"] == "done"
    assert found["report"]["matrix"] == whole["report"]["matrix"]
    assert found["done"] == whole["done"]


def test_a_run_that_is_cancelled_stops_and_keeps_what_it_found(
    history: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impact_work, "_PAGE", 2)
    monkeypatch.setattr(impact_work, "_SAVE_SECONDS", 0.0)
    admin = history.caller("admin")
    made = impact.create(history.rt, admin, digest=STARTER.digest)
    entered, cancelled = threading.Event(), threading.Event()
    original = impact_work.Desk.report

    def slow(desk: impact_work.Desk, questions: Any) -> Any:
        entered.set()
        assert cancelled.wait(30)
        return original(desk, questions)

    monkeypatch.setattr(impact_work.Desk, "report", slow)
    thread = threading.Thread(target=policy_impact.step, args=(history.rt,))
    thread.start()
    assert entered.wait(30)
    impact.cancel(history.rt, admin, made["id"])
    cancelled.set()
    thread.join(30)
    found = impact.get(history.rt, admin, made["id"])
    assert (found["state"], found["done"]) == ("cancelled", 0)
    with pytest.raises(CharterError, match="ended"):
        impact.cancel(history.rt, admin, made["id"])


@spec("ID-1")
def test_a_team_lead_sees_whole_numbers_and_their_own_team(history: World) -> None:
    found = run(history, changed("data/limits.json", cpu_without_approval=4), who="lee")
    assert found["report"]["flipped"] == 4
    assert list(found["teams"].values()) == ["payments"]
    teams = {e["team"] for c in found["report"]["examples"] for e in c["examples"]}
    assert teams == set(found["teams"])
    with pytest.raises(ForbiddenError):
        impact.get(history.rt, history.caller("dana"), found["id"])


def test_decisions_under_an_older_bundle_are_compared_under_the_base(history: World) -> None:
    """Else the effect of an earlier change would be laid at the candidate's door."""
    with history.rt.database.unit_of_work() as tx:
        tx.update(t.decisions, sa.true(), bundle_digest="sha256:older", result='{"effect":"deny"}')
    assert run(history, STARTER)["report"]["flipped"] == 0


def test_nothing_holds_a_transaction_open_while_a_page_is_decided(
    history: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    original = impact_work.Desk.report

    def looking(desk: impact_work.Desk, questions: Any) -> Any:
        seen.append(history.rt.database.engine.pool.checkedout())
        return original(desk, questions)

    monkeypatch.setattr(impact_work.Desk, "report", looking)
    started = time.monotonic()
    run(history, STARTER)
    assert time.monotonic() - started < 60
    assert set(seen) == {0}
