"""Decisions about documents that an external enforcement point brings.

`decide` is for the doors through which points ask: Kubernetes admission, the OPA data API, AuthZEN.
It puts what Charter knows about the subject in the place of what the point claims, asks the same
policy as every decision, and stores and audits the answer like every decision. Points ask
hundreds of times a second, so records that arrive together share a transaction (`GroupCommit`).

The trail names the *point* as the actor, because the point is all that was authenticated. Names of
outsiders and of their things may be personal, so they stand in the event's private part.

Source: Spec PC-2, PC-12; design, rules 3 and 5.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from charter import __version__
from charter.core.access.delegation import (
    effective_permissions,
    effective_tier,
)
from charter.core.access.reach import task_repositories
from charter.core.access.resource import ResourceRef
from charter.core.access.roles import permissions_of, roles_of
from charter.core.access.snapshot import resource_json, subject_json
from charter.core.access.subjects import Agent, Subject
from charter.core.audit.event import ActorRef, AuditEvent
from charter.core.kernel.canonical import canonical_json, digest_of_text, rfc3339
from charter.core.kernel.errors import CharterError
from charter.core.policy.external import (
    MAX_DOCUMENT_BYTES,
    external_document,
    with_true_facts,
)
from charter.core.policy.judge import grant_json
from charter.services.decisions import OUTCOMES, Answer, evaluate, grants_of
from charter.services.enforcement_points import (
    EnforcementPoint,
    check_network,
    live_points,
    refuse_point,
)
from charter.services.policy_point import ActivePolicy
from charter.services.runtime import Runtime
from charter.services.subjects import load_agent, load_human
from charter.services.workspace_records import ref_of
from charter.store import tables as t
from charter.store.group_commit import GroupCommit
from charter.store.unit_of_work import Tx

_MICROSECONDS: Final = 1_000_000
_PLAIN_WORD: Final = re.compile(r"[a-z][a-z0-9-]{0,62}(\.[a-z][a-z0-9-]{0,62}){0,3}")
_UNKNOWN: Final = "unknown"
_NO_PROJECT: Final = "development"  # the environment of a workspace without a project
# An update carries the object before and after, of 1.5 MiB each, and the pods once more.
_LARGEST_OF_KIND: Final = {"kubernetes": 16 * MAX_DOCUMENT_BYTES}


class Ask(NamedTuple):
    """One question of a group; not recorded where nothing depends on the answer.

    `document` may be a function of the policy's data: then it is made under the very policy that
    judges it.
    """

    point: EnforcementPoint
    document: object
    record: bool


@dataclass(frozen=True, slots=True)
class _Made:
    """An answer with what is stored about it."""

    answer: Answer
    ref: ResourceRef
    known: Subject | None
    duration_us: int


def decide(
    rt: Runtime, point: EnforcementPoint, document: object, *, record: bool = True
) -> Answer:
    """The decision on a document of `point`; stored and committed before it is given.

    `record=False` gives it without storing, as a preview does. Raises `InvalidInputError` (code
    `external-document`) for what is no decision document, and `UnavailableError` without a policy.
    """
    answer = decider(rt).submit(Ask(point, document, record))
    if isinstance(answer, CharterError):
        raise answer
    return answer


def decider(rt: Runtime) -> GroupCommit[Ask, Answer | CharterError]:
    """The group commit of this runtime, made at the first question."""
    return rt.group("external-decisions", lambda: GroupCommit(lambda asks: _together(rt, asks)))


def _together(rt: Runtime, asks: Sequence[Ask]) -> list[Answer | CharterError]:
    """The answers to a group, in one transaction; a refusal is one member's and nobody else's."""
    with rt.database.unit_of_work() as tx:
        policy = rt.policy.active(tx)
        live = live_points(tx, [ask.point for ask in asks])
        answers: list[Answer | CharterError] = []
        rows, events = [], []
        for ask, point in zip(asks, live, strict=True):
            try:
                asking = point or refuse_point()
                check_network(tx, policy.data.networks, asking)
                made = _decide(tx, policy, ask._replace(point=asking))
            except CharterError as error:  # nothing was written for it yet
                answers.append(error)
                continue
            answers.append(made.answer)
            if ask.record:
                rows.append(_row(tx, policy, made))
                events.append(_event(tx, ask.point, made))
        tx.insert_all(t.decisions, rows)
        tx.audit(*events)
        return answers


def _decide(tx: Tx, policy: ActivePolicy, ask: Ask) -> _Made:
    given = ask.document(policy.data) if callable(ask.document) else ask.document
    facts, ref, known = facts_of(tx, ask.point, given)
    started = time.perf_counter()
    decision = evaluate(policy, facts)
    duration_us = int((time.perf_counter() - started) * _MICROSECONDS)
    decision_id = tx.new_id("decision") if ask.record else None
    return _Made(Answer(decision, facts, decision_id, policy.digest), ref, known, duration_us)


def facts_of(
    tx: Tx, point: EnforcementPoint, given: object
) -> tuple[dict[str, Any], ResourceRef, Subject | None]:
    """The facts document as `core.policy.judge` reads it, the resource, and the subject if known.

    What Charter knows of subject and resource replaces what the point claims about them.
    """
    document = external_document(
        given,
        point=point.as_policy_sees_it(),
        now=tx.now,
        max_bytes=_LARGEST_OF_KIND.get(point.kind, MAX_DOCUMENT_BYTES),
    )
    known = _subject(tx, document["subject"])
    ref = _resource(tx, document, known)
    _place_facts(tx, point, document["context"], ref)
    if known is not None:
        document["subject"] = with_true_facts(
            document["subject"], _subject_facts(tx, known, ref, document["context"])
        )
    facts = {
        "document": document,
        "subject": None if known is None else subject_json(known),
        "resource": resource_json(ref),
        "quota": None,
        "grants": [] if known is None else [grant_json(grant) for grant in grants_of(tx, known.id)],
        "known_obligations": sorted(point.obligations),
        "enforcement_point": {"id": point.id, "own_agents": point.own_agents},
    }
    return facts, ref, known


def _subject(tx: Tx, claims: Mapping[str, Any]) -> Subject | None:
    """The person or agent that the claims mean, if Charter knows one.

    By id, or for people by handle. Who claims to be an agent is looked for among agents only.
    """
    name = claims.get("id")
    if name is None or ":" in name:  # no id or handle of Charter's has a colon
        return None
    agent = load_agent(tx, name)
    if agent is not None or claims.get("kind") == "agent":
        return agent
    handle = claims.get("handle", name)
    c = t.people.c
    row = tx.one(
        sa.select(c.id)
        .where(sa.or_(c.id == name, c.handle == handle))
        .order_by((c.id == name).desc())
        .limit(1)
    )
    return None if row is None else load_human(tx, row["id"])


def _subject_facts(
    tx: Tx, known: Subject, ref: ResourceRef, context: dict[str, Any]
) -> dict[str, Any]:
    """What Charter knows of the subject, in the words of the decision document."""
    context.pop("task", None)
    if isinstance(known, Agent):
        if known.task is not None:
            context["task"] = {
                "id": known.task.id,
                "state": known.task.state.value,
                "deadline": rfc3339(known.task.deadline),
                "repositories": sorted(task_repositories(known, tx.now)),
            }
        return {
            "kind": "agent",
            "id": known.id,
            "roles": ["agent"],
            "teams": [] if known.team_id is None else [known.team_id],
            "permissions": sorted(effective_permissions(known, ref.chain, tx.now)),
            "tier": effective_tier(known, tx.now).value,
            "sponsor": known.sponsor.id if known.sponsor.active else None,
            "sponsor_roles": sorted(roles_of(known.sponsor.bindings, ref.chain, tx.now)),
            "task": None if known.task is None else known.task.id,
        }
    return {
        "kind": "human",
        "id": known.id,
        "handle": known.handle,
        "roles": sorted(roles_of(known.bindings, ref.chain, tx.now)),
        "teams": sorted(known.teams),
        "permissions": sorted(permissions_of(known.bindings, ref.chain, tx.now)),
    }


def _resource(tx: Tx, document: dict[str, Any], known: Subject | None) -> ResourceRef:
    """The resource as invariants see it; names of teams, projects and owners become ids.

    A workspace that Charter knows has the owner, team and project that it has here, whatever the
    point says.
    """
    part = document["resource"]
    kind, name = part.get("kind", _UNKNOWN), part.get("id")
    if kind == "workspace" and name is not None:
        row = tx.one(sa.select(t.workspaces).where(t.workspaces.c.id == name))
        if row is not None:
            ref = ref_of(row)
            part.update(owner=ref.owner_id, team=ref.team_id, project=ref.project_id)
            return ref
    team = _id_of(tx, t.teams, t.teams.c.name, part.get("team"))
    project = _id_of(tx, t.projects, t.projects.c.name, part.get("project"))
    owner = _id_of(tx, t.people, t.people.c.handle, part.get("owner"))
    part.update({k: v for k, v in (("team", team), ("project", project), ("owner", owner)) if v})
    sponsor = known.sponsor.id if isinstance(known, Agent) else None
    # Something new belongs to whoever asks for it, unless the point names an owner.
    mine = known is not None and name is None and part.get("owner") in (None, known.id)
    return ResourceRef(
        kind=kind,
        id=name,
        owner_id=known.id if known is not None and mine else owner,
        owner_kind=("agent" if isinstance(known, Agent) else "human") if mine else None,
        sponsor_id=sponsor if mine else None,
        team_id=team,
        project_id=project,
        task_id=known.task.id if isinstance(known, Agent) and known.task and mine else None,
    )


def _place_facts(
    tx: Tx, point: EnforcementPoint, context: dict[str, Any], ref: ResourceRef
) -> None:
    """The environment of a project or workspace that Charter knows, whatever the point says.

    It decides how strict rules are. A cluster's objects get none: their authors write the label
    that names the project, and would choose with it.
    """
    if point.kind == "kubernetes":
        context.pop("environment", None)
    elif ref.project_id is not None:
        c = t.projects.c
        row = tx.one(sa.select(c.environment).where(c.id == ref.project_id))
        if row is not None:
            context["environment"] = row["environment"]
    elif ref.kind == "workspace" and ref.owner_kind is not None and ref.id is not None:
        context["environment"] = _NO_PROJECT


def _id_of(tx: Tx, table: sa.Table, named: sa.ColumnElement[str], name: object) -> str | None:
    if not isinstance(name, str) or not name:
        return None
    row = tx.one(
        sa.select(table.c.id)
        .where(sa.or_(table.c.id == name, named == name))
        .order_by((table.c.id == name).desc())
        .limit(1)
    )
    return None if row is None else str(row["id"])


def _row(tx: Tx, policy: ActivePolicy, made: _Made) -> dict[str, Any]:
    """The stored decision, in the same table as every other."""
    answer, document = made.answer, made.answer.facts["document"]
    facts = canonical_json(answer.facts)
    return {
        "id": answer.id,
        "at": tx.now,
        "subject_kind": document["subject"].get("kind", _UNKNOWN),
        "subject_id": document["subject"].get("id", _UNKNOWN),
        "action": document["action"].get("name", _UNKNOWN),
        "resource_kind": made.ref.kind,
        "resource_id": made.ref.id,
        "team_id": made.ref.team_id,
        "effect": answer.decision.effect.value,
        "facts": facts,
        "facts_digest": digest_of_text(facts),
        "result": canonical_json(answer.decision.as_json()),
        "bundle_digest": policy.digest,
        "engine": f"{policy.engine.name} {policy.engine.version}",
        "core_version": __version__,
        "duration_us": made.duration_us,
    }


def _event(tx: Tx, point: EnforcementPoint, made: _Made) -> AuditEvent:
    """The trail's record: opaque ids, plain words; what may be personal goes to the side store."""
    document = made.answer.facts["document"]
    action = document["action"].get("name", _UNKNOWN)
    plain = _PLAIN_WORD.fullmatch(action) is not None
    kind = made.ref.kind
    ours = kind == "workspace" and made.ref.owner_kind is not None and made.ref.id is not None
    return AuditEvent(
        id=tx.new_id("event"),
        at=tx.now,
        actor=ActorRef(kind="enforcement-point", id=point.id, sponsor_id=None, credential_id=None),
        action="enforcement-point.decided",
        resource_kind=kind if _PLAIN_WORD.fullmatch(kind) else "external",
        resource_id=str(made.ref.id) if ours else "external",
        outcome=OUTCOMES[made.answer.decision.effect],
        decision_id=made.answer.id,
        reason_codes=tuple(dict.fromkeys(v.rule for v in made.answer.decision.violations)),
        facts={
            "asked": action if plain else "external",
            "subject": None if made.known is None else made.known.id,
        },
        private={
            "subject": document["subject"].get("id"),
            "action": action,
            "resource": made.ref.id,
        },
    )
