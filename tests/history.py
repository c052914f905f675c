"""A long, varied history of decisions, for replays: real questions, asked again with other moments.

Each kind of question is built once by the services, from people, agents, workspaces and quotas that
exist. What the recorded decisions vary in afterwards is what differs in real life between two
questions of a kind: the moment, names, labels, sizes, and how full the quotas are. Every one is
decided by the code that decides live requests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import cycle, islice, product
from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.permissions import Permission
from charter.core.access.resource import ResourceRef
from charter.core.kernel.canonical import canonical_json, digest, rfc3339
from charter.core.kernel.errors import CharterError
from charter.services import agents, decisions, quotas, workspaces
from charter.services.access import simple
from charter.services.decisions import Question, facts_of
from charter.services.runtime import Caller
from charter.services.workspace_questions import (
    WorkspaceRequest,
    create_question,
    question_about,
    resolve_plan,
)
from charter.store import tables as t
from charter.store.unit_of_work import Tx
from tests.support import World

_BATCH: Final = 500
_ABOUT_A_WORKSPACE: Final = (
    Permission.WORKSPACE_VIEW,
    Permission.WORKSPACE_START,
    Permission.WORKSPACE_STOP,
    Permission.WORKSPACE_EXTEND,
    Permission.WORKSPACE_EXECUTE,
    Permission.WORKSPACE_READ_FILES,
    Permission.WORKSPACE_WRITE_FILES,
    Permission.WORKSPACE_DELETE,
)
_OTHERS: Final = (
    Permission.POLICY_VIEW,
    Permission.POLICY_APPLY,
    Permission.APPROVAL_VIEW,
    Permission.PEOPLE_MANAGE,
    Permission.TEMPLATE_MANAGE,
)
_MIX: Final = (  # of 40 decisions: what is done inside a workspace is asked most often
    (Permission.WORKSPACE_CREATE, 4),
    (Permission.WORKSPACE_START, 3),
    (Permission.WORKSPACE_STOP, 3),
    (Permission.WORKSPACE_EXTEND, 2),
    (Permission.WORKSPACE_DELETE, 2),
    (Permission.WORKSPACE_VIEW, 4),
    (Permission.WORKSPACE_EXECUTE, 9),
    (Permission.WORKSPACE_READ_FILES, 4),
    (Permission.WORKSPACE_WRITE_FILES, 4),
    *((action, 1) for action in _OTHERS),
)


def _suffix(world: World) -> str:
    """What makes names unique when a world gets several histories."""
    return f"{int(world.rt.now().timestamp())}"


def people_of(world: World) -> list[Caller]:
    """The cast, with one agent of dana's in each of two tiers."""
    made = [world.caller(name) for name in ("dana", "otto", "lee", "ria")]
    for tier in ("sandboxed", "read-only"):
        wish = {
            "name": f"agent-{tier}-{_suffix(world)}",
            "task": "Mend it.",
            "repositories": ["git.example.org/api"],
            "tier": tier,
            "minutes": 60,
        }
        answer = agents.create(world.rt, world.caller("dana"), wish)
        world.tokens[tier] = answer["credential"]["token"]
        made.append(world.caller(tier))
    return made


def _creations(world: World, tx: Tx, callers: list[Caller]) -> Iterator[Question]:
    for caller, vcpu, network, why in product(
        callers, (None, 8, 40, 200), ("none", "host"), (None, "Training.")
    ):
        wish = WorkspaceRequest(
            name="box",
            template="python",
            size="agent" if caller.is_agent else "small",
            vcpu=vcpu,
            network=network,
            egress_allowlist=["git.example.org"] if caller.is_agent else None,
            justification=why,
            team="payments",
        )
        try:
            plan = resolve_plan(world.rt, tx, caller, wish)
        except CharterError:
            continue
        yield create_question(world.rt, tx, caller, plan, lock=False)


