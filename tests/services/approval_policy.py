"""Approval rules for one test: the starter's, with a gate's own changed."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from charter.services import policies, workspaces
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.support import BRIEF, World

GATE = "admission/cpu-needs-approval"


def set_rule(world: World, *, delegation: dict[str, int] | None = None, **changed: Any) -> None:
    """Put the gate's rule in force with these entries changed; what is None is left out."""
    files = {path: BRIEF.text(path) for path in BRIEF.files}
    document = json.loads(files["data/approvals.json"])
    rule = {**document["rules"][GATE], **changed}
    document["rules"][GATE] = {k: v for k, v in rule.items() if v is not None or k in _NULLS}
    if delegation is not None:
        document["delegation"] = delegation
    world.clock.advance(seconds=1)
    text = {**files, "data/approvals.json": json.dumps(document)}
    policies.apply(world.rt, world.admin, text, "For a test.")


_NULLS = {"grant_seconds"}


def set_manager(world: World, person: str, manager: str) -> None:
    """Make `manager` the manager of `person`."""
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.people, t.people.c.handle == person, manager_id=world.caller(manager).id)


def ask(world: World, who: str = "dana", name: str = "big", **fields: Any) -> dict[str, Any]:
    """A request for a workspace that needs an approval."""
    wanted = WorkspaceRequest(name, "python", **{"vcpu": 40, **fields})
    made = workspaces.create(world.rt, world.caller(who), wanted)
    assert made["approval"] is not None
    return dict(made["approval"])


def told(world: World, who: str, kind: str = "approval") -> int:
    """How many notices of this kind somebody has."""
    c = t.notices.c
    with world.rt.database.reading() as tx:
        mine = (c.person_id == world.caller(who).id, c.kind == kind)
        return len(tx.all(sa.select(c.id).where(*mine)))
