"""Attacks between the parts: what one of them refuses must not be had by way of another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from charter.core.kernel.errors import CharterError
from charter.services import (
    access_campaigns,
    access_reviews,
    agent_definitions,
    approvals,
    break_glass,
    custom_roles,
    elevations,
    identity,
    notification_channels,
    passkeys,
    people,
    roles,
    scim,
    tokens,
)
from charter.store import tables as t
from tests.agents import sponsored
from tests.passkeys import with_passkey
from tests.scim import connect
from tests.spec import spec
from tests.sso import POLICY, put_policy
from tests.support import World


def code(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except CharterError as refused:
        return refused.code
    return "done"


def hold(world: World, who: str, name: str, **held: str) -> None:
    """Somebody gets a role of the organisation's own with these permissions."""
    permissions = {permission.replace("_", "."): reach for permission, reach in held.items()}
    custom_roles.define(world.rt, world.admin, name, title=name, permissions=permissions)
    bind(world, "admin", who, name)


def bind(world: World, by: str, who: str, role: str, team: str | None = None) -> Any:
    return roles.bind_role(
        world.rt,
        world.caller(by),
        person=who,
        role=role,
        scope_kind="organisation" if team is None else "team",
        scope=team,
    )


def emergency(world: World) -> Any:
    return break_glass.start(world.rt, world.caller("lee"), role="platform-admin", reason="Down.")


# --- an emergency and what would outlast it ---------------------------------------------------
@spec("ID-11", "ID-9")
def test_a_role_to_give_by_is_no_wider_in_an_emergency(world: World) -> None:
    """Whoever may give a little for good does not give everything while an emergency lasts."""
    hold(world, "lee", "giver", role_bind="all")
    emergency(world)
    assert code(lambda: bind(world, "lee", "dana", "platform-admin")) == "role-exceeds-giver"
    assert code(lambda: bind(world, "lee", "dana", "team-lead", "search")) == "role-exceeds-giver"


@spec("ID-11", "ID-9")
def test_an_emergency_widens_no_role_and_registers_nothing_for_later(world: World) -> None:
    hold(world, "dana", "friend", workspace_stop="own")
    campaign = access_campaigns.open_by(world.rt, world.caller("sam"), reason="A laptop was lost.")
    emergency(world)
    rt, lee = world.rt, world.caller("lee")
    item = next(
        each
        for each in access_reviews.list_items(rt, lee, campaign, limit=200)["items"]
        if each["kind"] == "role" and each["holder"] == "otto"
    )
    attempts: dict[str, Callable[[], Any]] = {
        "widen a friend's role": lambda: custom_roles.define(
            rt, lee, "friend", title="friend", permissions={"people.manage": "all"}
        ),
        "take a role away for good": lambda: custom_roles.retire(rt, lee, "friend"),
        "listen to everything from now on": lambda: notification_channels.add_channel(
            rt, lee, kind="webhook", name="mine", url="https://hooks.example.org/x"
        ),
        "define agents of another team": lambda: agent_definitions.define(
            rt,
            lee,
            {
                "name": "mole", "team": "search", "repositories": ["git.example.org/search/*"],
                "tier": "trusted", "run_by": ["everybody"],
            },
        ),
        "answer an access review": lambda: access_reviews.answer(rt, lee, item["id"], "revoke"),
    }  # fmt: skip
    assert {name: code(attempt) for name, attempt in attempts.items()} == dict.fromkeys(
        attempts, "denied"
    )


@spec("ID-11", "ID-10")
def test_a_reviewer_of_a_team_is_no_reviewer_of_the_organisation_in_an_emergency(
    world: World,
) -> None:
    """What a watcher of the team holds is for platform admins: for those who are it for good."""
    world.add_person("tess", ("security-admin", "payments"), team="payments")
    campaign = access_campaigns.open_by(world.rt, world.caller("sam"), reason="A laptop was lost.")

    def answer(word: str) -> str:
        lee = world.caller("lee")
        found = access_reviews.list_items(world.rt, lee, campaign, limit=200)["items"]
        item = next(
            i for i in found if i["holder"] == "tess" and i["privileged"] and i["kind"] == "role"
        )
        assert item["place"] == "watchers"
        assert item["may_answer"] is False
        return code(lambda: access_reviews.answer(world.rt, lee, item["id"], word))

    assert answer("keep") == "not-a-reviewer"
    emergency(world)
    assert answer("keep") == "not-a-reviewer"


# --- roles of one's own and the accounts of others --------------------------------------------
@spec("ID-1", "ID-9")
def test_who_manages_people_opens_no_account_that_may_do_more(world: World) -> None:
    hold(world, "otto", "helpdesk", people_manage="all", people_view="all")
    _, key = with_passkey(world, "admin")
    rt, otto = world.rt, world.caller("otto")
    attempts: dict[str, Callable[[], Any]] = {
        "sign in as an administrator": lambda: people.sign_in_link(rt, otto, "admin"),
        "sign in as the watcher": lambda: people.sign_in_link(rt, otto, "sam"),
        "take the second factor away": lambda: passkeys.remove(rt, otto, key, last=True),
        "hand the account over": lambda: scim.adopt(
            rt, otto, directory="mine", kind="person", ref="admin"
        ),
    }
    assert {name: code(attempt) for name, attempt in attempts.items()} == dict.fromkeys(
        attempts, "holds-more"
    )
    people.create_person(
        rt, otto, handle="newcomer", display_name=None, email=None, time_zone="UTC"
    )
    assert people.sign_in_link(rt, otto, "newcomer")["url"]


