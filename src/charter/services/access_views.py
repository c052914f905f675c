"""Who may do what, and why: one question taken apart, and the matrix of roles and permissions.

Both show what decides, and decide nothing themselves: the steps of `why` are those of
`core.access.why`, its reasons are the invariants and the rules of the bundle in force, and a cell
of the matrix says how far the role's permission reaches and which rules can speak against it.

Source: Spec ID-2, ID-7.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access import why as core
from charter.core.access.invariants import invariants, visible
from charter.core.access.permissions import READS, Permission
from charter.core.access.reach import reach_set
from charter.core.access.resource import ResourceRef
from charter.core.access.roles import RoleName, ScopeKind
from charter.core.access.subjects import Agent, Human, Subject
from charter.core.kernel.decision import Effect, Violation
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.bundle import Bundle
from charter.services import agent_records, custom_roles, decisions, lookup, workspace_records
from charter.services.access import missing
from charter.services.decisions import Question
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_agent, load_human
from charter.store import tables as t
from charter.store.unit_of_work import Tx

_INCOMPLETE: Final = "admission/missing-facts"
_DEPENDS: Final = "depends"
_WAIT_SECONDS: Final = 10.0
_OWNED: Final = frozenset({"workspace", "agent", "task", "approval", "token", "code", "pipeline"})
_EFFECTS: Final = ("deny", "require_approval")
Json = dict[str, Any]


# --- one question -------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Aim:
    """What is asked about: `kind` or `kind:name`, and for something new where it would be."""

    resource: str | None = None
    team: str | None = None
    project: str | None = None


def why(rt: Runtime, caller: Caller, *, subject: str, action: str, aim: Aim) -> Json:
    """Whether `subject` may do `action` now, with everything that was looked at.

    About oneself, one's agents, and the people whom the caller may see. Nothing is stored: a
    question is no request.
    """
    permission = _permission(action)
    with rt.database.reading() as tx:
        who = _subject(tx, caller, subject)
        ref = _resource(tx, caller, who, permission, aim)
        against = invariants(who, permission, ref, tx.now)
        steps = core.steps(who, permission, ref, tx.now)
        effect, rules, note = _policy(rt, tx, who, permission, ref)
        names = _scope_names(tx, steps)
        return {
            "subject": {"kind": _kind(who), "id": who.id, "name": _name(tx, who)},
            "action": permission.value,
            "resource": {
                "kind": ref.kind,
                "id": ref.id,
                "owner": ref.owner_id,
                "team": ref.team_id,
                "project": ref.project_id,
            },
            "effect": Effect.DENY.value if against else effect,
            "steps": [
                {
                    "of": step.of,
                    "text": step.text,
                    "holds": step.holds,
                    "scope": None
                    if step.scope_kind is None
                    else names.get((step.scope_kind, step.scope_id), step.scope_kind),
                }
                for step in steps
            ],
            "reasons": [
                {"rule": v.rule, "effect": v.effect.value, "message": v.message, "fix": v.fix}
                for v in (*against, *rules)
            ],
            "note": None if against else note,
        }


def _permission(action: str) -> Permission:
    try:
        return Permission(action)
    except ValueError:
        near = difflib.get_close_matches(action, list(Permission), n=3, cutoff=0.5)
        raise InvalidInputError(
            f"There is no action {action!r}.",
            fix=f"Did you mean {' or '.join(near)}?"
            if near
            else "charter access matrix lists every action.",
            code="action-unknown",
        ) from None


def _kind(subject: Subject) -> str:
    return "agent" if isinstance(subject, Agent) else "human"


def _name(tx: Tx, subject: Subject) -> str:
    if isinstance(subject, Human):
        return subject.handle
    return lookup.subject_names(tx, [subject.id]).get(subject.id, subject.id)


def _subject(tx: Tx, caller: Caller, ref: str) -> Subject:
    """The person or agent, if the caller may see them."""
    if ref in ("me", caller.id):
        return caller.subject
    c = t.people.c
    row = tx.one(
        sa.select(c.id)
        .where(sa.or_(c.id == ref, c.handle == ref))
        .order_by((c.id == ref).desc())
        .limit(1)
    )
    human = None if row is None else load_human(tx, row["id"])
    if human is not None and _may_see(tx, caller, human):
        return human
    agent_id = agent_records.find(tx, caller, ref)
    agent = load_agent(tx, agent_id)
    if agent is None or not visible(caller.subject, _agent_ref(tx, agent_id), tx.now):
        raise missing("person or agent")
    return agent


def _may_see(tx: Tx, caller: Caller, human: Human) -> bool:
    if human.id == caller.id:
        return True
    reach = reach_set(caller.subject, Permission.PEOPLE_VIEW, tx.now)
    return reach.everything or bool(human.teams & reach.teams)


def _agent_ref(tx: Tx, agent_id: str) -> ResourceRef:
    row = tx.one(sa.select(t.agents).where(t.agents.c.id == agent_id))
    if row is None:
        raise missing("agent")
    return agent_records.ref_of(row)


def _resource(tx: Tx, caller: Caller, who: Subject, action: Permission, aim: Aim) -> ResourceRef:
    """The thing that is meant; something new or a whole collection where none is named."""
    kind, _, name = (aim.resource or action.value.partition(".")[0]).partition(":")
    if not name:
        return _unnamed(tx, who, action, kind, aim)
    found = _named(tx, caller, kind, name)
    if not visible(caller.subject, found, tx.now):
        raise missing(kind)
    return found


def _unnamed(tx: Tx, who: Subject, action: Permission, kind: str, aim: Aim) -> ResourceRef:
    """All of a kind for who looks; for who acts, something of their own where they are at home."""
    found = None if aim.project is None else lookup.project(tx, aim.project)
    team, project = (None, None) if found is None else (found["team_id"], found["id"])
    if aim.team is not None:
        team = lookup.team(tx, aim.team)["id"]
    if action in READS:
        return ResourceRef(kind, team_id=team, project_id=project)
    homes = {who.team_id} if isinstance(who, Agent) else who.teams
    if team is None and len(homes) == 1 and kind in _OWNED:
        [team] = homes
    return ResourceRef(
        kind,
        owner_id=who.id if kind in _OWNED else None,
        owner_kind=_kind(who) if kind in _OWNED else None,
        sponsor_id=who.sponsor.id if kind in _OWNED and isinstance(who, Agent) else None,
        team_id=team,
        project_id=project,
        task_id=who.task.id if isinstance(who, Agent) and who.task else None,
    )


def _named(tx: Tx, caller: Caller, kind: str, name: str) -> ResourceRef:
    match kind:
        case "workspace":
            return workspace_records.ref_of(workspace_records.find(tx, caller, name))
        case "agent":
            return _agent_ref(tx, agent_records.find(tx, caller, name))
        case "team":
            team = lookup.team(tx, name)["id"]
            return ResourceRef("team", team, team_id=team)
        case "project":
            project = lookup.project(tx, name)
            return ResourceRef(
                "project", project["id"], team_id=project["team_id"], project_id=project["id"]
            )
        case "person":
            return ResourceRef("person", lookup.person(tx, name)["id"])
    raise InvalidInputError(
        f"{kind!r} is no kind of thing that can be named here.",
        fix="Name workspace:NAME, agent:NAME, team:NAME, project:NAME or person:HANDLE.",
        code="resource-kind",
    )


def _policy(
    rt: Runtime, tx: Tx, who: Subject, action: Permission, ref: ResourceRef
) -> tuple[str, tuple[Violation, ...], str | None]:
    """The effect, reasons and a note of the rules in force about the bare request."""
    caller = Caller(who, "agent" if isinstance(who, Agent) else "why", "none", networks="not-asked")
    question = Question(caller, action, ref, {}, {}, grants=decisions.grants_of(tx, who.id))
    decision = decisions.preview(rt, tx, question).decision
    spoken = tuple(v for v in decision.violations if not v.rule.startswith("invariant/"))
    if any(v.rule == _INCOMPLETE for v in spoken):
        note = (
            "What the rules say depends on the request itself, which is not part of this question:"
            " ask with a preview, or charter explain the decision."
        )
        return _DEPENDS, (), note
    return decision.effect.value, spoken, None


def _scope_names(tx: Tx, steps: tuple[core.Step, ...]) -> Mapping[tuple[str, str | None], str]:
    names: dict[tuple[str, str | None], str] = {}
    for kind, table in ((ScopeKind.TEAM, t.teams), (ScopeKind.PROJECT, t.projects)):
        wanted = {step.scope_id for step in steps if step.scope_kind == kind}
        if wanted:
            rows = tx.all(sa.select(table.c.id, table.c.name).where(table.c.id.in_(wanted)))
            names |= {(kind.value, row["id"]): f"{kind} {row['name']}" for row in rows}
    return names


# --- the matrix -----------------------------------------------------------------------------------
def matrix(rt: Runtime, caller: Caller) -> Json:
    """Every action and role: whether it is denied, allowed, needs approval, or rules may refuse it.

    `rules` are those that can speak about this action and not about every action.
    """
    del caller
    with rt.database.reading() as tx:
        policy = rt.policy.active(tx)
        own = custom_roles.all_of(tx)
    speaking = _speaking(rt, policy.bundle)
    rows: dict[Permission, Json] = {}
    for cell in core.matrix(own):
        row = rows.setdefault(cell.permission, {"action": cell.permission.value, "roles": {}})
        rules = speaking[cell.permission, "agent" if cell.role == RoleName.AGENT else "human"]
        row["roles"][cell.role] = _cell(cell, rules)
    return {
        "bundle": policy.digest,
        "roles": [*(r.value for r in RoleName), *(role.name for role in own)],
        "items": [*rows.values()],
    }


def _cell(cell: core.MatrixCell, rules: frozenset[tuple[str, str]]) -> Json:
    if cell.reach is None:
        return {"effect": "deny", "reach": None, "rules": []}
    effects = {effect for _, effect in rules}
    if "require_approval" in effects:
        effect = "approval"
    else:
        effect = "policy" if "deny" in effects else "allow"
    return {
        "effect": effect,
        "reach": cell.reach.value,
        "rules": sorted({rule for rule, kind in rules if kind in _EFFECTS}),
    }


_Speaking = dict[tuple[Permission, str], frozenset[tuple[str, str]]]


def _speaking(rt: Runtime, bundle: Bundle) -> _Speaking:
    """For each action and kind of subject the rules that are about it, and not about everything."""
    asked = [(action, kind) for action in Permission for kind in ("human", "agent")]
    with rt.policy.workers.use(bundle, wait_seconds=_WAIT_SECONDS) as worker:
        answers = worker.call("speaking", [[action.value, kind] for action, kind in asked])
    found = {
        each: frozenset((rule, effect) for rule, effect in answer)
        for each, answer in zip(asked, answers, strict=True)
    }
    general = {
        kind: frozenset.intersection(*(found[action, kind] for action in Permission))
        for kind in ("human", "agent")
    }
    return {each: rules - general[each[1]] for each, rules in found.items()}
