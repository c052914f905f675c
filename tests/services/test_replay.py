"""Replays in worker processes: exact, over many bundles, resumable, and with flat memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from charter.core.audit.event import ActorRef
from charter.core.kernel.errors import ForbiddenError, TooManyError, UnavailableError
from charter.services import policy_bundles, replay
from charter.store import tables as t
from tests.history import record
from tests.spec import spec
from tests.support import BRIEF, STARTER, World


def replayed(world: World, processes: int | None = None) -> dict[str, Any]:
    """All decisions replayed, in as many calls as it takes."""
    total: dict[str, Any] = {"replayed": 0, "differences": 0, "differing": []}
    cursor = None
    while True:
        found = replay.replay(world.rt, world.admin, 100_000, cursor=cursor, processes=processes)
        for name, value in total.items():
            total[name] = value + found[name]
        cursor = found["next"]
        if cursor is None:
            return total


@pytest.mark.slow
@spec("PC-6")
def test_thousands_of_mixed_decisions_come_out_the_same_byte_for_byte(world: World) -> None:
    record(world, 2_100)
    with world.rt.database.reading() as tx:
        effects = {row["effect"] for row in tx.all(sa.select(t.decisions.c.effect).distinct())}
    assert effects == {"allow", "warn", "require_approval", "deny"}
    found = replayed(world, processes=2)
    assert found["replayed"] >= 2_100
    assert (found["differences"], found["differing"]) == (0, [])


@pytest.mark.slow
@spec("PC-6")
def test_each_is_replayed_under_the_bundle_that_made_it(world: World) -> None:
    document = json.loads(STARTER.text("data/limits.json"))
    for limit in (4, 16):
        files = {path: BRIEF.text(path) for path in BRIEF.files}
        files["data/limits.json"] = json.dumps({**document, "cpu_without_approval": limit})
        with world.rt.database.unit_of_work() as tx:
            bundle = BRIEF.with_files({"data/limits.json": files["data/limits.json"]})
            policy_bundles.store_bundle(tx, bundle, loaded_by="test", note_text="")
            policy_bundles.put_in_force(
                world.rt,
                tx,
                bundle.digest,
                kind=policy_bundles.Kind.APPLY,
                by=ActorRef("system", "test"),
                why="",
            )
        world.clock.advance(minutes=30)
        record(world, 40)
    found = replayed(world)
    assert found["differences"] == 0
    with world.rt.database.reading() as tx:
        count = tx.one(sa.select(sa.func.count(t.decisions.c.bundle_digest.distinct()).label("n")))
    assert count is not None
    assert count["n"] == 3


@spec("PC-6")
def test_what_was_changed_afterwards_differs(world: World) -> None:
    record(world, 60)
    with world.rt.database.unit_of_work() as tx:
        ids = [r["id"] for r in tx.all(sa.select(t.decisions.c.id).order_by(t.decisions.c.id))]
        c = t.decisions.c
        tx.update(t.decisions, c.id == ids[-1], result=c.result + " ")
        tx.update(t.decisions, c.id == ids[-2], facts="{}")
        tx.update(t.decisions, c.id == ids[-3], bundle_digest="sha256:gone")
    found = replayed(world)
    assert found["differences"] == 3
    assert {d["id"] for d in found["differing"]} == set(ids[-3:])


def test_a_replay_goes_on_where_an_earlier_one_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(world, 50)
    monkeypatch.setattr(replay, "_PAGE", 7)
    whole = replayed(world)
    seen, cursor, calls = 0, None, 0
    with replay.Replayer(world.rt.database, 1) as replayer:
        while True:
            found = replayer.run(10_000, after=cursor, seconds=0.0001)
            seen, cursor, calls = seen + found.replayed, found.cursor, calls + 1
            assert found.differences == 0
            if found.complete:
                break
    assert seen == whole["replayed"]
    assert calls > 1


def test_a_worker_that_dies_ends_the_replay_with_a_sentence(world: World) -> None:
    record(world, 20)
    with replay.Replayer(world.rt.database, 1) as replayer:
        replayer.run(5)
        os.kill(replayer._slots[0].worker.pid, 9)
        with pytest.raises(UnavailableError, match="ended from outside"):
            replayer.run(20)
    assert replayed(world)["differences"] == 0


def test_one_at_a_time_and_only_for_those_who_may_see_all(world: World) -> None:
    with pytest.raises(ForbiddenError):
        replay.replay(world.rt, world.caller("lee"), 1)
    assert replay._one_at_a_time.acquire(blocking=False)
    try:
        with pytest.raises(TooManyError):
            replayed(world)
    finally:
        replay._one_at_a_time.release()


@pytest.mark.slow
@pytest.mark.timeout(600)
@spec("PC-6")
def test_memory_stays_flat_over_a_long_history(world: World) -> None:
    record(world, 6_000)

    def rss_mib() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    with replay.Replayer(world.rt.database, 2) as replayer:
        replayer.run(2_000, seconds=600)
        before = rss_mib()
        found = replayer.run(6_000, seconds=600)
        assert (found.replayed, found.differences) == (6_000, 0)
        assert rss_mib() - before < 32
