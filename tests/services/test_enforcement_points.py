"""External enforcement points: their tokens, and decisions about the documents that they bring."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.decision import Effect, Obligation
from charter.core.kernel.errors import ConflictError, InvalidInputError, UnauthenticatedError
from charter.core.policy.judge import judge
from charter.core.policy.result import PolicyOutcome
from charter.services import agents, decisions, enforcement_points, people, replay, workspaces
from charter.services.enforcement_points import EnforcementPoint, authenticate_point
from charter.services.explain import explain
from charter.services.external_decisions import decide
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from charter.store.group_commit import GroupCommit
from tests.policies.documents import base
from tests.spec import spec
from tests.support import World


def point_of(world: World, **settings: Any) -> EnforcementPoint:
    made = enforcement_points.register(
        world.rt, world.admin, kind="opa", name="edge", settings=settings
    )
    return authenticate_point(world.rt, made["token"], "opa")


def asked(subject: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """A stranger's or a known subject's request to create a workspace."""
    document = base("person workspace.create")
    return {**document, "subject": subject, **parts}


def rules_of(answer: decisions.Answer) -> set[str]:
    return {v.rule for v in answer.decision.violations}


# --- tokens -------------------------------------------------------------------------------------
@spec("PC-12")
def test_a_token_lets_its_own_kind_in_and_nobody_else(world: World) -> None:
    made = enforcement_points.register(world.rt, world.admin, kind="opa", name="edge", settings={})
    token = made["token"]
    assert token.startswith("cep_")
    assert authenticate_point(world.rt, token, "opa").name == "edge"
    assert authenticate_point(world.rt, token).id == made["id"]
    refused = (token[:-1] + ("A" if token[-1] != "A" else "B"), "cep_x", "", world.tokens["dana"])
    for wrong in refused:
        with pytest.raises(UnauthenticatedError):
            authenticate_point(world.rt, wrong, "opa")
    with pytest.raises(UnauthenticatedError):
        authenticate_point(world.rt, token, "kubernetes")


def test_a_rotated_token_ends_after_its_grace_period(world: World) -> None:
    old = enforcement_points.register(world.rt, world.admin, kind="opa", name="edge", settings={})[
        "token"
    ]
    new = enforcement_points.rotate(world.rt, world.admin, "edge", 600)["token"]
    assert authenticate_point(world.rt, old).id == authenticate_point(world.rt, new).id
    world.clock.advance(minutes=10)
    with pytest.raises(UnauthenticatedError):
        authenticate_point(world.rt, old)
    newest = enforcement_points.rotate(world.rt, world.admin, "edge", 0)["token"]
    with pytest.raises(UnauthenticatedError):
        authenticate_point(world.rt, new)
    enforcement_points.revoke(world.rt, world.admin, "edge")
    with pytest.raises(UnauthenticatedError):
        authenticate_point(world.rt, newest)
    with pytest.raises(ConflictError):
        enforcement_points.rotate(world.rt, world.admin, "edge", 0)


def test_last_seen_is_written_once_a_minute(world: World) -> None:
    token = enforcement_points.register(
        world.rt, world.admin, kind="opa", name="edge", settings={}
    )["token"]
    seen = []
    for _ in range(3):
        authenticate_point(world.rt, token)
        seen.append(enforcement_points.get(world.rt, world.admin, "edge")["last_seen_at"])
        world.clock.advance(seconds=35)
    assert seen[0] == seen[1]
    assert seen[2] - seen[0] == timedelta(seconds=70)


@pytest.mark.parametrize(
    "settings", [{"nonsense": 1}, {"obligations": "redact"}, {"own_agents": "yes"}]
)
def test_settings_that_nobody_knows_are_refused(world: World, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        enforcement_points.register(
            world.rt, world.admin, kind="opa", name="edge", settings=settings
        )


# --- decisions ----------------------------------------------------------------------------------
@spec("PC-2", "PC-12")
def test_what_charter_knows_replaces_what_the_point_claims(world: World) -> None:
    point, dana = point_of(world), world.caller("dana")
    claims = {"kind": "human", "id": "dana", "roles": ["platform-admin"], "ip": "10.0.0.7"}
    answer = decide(
        world.rt, point, asked(claims, resource={"kind": "workspace", "team": "payments"})
    )
    subject = answer.facts["document"]["subject"]
    assert subject["id"] == dana.id
    assert subject["roles"] == ["developer"]
    assert subject["claimed"] == ["ip"]
    assert answer.facts["subject"]["id"] == dana.id
    assert answer.facts["document"]["context"]["enforcement_point"]["name"] == "edge"
    assert answer.facts["document"]["resource"]["team"] in dana.person.teams


@spec("PC-13")
@pytest.mark.parametrize("claims", [{"kind": "agent", "id": "robot@example.org"}, {"id": "x"}, {}])
def test_a_strangers_decision_is_explained(world: World, claims: dict[str, Any]) -> None:
    answer = decide(world.rt, point_of(world), asked(claims))
    told = explain(world.rt, world.admin, str(answer.id))
    assert claims.get("id", "Somebody without a name") in told["sentence"]


def test_python_refuses_a_known_person_what_their_roles_do_not_give(world: World) -> None:
    answer = decide(world.rt, point_of(world), asked({"kind": "human", "id": "ria"}))
    assert "invariant/permission" in rules_of(answer)
    assert answer.decision.effect is Effect.DENY


def test_a_workspace_that_charter_knows_keeps_its_owner(world: World) -> None:
    made = workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest("api", "python"))
    resource = {"kind": "workspace", "id": made["workspace"]["id"], "owner": "otto"}
    document = asked(
        {"kind": "human", "id": "otto"}, action={"name": "workspace.delete"}, resource=resource
    )
    answer = decide(world.rt, point_of(world), document)
    assert rules_of(answer) >= {"invariant/not-visible"}


@spec("PC-7", "PC-12")
def test_nobody_chooses_the_environment_of_what_charter_knows(world: World) -> None:
    made = people.create_project(
        world.rt,
        world.admin,
        name="ledger",
        team="payments",
        data_class="internal",
        environment="staging",
    )
    dana = {"kind": "human", "id": "dana"}
    context = {"environment": "experimental", "task": {"id": "t", "repositories": ["git/x"]}}
    workspace = workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest("a", "python"))
    point = point_of(world)
    for resource, environment in (
        ({"kind": "workspace", "project": made["id"]}, "staging"),
        ({"kind": "workspace", "project": "ledger"}, "staging"),
        ({"kind": "workspace", "id": workspace["workspace"]["id"]}, "development"),
        ({"kind": "workspace", "project": "elsewhere"}, "experimental"),
    ):
        document = asked(dana, resource=resource, context=context)
        said = decide(world.rt, point, document).facts["document"]["context"]
        assert said["environment"] == environment
        assert "task" not in said


def test_a_stranger_is_judged_by_policy_alone_with_marked_claims(world: World) -> None:
    claims = {"kind": "human", "id": "someone@example.org", "roles": ["developer"], "teams": []}
    answer = decide(world.rt, point_of(world), asked(claims))
    assert answer.facts["subject"] is None
    assert answer.facts["document"]["subject"]["claimed"] == ["roles", "teams"]
    assert not any(rule.startswith("invariant/") for rule in rules_of(answer))


@spec("AG-2")
def test_an_unknown_agent_is_refused_unless_the_point_is_trusted(world: World) -> None:
    claims = {"kind": "agent", "id": "robot-7", "sponsor": "x", "task": "y", "tier": "read-only"}
    answer = decide(world.rt, point_of(world), asked(claims))
    assert "invariant/unknown-agent" in rules_of(answer)
    trusted = enforcement_points.register(
        world.rt, world.admin, kind="opa", name="trusted", settings={"own_agents": True}
    )
    point = authenticate_point(world.rt, trusted["token"])
    assert "invariant/unknown-agent" not in rules_of(decide(world.rt, point, asked(claims)))


def test_an_agent_is_bound_by_its_sponsor_and_may_not_pose_as_a_person(world: World) -> None:
    dana = world.caller("dana")
    made = agents.create(
        world.rt,
        dana,
        {
            "name": "fixer", "task": "Mend it.", "repositories": ["git/a"], "tier": "read-only",
            "team": None, "project": None, "minutes": 60, "justification": None,
        },
    )  # fmt: skip
    agent_id = made["agent"]["id"]
    point = point_of(world)
    document = asked(
        {"kind": "human", "id": agent_id},
        action={"name": "policy.apply"},
        resource={"kind": "policy"},
    )
    answer = decide(world.rt, point, document)
    assert answer.facts["document"]["subject"]["kind"] == "agent"
    assert answer.facts["document"]["subject"]["sponsor"] == dana.id
    assert "invariant/permission" in rules_of(answer)
    posing = decide(world.rt, point, asked({"kind": "agent", "id": "dana"}))
    assert "invariant/unknown-agent" in rules_of(posing)
    other = decide(
        world.rt, point, asked({"kind": "agent", "id": agent_id}, action={"name": "rocket.launch"})
    )
    assert "invariant/permission" in rules_of(other)


def test_silence_is_no_consent(world: World) -> None:
    point = point_of(world)
    for document in ({}, {"subject": {"id": "dana"}}, {"action": {"name": "workspace.create"}}):
        answer = decide(world.rt, point, document)
        assert "invariant/incomplete-request" in rules_of(answer)
        assert not answer.decision.allowed


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"subject": "dana"},
        {"context": {"x": float("nan")}},
        {"context": {"x": 2**60}},
        {"context": {"x": "\ud800"}},
        {"context": {"x\x00": 1}},
        {"context": {"x": "a" * 1_100_000}},
        {"context": json.loads("[" * 70 + "]" * 70)},
        {"action": {"name": 7}},
        {"subject": {"id": "x" * 300}},
    ],
)
def test_what_is_no_document_is_refused(world: World, document: Any) -> None:
    with pytest.raises(InvalidInputError) as refused:
        decide(world.rt, point_of(world), document)
    assert refused.value.code == "external-document"


def test_the_caller_sets_neither_time_nor_point(world: World) -> None:
    document = asked(
        {"kind": "human", "id": "dana"},
        context={"now": "1999-01-01T00:00:00Z", "enforcement_point": {"id": "forged"}},
    )
    context = decide(world.rt, point_of(world), document).facts["document"]["context"]
    assert context["now"].startswith("2026-03-02T09:00")
    assert context["enforcement_point"]["name"] == "edge"


@spec("PC-6", "AU-3")
def test_external_decisions_replay_exactly_and_name_nobody_in_the_trail(world: World) -> None:
    point = point_of(world)
    for subject in ("dana", "ria", "nobody@example.org"):
        decide(world.rt, point, asked({"kind": "human", "id": subject, "roles": []}))
    report = replay.replay(world.rt, world.admin, 100)
    assert report["replayed"] >= 3
    assert report["differences"] == 0
    with world.rt.database.reading() as tx:
        leaves = tx.all(sa.select(t.audit_pending.c.leaf))
        stored = tx.all(
            sa.select(t.decisions.c.id).where(t.decisions.c.subject_id == "nobody@example.org")
        )
    events = [json.loads(row["leaf"]) for row in leaves]
    ours = [e for e in events if e["action"] == "enforcement-point.decided"]
    assert len(ours) == 3
    assert len(stored) == 1
    assert all(e["actor"]["id"] == point.id and e["private"] for e in ours)
    assert not any("nobody@" in bytes(row["leaf"]).decode() for row in leaves)


def test_a_preview_is_not_stored(world: World) -> None:
    point = point_of(world)
    with world.rt.database.reading() as tx:
        before = tx.conn.execute(sa.select(sa.func.count()).select_from(t.decisions)).scalar_one()
    assert decide(world.rt, point, asked({"id": "dana"}), record=False).id is None
    with world.rt.database.reading() as tx:
        after = tx.conn.execute(sa.select(sa.func.count()).select_from(t.decisions)).scalar_one()
    assert after == before


def test_many_at_once_share_commits_and_each_gets_its_own_answer(world: World) -> None:
    point = point_of(world)
    names = [f"person-{number}" for number in range(60)]

    def one(name: str) -> decisions.Answer:
        return decide(world.rt, point, asked({"kind": "human", "id": name, "roles": []}))

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(one, names))
    assert [a.facts["document"]["subject"]["id"] for a in answers] == names
    assert len({a.id for a in answers}) == len(names)
    with world.rt.database.reading() as tx:
        kept = tx.all(sa.select(t.decisions.c.id).where(t.decisions.c.subject_id.in_(names)))
    assert {row["id"] for row in kept} == {a.id for a in answers}


def test_one_bad_member_of_a_group_fails_alone() -> None:
    arrived, sizes = threading.Barrier(5), []

    def work(items: Any) -> list[int]:
        sizes.append(len(items))
        if len(items) == 1 and not sizes[1:]:
            arrived.wait(10)  # until the others wait behind the first one
        if "bad" in items:
            raise ValueError("bad")
        return [len(item) for item in items]

    group: GroupCommit[str, int] = GroupCommit(work)

    def follow(item: str) -> int:
        arrived.wait(10)
        return group.submit(item)

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(group.submit, "a")
        rest = [pool.submit(follow, item) for item in ("bb", "bad", "ccc", "dddd")]
        assert first.result(10) == 1
        with pytest.raises(ValueError, match="bad"):
            rest[1].result(10)
        assert [rest[i].result(10) for i in (0, 2, 3)] == [2, 3, 4]


def test_an_obligation_that_the_point_did_not_declare_is_a_no(world: World) -> None:
    outcome = PolicyOutcome((), (Obligation("redact", {}),), (), 1)
    answer = decide(world.rt, point_of(world), asked({"id": "dana"}), record=False)
    refused = judge(json.loads(canonical_json(answer.facts)), outcome)
    assert "invariant/unknown-obligation" in {v.rule for v in refused.violations}
    made = enforcement_points.register(
        world.rt, world.admin, kind="opa", name="redacts", settings={"obligations": ["redact"]}
    )
    able = authenticate_point(world.rt, made["token"])
    facts = decide(world.rt, able, asked({"id": "dana"}), record=False).facts
    assert facts["known_obligations"] == ["redact"]
    assert "invariant/unknown-obligation" not in {v.rule for v in judge(facts, outcome).violations}
