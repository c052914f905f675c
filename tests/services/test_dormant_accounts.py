"""Accounts that nobody uses: told, switched off, given back; never the last admin."""

from __future__ import annotations

import sqlalchemy as sa

from charter.controllers import access_reviews as controller
from charter.core.access.dormancy import Dormancy, DormancyRules, dormancy
from charter.services import overview, people, roles
from charter.store import tables as t
from tests.core.access.people import NOW
from tests.spec import spec
from tests.support import World


def active(world: World) -> set[str]:
    with world.rt.database.reading() as tx:
        rows = tx.all(sa.select(t.people.c.handle).where(t.people.c.deactivated_at.is_(None)))
        return {row["handle"] for row in rows}


def use(world: World, *handles: str) -> None:
    """These people do something; the rest sleep on."""
    for handle in handles:
        world.sign_in(handle, people.sign_in_link(world.rt, world.admin, handle)["url"])
        world.caller(handle)


def told(world: World, handle: str) -> list[str]:
    with world.rt.database.reading() as tx:
        rows = tx.all(
            sa.select(t.notices.c.kind)
            .join(t.people, t.people.c.id == t.notices.c.person_id)
            .where(t.people.c.handle == handle)
        )
        return [row["kind"] for row in rows]


@spec("ID-10")
def test_the_owner_is_told_and_then_the_account_is_switched_off(world: World) -> None:
    assert controller.dormant(world.rt) is None
    world.clock.advance(days=77)
    world.sign_in_again()
    use(world, "admin", "dana")
    assert controller.dormant(world.rt) == {"deactivated": 0, "told": 4}
    assert told(world, "otto").count("account-sleepy") == 1
    assert told(world, "dana").count("account-sleepy") == 0
    assert controller.dormant(world.rt) is None  # once is enough
    world.clock.advance(days=14)
    world.sign_in_again()
    assert controller.dormant(world.rt) == {"deactivated": 4, "told": 0}
    assert active(world) == {"admin", "dana"}
    assert "account-dormant" in told(world, "admin")
    assert controller.dormant(world.rt) is None


@spec("ID-10")
def test_who_comes_back_keeps_the_account_and_who_is_given_it_back_has_no_roles(
    world: World,
) -> None:
    world.clock.advance(days=77)
    world.sign_in_again()
    use(world, "admin", "otto")
    controller.dormant(world.rt)
    world.clock.advance(days=14)
    world.sign_in_again()
    use(world, "admin")
    controller.dormant(world.rt)
    assert active(world) == {"admin", "otto"}
    people.reactivate(world.rt, world.admin, "dana")
    assert controller.dormant(world.rt) is None
    assert "dana" in active(world)
    held = roles.list_bindings(world.rt, world.admin, person="dana")["items"]
    assert held == []


@spec("ID-10")
def test_the_last_admin_is_kept_and_said_so_once(world: World) -> None:
    world.clock.advance(days=91)
    assert controller.dormant(world.rt) == {"deactivated": 5, "told": 0}
    assert active(world) == {"admin"}
    assert told(world, "admin").count("account-kept") == 1
    world.clock.advance(days=1)
    assert controller.dormant(world.rt) is None
    world.sign_in_again()
    notices = overview.notices(world.rt, world.admin)["items"]
    assert any("sleeps and is kept" in notice["message"] for notice in notices)


@spec("ID-10")
def test_without_a_rule_accounts_sleep_for_ever() -> None:
    rules = DormancyRules(warn_seconds=10, deactivate_seconds=20)
    assert dormancy(NOW, None, NOW.replace(year=2036)) is Dormancy.USED
    spans = {9: Dormancy.USED, 10: Dormancy.SLEEPY, 19: Dormancy.SLEEPY, 20: Dormancy.DORMANT}
    for seconds, state in spans.items():
        assert dormancy(NOW, rules, NOW.replace(second=seconds)) is state
