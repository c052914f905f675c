"""Definitions of agents: made, changed, retired and shown; and the one that an instance runs.

A definition belongs to a team, and whoever may define agents there makes and changes it. Each
change is a version of its own, with who made it and why, so that it can be told later what an
instance of then was allowed. Who sponsors an agent without naming a definition gets one that allows
exactly that one run, to themselves; such an implied one cannot be changed, and is not listed.

Source: Spec ID-6, AG-1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.agents.definitions import Definition
from charter.core.agents.tiers import Tier
from charter.core.kernel.errors import ConflictError
from charter.services import agent_definition_records as records
from charter.services import lookup, paging
from charter.services.access import carry_out, note, simple
from charter.services.decisions import Answer
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_BOUNDS: Final = ("description", "repositories", "tier", "max_session_seconds", "run_by", "team")


# --- reading ------------------------------------------------------------------------------------
def list_page(
    rt: Runtime,
    caller: Caller,
    *,
    state: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Definitions that the caller may see, newest first, without implied ones."""
    d = t.agent_definitions.c
    with rt.database.reading() as tx:
        query = records.query_of(tx.now).where(records.visible(tx, caller), sa.not_(d.implied))
        if state is not None:
            active = records.retired(tx.now).is_(None)
            query = query.where(active if state == "active" else sa.not_(active))
        return paging.newest_first(
            tx, query, d.id, lambda row: records.view(tx, caller, row), cursor, limit
        )


def get(rt: Runtime, caller: Caller, ref: str) -> dict[str, Any]:
    """One definition with all its versions."""
    with rt.database.reading() as tx:
        row = records.find(tx, caller, ref)
        v = t.agent_definition_versions.c
        d = t.agent_definitions.c
        versions = tx.all(
            records.query_of(tx.now, v.version).where(d.id == row["id"]).order_by(v.version.desc())
        )
        return {
            **records.view(tx, caller, row),
            "versions": [_version(tx, version) for version in versions],
        }


def _version(tx: Tx, row: Row) -> dict[str, Any]:
    shown = ("version", "description", "team", "repositories", "tier", "max_session_seconds", "why")
    return {
        **{name: row[name] for name in shown},
        "run_by": records.run_by_names(tx, row["run_by"]),
        "made_by": lookup.subject_name(tx, row["made_by"]),
        "made_at": row["made_at"],
    }


# --- changing -----------------------------------------------------------------------------------
def _ref(team_id: str, definition_id: str | None = None) -> ResourceRef:
    return ResourceRef("agent-definition", id=definition_id, team_id=team_id)


