"""A policy change from a real Git repository into force and back, with all that can cross it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from charter.adapters.rego.worker import WorkerLimits
from charter.core.kernel.errors import ConflictError, ForbiddenError, InvalidInputError
from charter.core.policy.bundle import Bundle
from charter.services import decisions, policies, policy_changes, policy_flow, replay
from charter.services.policy_bundles import list_history
from charter.services.policy_checks import run_checks
from charter.services.policy_point import PolicyPoint
from charter.store import tables as t
from tests.services.pipeline import Pipeline, build, freeze, rules
from tests.spec import spec as proves
from tests.support import World

ONE = {"admission/one.rego": freeze("one")}
TWO: dict[str, str | None] = {"docs/two.md": "Two.\n"}


@pytest.fixture
def pipeline(world: World, tmp_path: Path) -> Iterator[Pipeline]:
    """A watched repository, and people of both sides."""
    return build(world, tmp_path)


def newest(world: World) -> dict[str, Any]:
    found: dict[str, Any] = decisions.list_page(world.rt, world.admin)["items"][0]
    return found


def notices(world: World, handle: str, kind: str) -> list[str]:
    with world.rt.database.reading() as tx:
        c = t.notices.c
        query = (
            sa.select(c.message)
            .join(t.people, t.people.c.id == c.person_id)
            .where(t.people.c.handle == handle, c.kind == kind)
        )
        return list(tx.conn.execute(query).scalars())


def events(world: World) -> list[str]:
    with world.rt.database.reading() as tx:
        leaves = tx.conn.execute(sa.select(t.audit_pending.c.leaf)).scalars()
        return [json.loads(leaf)["action"] for leaf in leaves]


NAME = "Stop everything"


def received(pipeline: Pipeline) -> None:
    """Pushed, and known with who, what and why."""
    commit = pipeline.forge.push("tighten", dict(ONE), NAME)
    assert len(pipeline.fetch()["received"]) == 1
    change = pipeline.change(NAME)
    assert (change["commit"], change["branch"], change["author"]) == (commit, "tighten", "Pat")
    assert change["description"] == "Because of an incident."
    assert change["changed"] == [{"path": "admission/one.rego", "kind": "added"}]
    assert "+package admission.freeze_one" in change["diff"]


def analysed(pipeline: Pipeline, before: str) -> None:
    """Checked, and its impact known: then people are asked."""
    pipeline.turn()
    change = pipeline.change(NAME)
    assert change["state"] == "in-review"
    assert change["checks"]["passed"]
    assert change["missing_reviews"] == ["security", "platform"]
    with pipeline.world.rt.database.reading() as tx:
        run = tx.one(sa.select(t.impact_runs).where(t.impact_runs.c.id == change["impact_id"]))
        assert run is not None
        assert (run["state"], run["base_digest"]) == ("done", before)
    assert NAME in notices(pipeline.world, "sam", "policy-review")[0]


def reviewed(pipeline: Pipeline) -> None:
    """Two different people, each for one side."""
    world, change = pipeline.world, pipeline.change(NAME)
    with pytest.raises(ForbiddenError):
        policy_changes.review(
            world.rt, world.caller("dana"), change["id"], approves=True, digest=change["digest"]
        )
    pipeline.review("sam", NAME)
    pipeline.turn()
    assert pipeline.change(NAME)["missing_reviews"] == ["platform"]
    pipeline.review("admin", NAME)
    pipeline.turn()
    assert pipeline.change(NAME)["state"] == "staged"


def tried(pipeline: Pipeline, before: str) -> None:
    """It decides for tests and for nobody else; what it decided replays exactly."""
    world, change = pipeline.world, pipeline.change(NAME)
    assert pipeline.create("dana")
    assert newest(world)["bundle_digest"] == before
    assert not pipeline.tried()
    assert newest(world)["bundle_digest"] == change["digest"]
    with pytest.raises(ConflictError) as refused:
        policy_changes.promote(world.rt, world.admin, change["id"])
    assert refused.value.code == "not-promotable"
    assert replay.replay(world.rt, world.admin, 1000)["differences"] == 0


def taken_back(pipeline: Pipeline, before: str, other: PolicyPoint) -> None:
    """One person who runs into it makes no spike. Two do, and it is taken back with figures."""
    world, rt = pipeline.world, pipeline.world.rt
    for _ in range(5):
        assert not pipeline.create("dana")
    assert pipeline.watch() is None
    assert not pipeline.create("lee")
    done = pipeline.watch()
    assert done is not None
    assert done["did"] == "rolled back"
    started = time.monotonic()
    for point in (rt.policy, other):
        with rt.database.reading() as tx:
            assert point.active(tx).digest == before
    assert time.monotonic() - started < 2
    change = pipeline.change(NAME)
    assert change["state"] == "rolled-back"
    assert "100.0 %" in change["reason"]
    assert "freeze/one" in change["reason"]
    assert change["monitor"]["after"]["subjects"] == 2
    assert list_history(rt, world.admin)["items"][0]["kind"] == "automatic-rollback"
    for who in ("sam", "admin"):
        assert "freeze/one" in notices(world, who, "policy-rolled-back")[0]


@proves("PC-4", "PC-5", "PC-6")
def test_from_a_push_into_force_and_back_by_a_spike(pipeline: Pipeline) -> None:
    world, rt = pipeline.world, pipeline.world.rt
    before = pipeline.active()
    for who in ("dana", "lee"):
        for _ in range(3):
            assert pipeline.create(who)
    received(pipeline)
    analysed(pipeline, before)
    reviewed(pipeline)
    tried(pipeline, before)
    # Promoted by a person; another replica follows at once.
    other = PolicyPoint(rt.keys.policy.public_key())
    with rt.database.reading() as tx:
        assert other.active(tx).digest == before
    promoted = pipeline.promote(NAME)
    assert (promoted["state"], promoted["active"]) == ("monitored", True)
    with rt.database.reading() as tx:
        assert other.active(tx).digest == promoted["digest"]
    taken_back(pipeline, before, other)
    other.close()
    assert {"policy.promoted", "policy.rolled-back", "policy.change-reviewed"} <= set(events(world))
    assert pipeline.create("lee")
    # What was rolled back stays away until somebody pushes again.
    assert pipeline.fetch()["received"] == []
    assert replay.replay(rt, world.admin, 1000)["differences"] == 0


@proves("PC-5")
def test_a_second_candidate_waits_and_is_built_anew_on_the_first(pipeline: Pipeline) -> None:
    world = pipeline.world
    pipeline.forge.push("one", {"docs/one.md": "One.\n"}, "First")
    pipeline.forge.push("two", dict(TWO), "Second")
    pipeline.fetch()
    pipeline.turn()
    pipeline.agree("First")
    pipeline.agree("Second")
    first, second = pipeline.change("First"), pipeline.change("Second")
    assert (first["state"], second["state"]) == ("staged", "approved")
    assert second["waits_for"] == first["id"]
    pipeline.tried()
    pipeline.promote("First")
    pipeline.turn()
    again = pipeline.change("Second")
    # Another candidate on another base: looked at, analysed and reviewed anew.
    assert again["state"] == "in-review"
    assert again["base_digest"] == first["digest"]
    assert again["digest"] != second["digest"]
    assert again["impact_id"] != second["impact_id"]
    assert [r["counts"] for r in again["reviews"]] == [False, False]
    with pytest.raises(ConflictError) as refused:
        policy_changes.review(
            world.rt, world.caller("sam"), again["id"], approves=True, digest=second["digest"]
        )
    assert refused.value.code == "candidate-changed"
    pipeline.agree("Second")
    assert pipeline.change("Second")["state"] == "approved"  # the first is still watched
    world.clock.advance(seconds=601)
    assert pipeline.watch() == {"change": first["id"], "did": "in force"}
    pipeline.turn()
    assert pipeline.change("Second")["state"] == "staged"
    pipeline.tried()
    pipeline.promote("Second")
    with world.rt.database.reading() as tx:
        files = world.rt.policy.active(tx).bundle.files
    assert {"docs/one.md", "docs/two.md"} <= set(files)
    # An earlier one can always be gone back to, also by the security side.
    world.clock.advance(seconds=1)
    policies.go_back(world.rt, world.caller("sam"), first["digest"], "An incident.")
    assert pipeline.change("Second")["state"] == "rolled-back"
    assert pipeline.active() == first["digest"]


@proves("PC-5")
def test_a_push_during_review_takes_the_place_of_what_was_reviewed(pipeline: Pipeline) -> None:
    pipeline.forge.push("topic", {"docs/a.md": "A.\n"}, "Draft")
    pipeline.fetch()
    pipeline.turn()
    pipeline.review("sam", "Draft")
    pipeline.forge.push("topic", {"docs/a.md": "B.\n"}, "Better", new=False)
    pipeline.fetch()
    pipeline.turn()
    assert pipeline.change("Draft")["state"] == "superseded"
    better = pipeline.change("Better")
    assert (better["state"], better["reviews"]) == ("in-review", [])
    # A no ends it, with its reason.
    with pytest.raises(InvalidInputError):
        pipeline.review("admin", "Better", approves=False)
    pipeline.review("admin", "Better", approves=False, comment="Too vague.")
    pipeline.turn()
    assert "Too vague." in pipeline.change("Better")["reason"]
    assert pipeline.change("Better")["state"] == "refused"


@proves("PC-5")
def test_whoever_wrote_it_does_not_review_it(pipeline: Pipeline) -> None:
    world = pipeline.world
    with world.rt.database.unit_of_work() as tx:  # sam is the Pat of the commits
        tx.update(t.people, t.people.c.handle == "sam", email="pat@example.org")
    pipeline.forge.push("own", {"docs/a.md": "A.\n"}, "Mine")
    pipeline.fetch()
    pipeline.turn()
    with pytest.raises(ForbiddenError) as refused:
        pipeline.review("sam", "Mine")
    assert refused.value.code == "own-change"
    assert notices(world, "sam", "policy-review")


@proves("PC-4")
def test_checks_run_where_a_bad_candidate_harms_nobody(pipeline: Pipeline) -> None:
    broken = {"admission/bad.rego": "package admission.bad\n\nimport rego.v1\n\ndeny contains x\n"}
    pipeline.forge.push("broken", dict(broken), "Broken")
    failing = {"tests/no_test.rego": "package no_test\n\nimport rego.v1\n\ntest_no if 1 == 2\n"}
    pipeline.forge.push("failing", dict(failing), "Failing")
    pipeline.fetch()
    pipeline.turn()
    found = pipeline.changes()
    assert found["Broken"]["state"] == found["Failing"]["state"] == "refused"
    assert "bad.rego" in found["Broken"]["reason"]
    assert "test_no" in found["Failing"]["reason"]
    endless = """package endless_test