def _about_workspaces(world: World, tx: Tx, callers: list[Caller]) -> Iterator[Question]:
    for row in tx.all(sa.select(t.workspaces).order_by(t.workspaces.c.id)):
        lines = quotas.lines(tx, quotas.reserved_scopes(tx, row["id"]))
        for caller, action in product(callers, _ABOUT_A_WORKSPACE):
            starts = action is Permission.WORKSPACE_START
            quota = (lines, quotas.missing_amount(tx, row)) if starts else None
            yield question_about(world.rt, tx, caller, row, action, quota=quota)


def kinds(world: World) -> list[tuple[Question, dict[str, Any]]]:
    """Every kind of question with its facts, as often as such questions are asked (`_MIX`)."""
    for who, name in (("dana", "api"), ("otto", "search")):
        wish = WorkspaceRequest(name=f"{name}-{_suffix(world)}", template="python")
        workspaces.create(world.rt, world.caller(who), wish)
    callers = people_of(world)
    with world.rt.database.unit_of_work() as tx:
        found = [*_creations(world, tx, callers), *_about_workspaces(world, tx, callers)]
        found += [
            simple(caller, action, ResourceRef(action.value.partition(".")[0]))
            for caller, action in product(callers, _OTHERS)
        ]
        of_action = {
            action: cycle([q for q in found if q.action is action])
            for action in {question.action for question in found}
        }
        longest = max(sum(q.action is action for q in found) for action in of_action)
        facts = {id(question): facts_of(tx, question) for question in found}
        return [
            (question, facts[id(question)])
            for _ in range(longest)
            for action, often in _MIX
            for question in islice(of_action[action], often)
        ]


def _varied(facts: dict[str, Any], number: int, moment: str) -> dict[str, Any]:
    """The same question at another moment, about another thing of its kind."""
    copy: dict[str, Any] = json.loads(canonical_json(facts))
    document = copy["document"]
    document["context"]["now"] = moment
    resource = document["resource"]
    resource["labels"] = {"cost-centre": f"cc-{number % 97}"}
    if "name" in resource:
        resource["name"] = f"box-{number}"
    spec = resource["spec"]
    if "resources" in spec:
        spec["resources"]["memoryMib"] += 1024 * (number % 7)
    for lines in (copy["quota"], document["context"].get("quota")):
        for line in (lines or {}).get("lines", ()):
            line["used"]["vcpu"] += number % 5
    if "request" in document:
        document["request"]["object"]["spec"] = spec
        document["request"]["object"]["metadata"]["labels"] = resource["labels"]
        document["request"]["object"]["metadata"]["name"] = resource.get("name", "")
    return copy


def record(world: World, count: int) -> None:
    """Store `count` decisions of all kinds, a second apart, ending at the present moment."""
    every = cycle(kinds(world))
    started = world.rt.now() - timedelta(seconds=count)
    for first in range(0, count, _BATCH):
        with world.rt.database.unit_of_work() as tx:
            policy = world.rt.policy.active(tx)
            rows = []
            for number in range(first, min(first + _BATCH, count)):
                tx.now = started + timedelta(seconds=number)
                question, same = next(every)
                facts = _varied(same, number, rfc3339(tx.now))
                decision = decisions.evaluate(policy, facts)
                rows.append(
                    {
                        "id": tx.new_id("decision"),
                        "at": tx.now,
                        "subject_kind": "agent" if question.caller.is_agent else "human",
                        "subject_id": question.caller.id,
                        "action": question.action.value,
                        "resource_kind": question.resource.kind,
                        "resource_id": question.resource.id,
                        "team_id": question.resource.team_id,
                        "effect": decision.effect.value,
                        "facts": canonical_json(facts),
                        "facts_digest": digest(facts),
                        "result": canonical_json(decision.as_json()),
                        "bundle_digest": policy.digest,
                        "engine": f"{policy.engine.name} {policy.engine.version}",
                        "core_version": "test",
                        "duration_us": 1,
                    }
                )
            tx.conn.execute(sa.insert(t.decisions), rows)