def _facts(name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    wanted = ("tier", "repositories", "max_session_seconds", "run_by")
    return {"name": name, "spec": {key: request.get(key) for key in wanted}}


def define(rt: Runtime, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """A new definition. `request` has the fields of `api.schemas.AgentDefinitionIn`."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        team, _ = lookup.place(tx, caller, request.get("team"), None)
        definition_id = tx.new_id("agent-definition")
        if not tx.insert_new(
            t.agent_definitions,
            id=definition_id,
            name=request["name"],
            implied=False,
            version=1,
            created_by=caller.id,
            created_at=tx.now,
        ):
            raise ConflictError(
                f"There is an agent definition {request['name']} already.",
                fix="Choose another name, or change that one.",
                code="name-taken",
            )
        _write(tx, caller, definition_id, 1, team["id"], request)
        note(
            tx,
            caller,
            "agent.defined",
            "agent-definition",
            definition_id,
            decision_id=answer.id,
            facts={"version": 1, "tier": request["tier"]},
        )
        return records.view(tx, caller, _by_id(tx, definition_id))

    return carry_out(
        rt,
        lambda tx: simple(
            caller,
            Permission.AGENT_DEFINE,
            _ref(lookup.place(tx, caller, request.get("team"), None)[0]["id"]),
            _facts(request["name"], request),
        ),
        act,
    )


def _by_id(tx: Tx, definition_id: str) -> Row:
    row = tx.one(records.query_of(tx.now).where(t.agent_definitions.c.id == definition_id))
    if row is None:
        raise records.no_such(definition_id)
    return row


def _write(
    tx: Tx,
    caller: Caller,
    definition_id: str,
    version: int,
    team_id: str,
    request: Mapping[str, Any],
) -> None:
    tx.insert(
        t.agent_definition_versions,
        definition_id=definition_id,
        version=version,
        description=request.get("description") or "",
        team_id=team_id,
        repositories=list(request["repositories"]),
        tier=Tier(request["tier"]).value,
        max_session_seconds=request.get("max_session_seconds"),
        run_by=records.run_by_ids(tx, request["run_by"]),
        why=request.get("why") or "",
        made_by=caller.id,
        made_at=tx.now,
    )


def change(rt: Runtime, caller: Caller, ref: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """A new version with what `request` names; the rest stays as it is.

    Running instances are narrowed at their next request where the new version is narrower.
    """

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = _changeable(tx, caller, ref)
        before = {**row, "run_by": records.run_by_names(tx, row["run_by"]), "why": ""}
        given = {key: value for key, value in request.items() if value is not None}
        if request.get("unlimited_session"):
            given["max_session_seconds"] = None
        version = row["latest"] + 1
        team_id = row["team_id"]
        if "team" in given:
            team_id = lookup.team(tx, given["team"])["id"]
        _write(tx, caller, row["id"], version, team_id, {**before, **given})
        tx.update(t.agent_definitions, t.agent_definitions.c.id == row["id"], version=version)
        note(
            tx,
            caller,
            "agent.definition-changed",
            "agent-definition",
            row["id"],
            decision_id=answer.id,
            facts={"version": version, "changed": " ".join(sorted(set(given) & set(_BOUNDS)))},
        )
        return records.view(tx, caller, _by_id(tx, row["id"]))

    def question(tx: Tx) -> Any:
        row = records.find(tx, caller, ref)
        asked = simple(
            caller,
            Permission.AGENT_DEFINE,
            _ref(row["team_id"], row["id"]),
            _facts(row["name"], {**row, **request}),
        )
        if request.get("team") is None:
            return asked
        # Whoever hands it to another team must be able to define agents there.
        other = lookup.team(tx, request["team"])["id"]
        return replace(asked, resource=_ref(other, row["id"]))

    if request.get("team") is not None:
        _require_define(rt, caller, ref)
    return carry_out(rt, question, act)


def _require_define(rt: Runtime, caller: Caller, ref: str) -> None:
    """Decide whether the caller may change this definition where it is now."""
    carry_out(
        rt,
        lambda tx: simple(
            caller,
            Permission.AGENT_DEFINE,
            _ref((row := records.find(tx, caller, ref))["team_id"], row["id"]),
        ),
        lambda _tx, _answer: None,
    )


def _changeable(tx: Tx, caller: Caller, ref: str) -> Row:
    row = records.find(tx, caller, ref, lock=True)
    if row["implied"]:
        raise ConflictError(
            "This definition was made for one run, and allows nothing but that one.",
            fix="Make a definition of your own: charter agent define NAME.",
            code="definition-implied",
        )
    if row["retired_at"] is not None:
        raise ConflictError(
            f"The definition {row['name']} is retired.",
            fix="Make a new one: charter agent define NAME.",
            code="definition-retired",
        )
    return row


def retire(rt: Runtime, caller: Caller, ref: str, why: str) -> dict[str, Any]:
    """Nothing new runs of it, and its running instances get no more credentials."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = _changeable(tx, caller, ref)
        tx.update(t.agent_definitions, t.agent_definitions.c.id == row["id"], retired_at=tx.now)
        note(
            tx,
            caller,
            "agent.definition-retired",
            "agent-definition",
            row["id"],
            decision_id=answer.id,
            private={"why": why},
        )
        return records.view(tx, caller, _by_id(tx, row["id"]))

    return carry_out(
        rt,
        lambda tx: simple(
            caller,
            Permission.AGENT_DEFINE,
            _ref((row := records.find(tx, caller, ref))["team_id"], row["id"]),
            {"spec": {"retire": True}},
        ),
        act,
    )


# --- for instances ------------------------------------------------------------------------------
def named(tx: Tx, caller: Caller, ref: str) -> Definition:
    """The definition that somebody wants to run."""
    return records.as_definition(records.find(tx, caller, ref))


def implied(request: Mapping[str, Any], *, team_id: str, person_id: str) -> Definition:
    """The definition of a run that names none: it allows this run, to this person."""
    return Definition(
        id="",
        version=1,
        name=request["name"],
        team_id=team_id,
        repositories=tuple(request["repositories"]),
        tier=Tier(request["tier"]),
        max_session_seconds=None,
        run_by=frozenset({f"person:{person_id}"}),
    )


def keep_implied(tx: Tx, caller: Caller, definition: Definition) -> Definition:
    """Write it down, with an id of its own."""
    made = replace(definition, id=tx.new_id("agent-definition"))
    tx.insert(
        t.agent_definitions,
        id=made.id,
        name=made.name,
        implied=True,
        version=1,
        created_by=caller.id,
        created_at=tx.now,
    )
    tx.insert(
        t.agent_definition_versions,
        definition_id=made.id,
        version=1,
        description="For one task.",
        team_id=made.team_id,
        repositories=list(made.repositories),
        tier=made.tier.value,
        max_session_seconds=None,
        run_by=sorted(made.run_by),
        why="",
        made_by=caller.id,
        made_at=tx.now,
    )
    return made
