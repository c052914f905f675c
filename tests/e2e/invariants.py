"""What has to be true of an instance at rest, whatever was killed before."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from charter.adapters.workspaces.port import SandboxState
from charter.audit_verify import verify
from charter.core.resources.amounts import DIMENSIONS
from charter.core.resources.quotas import quota_scopes
from charter.store import tables as t
from tests.adapters.workspaces.support import walls_of
from tests.e2e.instance import Client, Instance, NeverHappenedError, until
from tests.e2e.workload import Ledger

_SETTLE_SECONDS = 120.0
_KEPT_WHEN_STOPPED = ("disk_mib", "workspaces")


class Books:
    """Reads the database behind the API's back; a killed server costs it nothing but a retry."""

    def __init__(self, instance: Instance) -> None:
        self._url = instance.postgres().url

    def all(self, query: sa.Executable) -> list[sa.RowMapping]:
        engine = sa.create_engine(self._url, poolclass=sa.NullPool)
        with engine.connect() as conn:
            return list(conn.execute(query).mappings().all())


def settle(instance: Instance, ledger: Ledger) -> None:
    """Wait until nothing is left to be done."""
    books = Books(instance)
    left: list[str] = []

    def rest() -> bool:
        try:
            left[:] = list(_unfinished(instance, books, ledger))
        except sa.exc.OperationalError as error:
            left[:] = [f"the database does not answer: {error}"]
        return not left

    try:
        until(rest, "rest", _SETTLE_SECONDS)
    except NeverHappenedError as error:
        raise AssertionError(f"{error}:\n" + "\n".join(left) + f"\n{instance.logs()}") from error


def unfinished(instance: Instance, ledger: Ledger) -> str:
    """What is left to be done, in sentences, for a failure."""
    try:
        return "\n".join(_unfinished(instance, Books(instance), ledger))
    except sa.exc.OperationalError as error:
        return f"the database does not answer: {error}"


def _unfinished(instance: Instance, books: Books, ledger: Ledger) -> Iterable[str]:
    for row in books.all(sa.select(t.outbox).where(t.outbox.c.done_at.is_(None))):
        yield f"the outbox holds {dict(row)}"
    if pending := books.all(sa.select(t.audit_pending.c.event_id)):
        yield f"{len(pending)} events are not sealed"
    running = set()
    for row in books.all(sa.select(t.workspaces)):
        wanted = ledger.wanted.get(row["id"], row["desired"])
        settled = row["observed_generation"] == row["generation"]
        if not settled or row["desired"] != wanted or row["observed"] != wanted:
            yield (
                f"{row['name']} is {row['observed']} ({row['state_reason']}), desired "
                f"{row['desired']}, wanted {wanted}, generation {row['generation']}, "
                f"seen {row['observed_generation']}"
            )
        if row["desired"] == "running":
            running.add(row["id"])
    seen = instance.provider().observe_all()
    runs = {found.workspace_id for found in seen if found.state is SandboxState.RUNNING}
    if runs != running:
        yield f"running only on the provider: {runs - running}, only decided: {running - runs}"


def check(instance: Instance, ledger: Ledger) -> None:
    """Quotas, workspaces, sandboxes and homes agree with each other and with the ledger."""
    books = Books(instance)
    rows = {row["id"]: row for row in books.all(sa.select(t.workspaces))}
    _check_quotas(books, rows.values())
    assert set(rows) == set(ledger.wanted), "a workspace was lost or doubled"
    assert {i: row["name"] for i, row in rows.items()} == ledger.names
    states = {i: row["desired"] for i, row in rows.items()}
    assert states == ledger.wanted
    running = {i for i, state in states.items() if state == "running"}
    assert holders_by_workspace(instance) == dict.fromkeys(running, 1)
    walls = {i: len(walls_of(instance.provider(), i)) for i in rows}
    assert walls == {i: int(i in running) for i in rows}
    assert len(walls_of(instance.provider())) == len(running)
    homes = {path.name for path in (instance.state / "workspaces").glob("ws_*")}
    kept = {i for i, state in states.items() if state != "deleted"}
    assert not homes - kept, "a deleted workspace left its home"
    # One that was stopped before its first start never had a home.
    assert not {i for i in kept if rows[i]["started_at"] is not None} - homes, "a home is lost"


