"""Production just in time: who gets in, with what, how long, and who never does."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from charter.core.access.subjects import SessionFacts
from charter.core.kernel.errors import (
    CharterError,
    ForbiddenError,
    InvalidInputError,
    UnauthenticatedError,
)
from charter.services import (
    agents,
    approvals,
    enforcement_points,
    identity,
    people,
    production,
    production_door,
    roles,
)
from charter.services.enforcement_points import EnforcementPoint, authenticate_point
from charter.services.runtime import Caller
from charter.store import tables as t
from tests.spec import spec
from tests.support import World

WHY = "Incident 4711: payments are booked twice."


@pytest.fixture
def world(world: World) -> World:
    for name, team, environment in (
        ("ledger", "payments", "production"),
        ("mailer", "payments", "production"),
        ("sandbox", "payments", "development"),
        ("crawler", "search", "production"),
    ):
        people.create_project(
            world.rt, world.admin, name=name, team=team, data_class="internal",
            environment=environment,
        )  # fmt: skip
    return world


def strong(world: World, who: str = "dana") -> Caller:
    """The person in a session that has just been opened with a second factor."""
    caller = world.caller(who)
    facts = SessionFacts("ses_1", "passkey", world.clock.moment, mfa=True, has_passkey=True)
    return dataclasses.replace(
        caller, subject=dataclasses.replace(caller.person, session=facts), via="session"
    )


def ask(world: World, caller: Caller | None = None, **fields: Any) -> Any:
    asked = {"project": "ledger", "minutes": 60, "reason": WHY, **fields}
    return production.request(world.rt, caller or strong(world), **asked)


def approved(world: World, **fields: Any) -> str:
    asked = ask(world, **fields)["approval"]["id"]
    done = approvals.approve(world.rt, strong(world, "sam"), asked)
    assert done["state"] == "approved", done
    return str(done["result_id"])


def taken(world: World, **fields: Any) -> tuple[str, str]:
    access = approved(world, **fields)
    return access, production.take_token(world.rt, strong(world), access)["token"]


def door(world: World, name: str = "bastion", **settings: Any) -> EnforcementPoint:
    made = enforcement_points.register(
        world.rt, world.admin, kind="authzen", name=name, settings=settings
    )
    return authenticate_point(world.rt, made["token"])


def opens(world: World, point: EnforcementPoint, token: str, project: str | None = None) -> bool:
    return bool(production_door.introspect(world.rt, point, token, project)["active"])


def events(world: World, action: str) -> list[str]:
    with world.rt.database.reading() as tx:
        leaves = [bytes(row["leaf"]).decode() for row in tx.all(sa.select(t.audit_pending))]
    return [leaf for leaf in leaves if f'"{action}"' in leaf]


def code(attempt: Any) -> str:
    try:
        attempt()
    except CharterError as refused:
        return refused.code
    return "done"


def rules(refused: pytest.ExceptionInfo[ForbiddenError]) -> set[str]:
    return {v["rule"] for v in refused.value.details["decision"]["violations"]}


@spec("AP-3")
def test_from_the_request_to_the_door_and_every_use_on_record(world: World) -> None:
    asked = ask(world, ticket="OPS-4711")
    assert asked["access"] is None
    [needed] = asked["approval"]["requirements"]
    assert needed["rule"] == "production/needs-approval"
    access, token = taken(world)
    point = door(world)
    found = production_door.introspect(world.rt, point, token, "ledger")
    assert found["active"] is True
    assert found["username"] == "dana"
    assert (found["aud"], found["environment"], found["jti"]) == ("ledger", "production", access)
    assert found["exp"] - found["iat"] == 3600
    assert opens(world, point, token, "ledger")
    shown = production.get(world.rt, world.caller("dana"), access)
    assert (shown["state"], shown["uses"], shown["last_used_where"]) == ("active", 2, "bastion")
    assert len(events(world, "production.used")) == 2
    assert all(point.id in leaf for leaf in events(world, "production.used"))
    with world.rt.database.reading() as tx:
        kept = tx.one(sa.select(t.production_accesses.c.secret_hash))
    assert kept is not None
    assert token.encode() not in bytes(kept["secret_hash"])


@spec("AP-3", "ID-8")
def test_it_ends_at_its_expiry_and_a_replay_is_on_record(world: World) -> None:
    _, token = taken(world, minutes=30)
    point = door(world, projects=["ledger"])
    assert opens(world, point, token)
    world.clock.advance(minutes=30)
    assert not opens(world, point, token)
    [refused] = events(world, "production.refused")
    assert "production/expired" in refused


@spec("AP-3")
def test_it_never_lasts_longer_than_the_yes(world: World) -> None:
    access = approved(world, minutes=240)
    world.clock.advance(hours=3)
    made = production.take_token(world.rt, strong(world), access)
    assert (made["expires_at"] - world.clock.moment).total_seconds() == 3600
    late = approved(world, minutes=1)
    world.clock.advance(hours=4)
    assert code(lambda: production.take_token(world.rt, strong(world), late)) in {
        "access-over",
        "approval-required",
    }


@spec("AP-3")
def test_a_second_factor_is_needed_to_ask_and_to_take(world: World) -> None:
    with pytest.raises(ForbiddenError) as refused:
        ask(world, world.caller("dana"))  # a personal token, made after a link
    assert "production/no-second-factor" in rules(refused)
    access = approved(world)
    with pytest.raises(ForbiddenError) as refused:
        production.take_token(world.rt, world.caller("dana"), access)
    assert "production/no-second-factor" in rules(refused)


@spec("AP-3")
def test_the_token_is_shown_once_and_only_to_whom_it_was_approved(world: World) -> None:
    access = approved(world)
    world.add_person("pat", ("developer", None), team="payments")
    assert code(lambda: production.take_token(world.rt, strong(world, "pat"), access)) == (
        "not-found"
    )
    for who in ("lee", "sam", "admin"):
        assert code(lambda: production.take_token(world.rt, strong(world, who), access)) == (  # noqa: B023
            "denied"
        )
    production.take_token(world.rt, strong(world), access)
    assert code(lambda: production.take_token(world.rt, strong(world), access)) == "token-taken"


@spec("AP-3")
def test_two_that_take_it_together_get_one(world: World) -> None:
    access, dana = approved(world), strong(world)

    def take(_: int) -> str:
        return code(lambda: production.take_token(world.rt, dana, access))

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(take, range(4))) == ["done"] + ["token-taken"] * 3


@spec("AP-3")
def test_one_yes_is_one_access(world: World) -> None:
    taken(world)
    assert ask(world)["approval"]["state"] == "pending"


@spec("AP-3")
def test_nobody_says_yes_to_themselves_or_for_the_security_team(world: World) -> None:
    asked = ask(world)["approval"]["id"]
    assert code(lambda: approvals.approve(world.rt, strong(world, "dana"), asked)) == "denied"
    assert code(lambda: approvals.approve(world.rt, strong(world, "lee"), asked)) != "done"
    assert code(lambda: approvals.approve(world.rt, strong(world, "admin"), asked)) != "done"


@spec("AP-3")
def test_the_token_of_one_project_opens_no_other(world: World) -> None:
    _, token = taken(world)
    assert not opens(world, door(world), token, "mailer")
    assert not opens(world, door(world, "mail-door", projects=["mailer"]), token)
    # A door says before which projects it stands; a question cannot move it.
    assert not opens(world, door(world, "liar", projects=["mailer"]), token, "ledger")
    with pytest.raises(InvalidInputError):
        opens(world, door(world, "blind"), token)
    assert {"other-project" in leaf for leaf in events(world, "production.refused")} == {True}


@spec("AP-3")
def test_it_is_no_token_for_anything_else(world: World) -> None:
    _, token = taken(world)
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_bearer(world.rt, token)
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_session(world.rt, token)
    point = door(world)
    others = (world.tokens["dana"], "garbage", token[:-1] + ("a" if token[-1] != "a" else "b"), "")
    assert [opens(world, point, other, "ledger") for other in others] == [False] * 4


@spec("AP-3", "ID-8")
@pytest.mark.parametrize(
    "end",
    [
        lambda w, a: production.revoke(w.rt, w.caller("dana"), a),
        lambda w, a: production.revoke(w.rt, w.caller("lee"), a),
        lambda w, a: production.revoke(w.rt, w.caller("sam"), a),
        lambda w, _: people.deactivate(w.rt, w.admin, "dana"),
        lambda w, _: people.remove_member(w.rt, w.admin, "payments", "dana"),
        lambda w, _: _take_roles(w),
        lambda w, _: _revoke_grants(w),
        lambda w, _: _move(w),
    ],
    ids=["self", "lead", "security", "deactivated", "out of the team", "role", "grant", "moved"],
)
def test_it_ends_at_once(world: World, end: Any) -> None:
    access, token = taken(world)
    point = door(world)
    assert opens(world, point, token, "ledger")
    end(world, access)  # at the same moment: the clock stands still
    assert not opens(world, point, token, "ledger")


def _take_roles(world: World) -> None:
    for held in roles.list_bindings(world.rt, world.admin, person="dana")["items"]:
        roles.revoke_role(world.rt, world.admin, held["id"])


def _revoke_grants(world: World) -> None:
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.grants, revoked_at=tx.now)


def _move(world: World) -> None:
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.projects, t.projects.c.name == "ledger", environment="staging")


@spec("AP-3")
def test_strangers_do_not_end_it_and_do_not_know_of_it(world: World) -> None:
    access, _ = taken(world)
    for who, expected in (("otto", "not-found"), ("ria", "denied")):
        assert code(lambda: production.revoke(world.rt, world.caller(who), access)) == expected  # noqa: B023
    assert code(lambda: production.get(world.rt, world.caller("otto"), access)) == "not-found"
    assert production.list_page(world.rt, world.caller("otto"))["items"] == []
    with pytest.raises(ForbiddenError):
        ask(world, strong(world, "otto"))  # another team's production


@spec("AP-3")
def test_a_revoked_door_learns_nothing(world: World) -> None:
    _, token = taken(world)
    point = door(world)
    enforcement_points.revoke(world.rt, world.admin, "bastion")
    with pytest.raises(UnauthenticatedError):
        opens(world, point, token, "ledger")


@spec("AP-3")
def test_only_production_is_asked_for(world: World) -> None:
    assert code(lambda: ask(world, project="sandbox")) == "not-production"
    assert code(lambda: ask(world, minutes=241)) == "denied"
    assert code(lambda: ask(world, reason=" ")) == "justification-required"


# --- agents: from every side ------------------------------------------------------------------
_AGENT = {
    "name": "fixer", "task": "Mend it.", "repositories": ["git.example.org/payments/api"],
    "tier": "sandboxed", "minutes": 60, "team": "payments", "project": None,
    "justification": "A test.",
}  # fmt: skip


def agent_of(world: World) -> Caller:
    made = agents.create(world.rt, world.caller("dana"), dict(_AGENT))
    return identity.authenticate_bearer(world.rt, made["credential"]["token"])


@spec("AP-3", "ID-9")
def test_an_agent_does_not_ask(world: World) -> None:
    with pytest.raises(ForbiddenError) as refused:
        ask(world, agent_of(world))
    assert {"invariant/permission", "agent/production-access", "agent/humans-only"} <= rules(
        refused
    )


@spec("AP-3", "ID-9")
def test_an_agent_with_its_sponsors_token_does_not_ask(world: World) -> None:
    """A token that lies about in a workspace shows no second factor."""
    borrowed = identity.authenticate_bearer(world.rt, world.tokens["dana"])
    with pytest.raises(ForbiddenError) as refused:
        ask(world, borrowed)
    assert "production/no-second-factor" in rules(refused)


@spec("AP-3", "ID-9")
def test_an_agent_does_not_take_its_sponsors_token_or_end_it(world: World) -> None:
    access, agent = approved(world), agent_of(world)
    for attempt in (
        lambda: production.take_token(world.rt, agent, access),
        lambda: production.revoke(world.rt, agent, access),
        lambda: production.get(world.rt, agent, access),
    ):
        assert code(attempt) in {"not-found", "denied"}


@spec("AP-3", "ID-9")
def test_what_is_stored_as_an_agents_opens_nothing(world: World) -> None:
    """Even a row that should not exist: the door asks who holds it."""
    _, token = taken(world)
    agent, point = agent_of(world), door(world)
    with world.rt.database.unit_of_work() as tx:
        c = t.production_accesses.c
        tx.conn.execute(sa.text("ALTER TABLE production_accesses DISABLE TRIGGER ALL"))
        tx.update(t.production_accesses, c.person_id.is_not(None), person_id=agent.id)
        tx.conn.execute(sa.text("ALTER TABLE production_accesses ENABLE TRIGGER ALL"))
    assert not opens(world, point, token, "ledger")


@spec("AP-3", "ID-9")
def test_no_policy_gives_production_to_an_agent(world: World) -> None:
    """Without a single rule: the role of agents does not hold it."""
    from charter.core.access.invariants import ResourceRef, invariants  # noqa: PLC0415
    from charter.core.access.permissions import Permission  # noqa: PLC0415

    agent = agent_of(world)
    ref = ResourceRef(
        "production-access", owner_id=agent.id, owner_kind="agent",
        sponsor_id=agent.person.id, team_id=next(iter(agent.person.teams)),
    )  # fmt: skip
    found = invariants(agent.subject, Permission.PRODUCTION_ACCESS, ref, world.clock.moment)
    assert "invariant/permission" in {violation.rule for violation in found}