import rego.v1

test_it if count([1 | some x in numbers.range(1, 9000); some y in numbers.range(1, 9000)]) > 0
"""
    report = run_checks(
        Bundle({**rules(), "tests/endless_test.rego": endless}), WorkerLimits(task_cpu_seconds=2)
    )
    assert not report["passed"]
    assert "within their limits" in report["summary"]


@proves("PC-5")
def test_a_replica_that_dies_while_checking_leaves_nothing_locked(pipeline: Pipeline) -> None:
    world = pipeline.world
    pipeline.forge.push("topic", {"docs/a.md": "A.\n"}, "Crash")
    pipeline.fetch()
    change_id = pipeline.change("Crash")["id"]
    while pipeline.change("Crash")["state"] != "checking":
        assert policy_flow.advance(world.rt, change_id) is not None
    with world.rt.database.unit_of_work() as tx:  # a replica claims the work, and dies
        policy_flow._claim(tx, policy_flow.row_of_change(tx, change_id, lock=True))
    assert policy_flow.step(world.rt) is None
    world.clock.advance(minutes=7)
    pipeline.turn()
    assert pipeline.change("Crash")["state"] == "in-review"
    # Work that ends after the change has become another one is thrown away.
    pipeline.forge.push("topic", {"docs/a.md": "B.\n"}, "Later")
    pipeline.fetch()
    later = pipeline.change("Later")["id"]
    while pipeline.change("Later")["state"] != "checking":
        assert policy_flow.advance(world.rt, later) is not None
    with world.rt.database.unit_of_work() as tx:
        claimed = policy_flow._claim(tx, policy_flow.row_of_change(tx, later, lock=True))
    assert claimed is not None
    pipeline.forge.git("push", "--quiet", "origin", ":topic")  # deleted while it is checked
    assert pipeline.fetch()["withdrawn"] == 1
    policy_flow._check(world.rt, later, claimed)
    found = pipeline.change("Later")
    assert (found["state"], found["checks"]) == ("withdrawn", None)


@proves("PC-5")
def test_no_check_goes_on_for_ever(pipeline: Pipeline) -> None:
    world = pipeline.world
    pipeline.forge.push("topic", {"docs/a.md": "A.\n"}, "Deadly")
    pipeline.fetch()
    change_id = pipeline.change("Deadly")["id"]
    while pipeline.change("Deadly")["state"] != "checking":
        policy_flow.advance(world.rt, change_id)
    for _ in range(3):
        with world.rt.database.unit_of_work() as tx:
            policy_flow._claim(tx, policy_flow.row_of_change(tx, change_id, lock=True))
        world.clock.advance(minutes=7)
    pipeline.turn()
    assert "never ended" in pipeline.change("Deadly")["reason"]


@proves("PC-4")
def test_a_conflict_with_what_is_in_force_is_for_people_to_solve(pipeline: Pipeline) -> None:
    world = pipeline.world
    pipeline.forge.push("topic", {"tests/small_test.rego": None}, "Without a test")
    changed = {**rules(), "tests/small_test.rego": rules()["tests/small_test.rego"] + "\n"}
    world.clock.advance(seconds=1)
    policies.apply(world.rt, world.admin, changed, "A leak.", emergency=True)
    pipeline.fetch()
    pipeline.turn()
    found = pipeline.change("Without a test")
    assert found["state"] == "refused"
    assert "tests/small_test.rego" in found["reason"]


@proves("PC-5")
def test_a_change_can_be_proposed_without_git_and_withdrawn(pipeline: Pipeline) -> None:
    world, rt = pipeline.world, pipeline.world.rt
    with pytest.raises(ForbiddenError):
        policy_changes.propose(rt, world.caller("dana"), rules(), "Mine", "")
    with pytest.raises(InvalidInputError) as refused:
        policy_changes.propose(rt, world.admin, rules(), "Nothing", "")
    assert refused.value.code == "nothing-changed"
    files = {**rules(), "docs/a.md": "A.\n"}
    made = policy_changes.propose(rt, world.admin, files, "From a folder", "Why.")
    pipeline.turn()
    with pytest.raises(ForbiddenError):  # whoever proposes does not review
        pipeline.review("admin", "From a folder")
    policy_changes.withdraw(rt, world.admin, made["id"], "Not now.")
    pipeline.turn()
    assert pipeline.change("From a folder")["state"] == "withdrawn"
    with pytest.raises(ConflictError):
        policy_changes.withdraw(rt, world.admin, made["id"], "")


@proves("PC-5")
def test_a_merged_branch_is_the_same_change(pipeline: Pipeline) -> None:
    forge = pipeline.forge
    forge.push("topic", {"docs/a.md": "A.\n"}, "Topic")
    pipeline.fetch()
    pipeline.turn()
    forge.git("checkout", "--quiet", "main")
    forge.git("merge", "--quiet", "--no-ff", "-m", "Merge topic", "topic")
    forge.git("push", "--quiet", "origin", "main", ":topic")
    done = pipeline.fetch()
    assert done["withdrawn"] == 0
    change = pipeline.change("Topic")
    assert (change["branch"], change["state"]) == ("main", "in-review")
    assert list(pipeline.changes()) == ["Topic"]


def test_a_person_of_a_team_cannot_end_what_others_proposed(pipeline: Pipeline) -> None:
    world = pipeline.world
    pipeline.forge.push("topic", {"docs/a.md": "A.\n"}, "Topic")
    pipeline.fetch()
    with pytest.raises(ForbiddenError):
        policy_changes.withdraw(
            world.rt, world.caller("dana"), pipeline.change("Topic")["id"], "No."
        )