def _check_quotas(books: Books, workspaces: Iterable[sa.RowMapping]) -> None:
    used = {
        row["scope"]: {d: row[f"{d}_used"] for d in DIMENSIONS}
        for row in books.all(sa.select(t.quotas))
    }
    reserved = {scope: dict.fromkeys(DIMENSIONS, 0) for scope in used}
    for row in books.all(sa.select(t.reservations)):
        for d in DIMENSIONS:
            reserved[row["scope"]][d] += row[d]
    due = {scope: dict.fromkeys(DIMENSIONS, 0) for scope in used}
    for row in workspaces:
        if row["desired"] == "deleted":
            continue
        scopes = quota_scopes(
            owner_kind=row["owner_kind"],
            owner_id=row["owner_id"],
            sponsor_id=row["sponsor_id"],
            team_id=row["team_id"],
            project_id=row["project_id"],
        )
        for scope in scopes:
            for d in DIMENSIONS:
                if row["desired"] == "running" or d in _KEPT_WHEN_STOPPED:
                    due[scope][d] += 1 if d == "workspaces" else row[d]
    assert used == reserved, "the quotas differ from the reservations"
    assert used == due, "the quotas differ from what the workspaces hold"


def holders_by_workspace(instance: Instance) -> dict[str, int]:
    """How many processes keep each workspace's holder lock open, by the kernel's word."""
    root = str((instance.state / "workspaces").resolve()) + "/"
    found: Counter[str] = Counter()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        locks = set()
        try:
            for number in os.listdir(process / "fd"):  # noqa: PTH208 - a hot path
                target = os.readlink(f"{process}/fd/{number}")  # noqa: PTH115 - a hot path
                if target.startswith(root) and target.endswith("/holder.lock"):
                    locks.add(target.removeprefix(root).partition("/")[0])
        except OSError:  # it has ended meanwhile
            continue
        found.update(locks)
    return dict(found)


def check_trail(
    instance: Instance, admin: Client, ledger: Ledger, previous: Path | None, number: int
) -> Path:
    """Every acknowledged action has its event, and the exported trail verifies; a checkpoint."""
    books = Books(instance)
    wanted = [row for row in ledger.events.items() if row[1]]
    columns = t.audit_log.c
    seen: Counter[tuple[str, str]] = Counter()
    for row in books.all(sa.select(columns.action, columns.resource)):
        seen[row["action"], row["resource"].rpartition(":")[2]] += 1
    missing = [(key, count, seen[key]) for key, count in wanted if seen[key] != count]
    assert not missing, f"(action, resource), acknowledged, in the trail: {missing}"
    stored = {row["id"] for row in books.all(sa.select(t.decisions.c.id))}
    assert ledger.decisions <= stored, "an acknowledged decision is not stored"
    state = admin.ok("GET", "/audit/state")
    target = instance.folder / f"audit-{number}.zip"
    instance.charter("audit", "export", "--output", str(target), token=admin.token)
    note = None if previous is None else previous.read_text()
    report = verify(target, trusted_key=state["verifier_key"], previous_checkpoint=note)
    assert report.ok, report.sentences()
    kept = instance.folder / f"checkpoint-{number}"
    kept.write_text(state["checkpoint"])
    return kept


def check_replay(admin: Client) -> int:
    """Every stored decision comes out the same again; how many there are."""
    found: dict[str, Any] = admin.ok("POST", "/decisions/replay", {"limit": 100_000})
    assert found["differences"] == 0, found["differing"]
    return int(found["replayed"])
