"""Shadowing: what a staged candidate answers to live decisions, and that nothing else notices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from charter.controllers.policy_shadow import ShadowStep
from charter.core.kernel.errors import ForbiddenError
from charter.core.policy.bundle import Bundle
from charter.services import impact, impact_desk, shadow
from charter.store import tables as t
from tests.services.test_impact import ENDLESS, ask, changed, rule
from tests.spec import spec
from tests.support import STARTER, World

CHANGE = "chg_1"


@pytest.fixture
def step() -> Iterator[ShadowStep]:
    made = ShadowStep()
    yield made
    made._kept.close()


def stage(world: World, candidate: Bundle) -> str:
    world.clock.advance(seconds=1)
    with world.rt.database.unit_of_work() as tx:
        impact.keep_candidate(tx, candidate)
        return shadow.start(tx, candidate.digest, change_id=CHANGE)


def shown(world: World) -> dict[str, Any]:
    with world.rt.database.reading() as tx:
        found = shadow.of_change(tx, CHANGE)
    assert found is not None
    return found


def settle(world: World, step: ShadowStep) -> None:
    world.clock.advance(seconds=21)
    for _ in range(10):
        if step(world.rt) is None:
            return
    raise AssertionError("the shadow never came to rest")


@spec("PC-5")
def test_new_decisions_are_put_to_the_candidate_and_differences_kept(
    world: World, step: ShadowStep
) -> None:
    ask(world, "otto", "before", vcpu=2)
    world.clock.advance(seconds=1)
    stage(world, changed("data/limits.json", cpu_without_approval=4))
    world.clock.advance(seconds=1)
    ask(world, "dana", "small", vcpu=2)
    ask(world, "dana", "large", vcpu=6)
    settle(world, step)
    found = shown(world)
    assert (found["state"], found["seen"], found["differing"], found["failed"]) == (
        "active",
        2,
        1,
        0,
    )
    assert found["report"]["tightened"] == 1
    (difference,) = found["differences"]
    assert difference["after"] == "require_approval"
    assert difference["rules"] == ["admission/cpu-needs-approval"]
    with world.rt.database.reading() as tx:
        live = tx.one(
            sa.select(t.decisions.c.effect).where(t.decisions.c.id == difference["decision_id"])
        )
    assert live is not None
    assert live["effect"] in {"allow", "warn"}


@spec("PC-5")
def test_what_was_decided_a_moment_ago_waits_until_its_transaction_must_have_ended(
    world: World, step: ShadowStep
) -> None:
    stage(world, STARTER)
    world.clock.advance(seconds=1)
    ask(world, "dana", "box")
    assert step(world.rt) is None
    settle(world, step)
    assert shown(world)["seen"] == 1


@spec("PC-5")
@pytest.mark.slow
def test_a_candidate_without_measure_ends_its_shadow_and_touches_nothing_live(
    world: World, step: ShadowStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impact_desk, "LIMITS", impact_desk.CULPRIT_LIMITS)
    stage(world, rule("runaway", ENDLESS))
    world.clock.advance(seconds=1)
    ask(world, "dana", "box")
    settle(world, step)
    found = shown(world)
    assert found["state"] == "failed"
    assert "admission/runaway.rego of the candidate cannot decide decision dec_" in found["error"]
    ask(world, "dana", "another")
    with world.rt.database.reading() as tx:
        effects = tx.all(
            sa.select(t.decisions.c.effect).where(
                t.decisions.c.action == "workspace.create",
                t.decisions.c.subject_id == world.caller("dana").id,
            )
        )
    assert {row["effect"] for row in effects} <= {"allow", "warn"}
    assert len(effects) == 2


@spec("PC-5")
def test_a_shadow_goes_on_after_its_controller_died_and_counts_nothing_twice(
    world: World, step: ShadowStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "_PAGE", 2)
    stage(world, changed("data/limits.json", cpu_without_approval=4))
    world.clock.advance(seconds=1)
    for number in range(5):
        ask(world, "dana", f"box-{number}", vcpu=6)
    world.clock.advance(seconds=21)
    assert step(world.rt) is not None

    def dying(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shadow, "_save", dying)
        with pytest.raises(KeyboardInterrupt):
            step(world.rt)
    assert step(world.rt) is None, "the claim holds for two minutes"
    world.clock.advance(seconds=121)
    settle(world, step)
    assert shown(world)["seen"] == 5
    assert shown(world)["report"]["total"] == 5


def test_only_the_newest_differences_are_kept(
    world: World, step: ShadowStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "MOST_KEPT", 3)
    stage(world, changed("data/limits.json", cpu_without_approval=1))
    for number in range(5):
        world.clock.advance(seconds=1)
        ask(world, "dana", f"box-{number}", vcpu=2)
    settle(world, step)
    found = shown(world)
    assert (found["seen"], found["differing"], len(found["differences"])) == (5, 5, 3)


def test_an_ended_shadow_keeps_what_it_found_and_looks_no_further(
    world: World, step: ShadowStep
) -> None:
    stage(world, STARTER)
    with world.rt.database.unit_of_work() as tx:
        shadow.end(tx, CHANGE)
    world.clock.advance(seconds=1)
    ask(world, "dana", "box")
    settle(world, step)
    assert (shown(world)["state"], shown(world)["seen"]) == ("ended", 0)
    found = shadow.list_page(world.rt, world.caller("lee"))
    assert [run["change_id"] for run in found["items"]] == [CHANGE]
    with pytest.raises(ForbiddenError):
        shadow.list_page(world.rt, world.caller("dana"))