@spec("ID-3", "ID-9")
def test_who_manages_people_speaks_for_no_directory_that_gives_more(world: World) -> None:
    put_policy(world, POLICY)
    hold(world, "otto", "helpdesk", people_manage="all")
    otto = world.caller("otto")

    def token(directory: str) -> str:
        return code(
            lambda: scim.create_token(world.rt, otto, name=directory, directory=directory, days=1)
        )

    assert token("corp") == "role-exceeds-giver"
    assert token("elsewhere") == "done"


@spec("ID-1", "ID-9")
def test_who_defines_roles_puts_no_more_into_them_than_they_could_give(world: World) -> None:
    """Two who define roles do not widen each other's."""
    hold(world, "otto", "one", role_define="all", workspace_stop="team")
    hold(world, "dana", "two", role_define="all")

    def define(who: str, name: str, **held: str) -> str:
        permissions = {permission.replace("_", "."): reach for permission, reach in held.items()}
        return code(
            lambda: custom_roles.define(
                world.rt, world.caller(who), name, title=name, permissions=permissions
            )
        )

    assert define("otto", "two", role_define="all", people_manage="all") == "role-exceeds-giver"
    assert define("dana", "one", role_define="all", role_bind="all") == "role-exceeds-giver"
    assert define("otto", "three", workspace_stop="all") == "role-exceeds-giver"
    assert define("otto", "three", workspace_stop="own") == "done"
    assert define("otto", "two", role_define="all", workspace_stop="team") == "done"


@spec("ID-3", "ID-9")
def test_nobody_is_put_by_hand_into_the_group_that_gives_a_role(world: World) -> None:
    """A directory's group gives roles to its people: membership is the directory's to change."""
    directory = connect(world)
    ann = directory.user("ann@example.org")
    directory.group("Operators")
    hold(world, "otto", "coach", team_manage="all")
    otto = world.caller("otto")
    asked = lambda who: code(lambda: people.add_member(world.rt, otto, "operators", who))  # noqa: E731
    assert asked(ann["id"]) == "kept-by-directory"
    assert asked("dana") == "done"


@spec("ID-3")
def test_a_name_that_is_somebodys_id_hides_nobody(world: World) -> None:
    directory = connect(world)
    with world.rt.database.reading() as tx:
        row = tx.one(sa.select(t.people.c.id).where(t.people.c.handle == "dana"))
    assert row is not None
    directory.user(row["id"])
    assert people.deactivate(world.rt, world.admin, row["id"])["handle"] == "dana"


@spec("ID-4")
def test_a_token_that_leaked_does_not_live_on_in_others(world: World) -> None:
    secret = tokens.create_token(world.rt, world.caller("dana"), "leaked", 30)["secret"]

    def another() -> str:
        caller = identity.authenticate_bearer(world.rt, secret)
        return code(lambda: tokens.create_token(world.rt, caller, "mine", 90))

    assert another() == "done"
    world.clock.advance(hours=24)
    assert another() == "step-up-required"


# --- agents -----------------------------------------------------------------------------------
@spec("AP-4", "ID-6")
def test_what_is_retired_gets_no_more_room(world: World) -> None:
    lee = world.caller("lee")
    definition = {
        "name": "keeper", "team": "payments", "repositories": ["git.example.org/payments/*"],
        "tier": "standard", "run_by": ["team"],
    }  # fmt: skip
    agent_definitions.define(world.rt, lee, definition)
    made = sponsored(world, definition="keeper")

    def ask() -> Any:
        return elevations.request(
            world.rt,
            world.caller("dana"),
            made["agent"]["id"],
            tier="standard",
            permissions=[],
            repositories=[],
            reason="The fix is ready.",
        )

    waiting = ask()["approval"]["id"]
    agent_definitions.retire(world.rt, lee, "keeper", "Nobody looks after it.")
    assert code(ask) == "definition-retired"
    approved = approvals.approve(world.rt, lee, waiting)
    assert approved["result_id"] is None
    assert "retired" in approved["outcome"]


# --- races ------------------------------------------------------------------------------------
@spec("ID-10")
@pytest.mark.parametrize("_round", range(2))
def test_of_two_campaigns_at_the_same_moment_one_opens(world: World, _round: int) -> None:
    sam = world.caller("sam")

    def begin() -> str:
        return code(lambda: access_campaigns.open_by(world.rt, sam, reason="A laptop was lost."))

    with ThreadPoolExecutor(2) as pool:
        told = sorted(each.result() for each in [pool.submit(begin) for _ in range(2)])
    assert told == ["campaign-open", "done"]
