"""How long an approver waits for the inbox, and a sweep takes, with very many open requests.

A database holds 10,000 open requests of four teams and 100,000 grants. `inbox_ms` is the median of
what the portal's page needs: how many wait for me, and the newest fifty of them, for a platform
admin who may vote on all of them. `lead_inbox_ms` is the same for the lead of one team. `sweep_s`
closes the thousand requests that have run out and reminds of a thousand others.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import sqlalchemy as sa

from charter.controllers import expiry
from charter.services import approval_records, approvals, people, workspaces
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from charter.store.embedded import EmbeddedPostgres
from charter.store.migrate import migrate
from charter.store.unit_of_work import Database
from tests.support import World, build_world

OPEN: Final = 10_000
GRANTS: Final = 100_000
DUE: Final = 1_000  # that have run out, and as many to be reminded of
TEAMS: Final = 4
ROUNDS: Final = 30
ROUNDS_QUICK: Final = 10


@contextmanager
def _world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="charter-bench-") as folder:
        server = EmbeddedPostgres(Path(folder) / "pg")
        url = server.start()
        try:
            database = Database(url)
            migrate(database.engine)
            database.close()
            world = build_world(url, Path(folder) / "state")
            world.cast()
            _fill(world)
            yield world
            world.rt.policy.close()
            world.rt.database.close()
        finally:
            server.reset()


def _copies(table: sa.Table, number: int, source: str | None = None, **changed: str) -> str:
    """SQL that inserts copies of a row of `table` or `source`, some columns made from `g`."""
    names = [column.name for column in table.c]
    made = ", ".join(changed.get(name, f"one.{name}") for name in names)
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {made} "  # noqa: S608 — own names
        f"FROM (SELECT * FROM {source or table.name} LIMIT 1) one, generate_series(1, {number}) g"
    )


def _fill(world: World) -> None:
    """Copies of one request and one grant, spread over teams, people and times."""
    rt = world.rt
    for number in range(TEAMS - 2):
        people.create_team(rt, world.admin, f"team-{number}")
    request = WorkspaceRequest("box", "python", vcpu=40)
    first = workspaces.create(rt, world.caller("dana"), request)["approval"]
    assert first is not None
    approvals.approve(rt, world.caller("lee"), first["id"])
    workspaces.create(rt, world.caller("dana"), WorkspaceRequest("more", "python", vcpu=41))
    with rt.database.unit_of_work() as tx:
        run = tx.conn.exec_driver_sql
        run(f"DELETE FROM approval_votes; DELETE FROM grants WHERE approval_id <> '{first['id']}'")  # noqa: S608
        run(f"CREATE TEMP TABLE kept AS SELECT * FROM grants WHERE approval_id = '{first['id']}'")  # noqa: S608
        run("DELETE FROM grants")
        run(f"DELETE FROM approval_addressees WHERE approval_id = '{first['id']}'")  # noqa: S608
        run(f"DELETE FROM approvals WHERE id = '{first['id']}'")  # noqa: S608
        team = "(SELECT id FROM teams ORDER BY id OFFSET mod(g, 4) LIMIT 1)"
        number = "'apr_' || lpad(g::text, 26, '0')"
        late = f"one.deadline - CASE WHEN g <= {DUE} THEN interval '60 hours' ELSE interval '0' END"
        remind = (
            f"one.remind_at - CASE WHEN g > {DUE} AND g <= {2 * DUE} THEN interval '12 hours' "
            "ELSE interval '0' END"
        )
        run(
            _copies(t.approvals, OPEN - 1, id=number, team_id=team, deadline=late, remind_at=remind)
        )
        # Old requests, closed long ago, whose grants still hold or do not.
        closed = "'apo_' || lpad(g::text, 26, '0')"
        run(_copies(t.approvals, GRANTS, id=closed, state="'approved'", closed_at="one.created_at"))
        kept = _copies(
            t.grants,
            GRANTS,
            source="kept",
            id="'grt_' || lpad(g::text, 26, '0')",
            approval_id=closed,
            subject_id="'per_' || lpad(mod(g, 1000)::text, 26, '0')",
        )
        run(kept)
        # Each is put to the approvers that the first one is put to, and would go on to others
        # after the sweep.
        run(
            "INSERT INTO approval_addressees (approval_id, addressee, since, escalation, told_at) "
            "SELECT a.id, word, a.created_at, false, a.created_at "
            "FROM approvals a, unnest(ARRAY['team-lead', 'platform-admin']) word "
            "WHERE a.id LIKE 'ap__%%' ON CONFLICT DO NOTHING"
        )
        run(
            "UPDATE approval_addressees SET open = false FROM approvals "
            "WHERE approvals.id = approval_id AND state <> 'pending'"
        )
        run(
            "INSERT INTO approval_addressees (approval_id, addressee, since, escalation, told_at) "
            "SELECT id, 'security-admin', created_at + interval '60 hours', true, NULL "
            "FROM approvals WHERE state = 'pending' ON CONFLICT DO NOTHING"
        )
    with rt.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("VACUUM ANALYZE")  # as the server does by itself before long


def _median_ms(work: Callable[[], object], rounds: int) -> float:
    work()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(taken), 1)


def run(quick: bool) -> dict[str, Any]:
    """The figures; see the docstring for their names."""
    rounds = ROUNDS_QUICK if quick else ROUNDS
    with _world() as world:
        rt = world.rt

        def inbox(who: str) -> Callable[[], object]:
            caller = world.caller(who)

            def look() -> object:
                with rt.database.reading() as tx:
                    approval_records.count_for(tx, caller)
                return approvals.list_page(rt, caller, for_me=True)

            return look

        admin, lead = _median_ms(inbox("admin"), rounds), _median_ms(inbox("lee"), rounds)
        world.clock.moment += timedelta(hours=13)
        began = time.perf_counter()
        while expiry.step(rt) is not None:
            pass
        sweep = time.perf_counter() - began
        with rt.database.reading() as tx:
            c = t.approvals.c
            count = sa.select(sa.func.count().label("n")).select_from(t.approvals)
            closed = tx.one(count.where(c.state == "expired"))
        return {
            "inbox_ms": admin,
            "lead_inbox_ms": lead,
            "sweep_s": round(sweep, 2),
            "closed": None if closed is None else closed["n"],
        }


def table(result: dict[str, Any]) -> list[tuple[str, str]]:
    """For people."""
    return [
        (f"inbox of an administrator, {OPEN:,} open", f"{result['inbox_ms']} ms"),
        ("inbox of a team lead", f"{result['lead_inbox_ms']} ms"),
        (f"sweep: {result['closed']:,} closed, {DUE:,} reminded of", f"{result['sweep_s']} s"),
    ]


if __name__ == "__main__":
    print(json.dumps(run("--quick" in sys.argv)))
