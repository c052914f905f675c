"""Two people at the same moment: what one of them does must not be invisible to the other.

Where the race is about times, the test turns the clock back: that is what a request looks like that
arrived first and waited for a lock. Where it is about what a caller was when they were looked at,
the test keeps the old caller.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from charter.core.kernel.errors import CharterError, UnauthenticatedError
from charter.services import agents, approvals, identity, people, policies, roles, workspaces
from charter.services.workspace_questions import WorkspaceRequest
from tests.spec import spec
from tests.support import World

_AGENT = {
    "name": "fixer",
    "task": "Mend the flaky test.",
    "repositories": ["git.example.org/payments/api"],
    "tier": "sandboxed",
    "minutes": 60,
}
_BOX = WorkspaceRequest("box", "python", size="agent", egress_allowlist=["git.example.org"])


def _approval(world: World) -> str:
    world.add_person("lin", ("team-lead", "payments"), team="payments")
    asked = workspaces.create(
        world.rt, world.caller("dana"), WorkspaceRequest("big", "python", vcpu=40)
    )
    return str(asked["approval"]["id"])


def _names(world: World) -> list[str]:
    page = workspaces.list_page(world.rt, world.caller("dana"))
    return [found["name"] for found in page["items"]]


@spec("AP-1")
def test_a_yes_that_waited_behind_a_no_changes_nothing(world: World) -> None:
    approval = _approval(world)
    lee, lin = world.caller("lee"), world.caller("lin")
    world.clock.advance(seconds=10)
    approvals.deny(world.rt, lee, approval)
    world.clock.advance(seconds=-5)
    with pytest.raises(CharterError) as refused:
        approvals.approve(world.rt, lin, approval)
    assert refused.value.code == "approval-settled"
    world.clock.advance(seconds=10)
    assert approvals.get(world.rt, lee, approval)["state"] == "denied"
    assert _names(world) == []


@spec("AP-1")
def test_a_yes_that_waited_behind_the_cancellation_changes_nothing(world: World) -> None:
    approval = _approval(world)
    dana, lee = world.caller("dana"), world.caller("lee")
    world.clock.advance(seconds=10)
    approvals.cancel(world.rt, dana, approval)
    world.clock.advance(seconds=-5)
    with pytest.raises(CharterError) as refused:
        approvals.approve(world.rt, lee, approval)
    assert refused.value.code == "approval-settled"
    assert _names(world) == []


@spec("AP-1")
def test_an_approved_request_is_carried_out_once(world: World) -> None:
    approval = _approval(world)
    lee, lin = world.caller("lee"), world.caller("lin")
    world.clock.advance(seconds=10)
    assert approvals.approve(world.rt, lee, approval)["state"] == "approved"
    world.clock.advance(seconds=-5)
    with pytest.raises(CharterError) as refused:
        approvals.approve(world.rt, lin, approval)
    assert refused.value.code == "approval-settled"
    assert approvals.get(world.rt, lee, approval)["outcome"] == "The workspace is being started."


@spec("ID-9")
def test_roles_that_may_not_meet_are_not_bound_at_the_same_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.create_person(
        world.rt, world.admin, handle="nora", display_name=None, email=None, time_zone="UTC"
    )
    both, original = threading.Barrier(2), roles.conflicts

    def meet(held: Any, *listed: Any) -> Any:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # both are past the look-up of held roles, or one waits for the other
        return original(held, *listed)

    monkeypatch.setattr(roles, "conflicts", meet)
    admin = world.admin

    def bind(role: str) -> str:
        try:
            roles.bind_role(
                world.rt, admin, person="nora", role=role, scope_kind="organisation", scope=None
            )
        except CharterError as refused:
            return refused.code
        return "bound"

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(bind, ["platform-admin", "security-admin"]))
    assert answers == ["bound", "separation-of-duties"]


@spec("ID-9")
def test_two_administrators_cannot_switch_each_other_off(world: World) -> None:
    world.add_person("root", ("platform-admin", None), team=None)
    one, other = world.admin, world.caller("root")
    people.deactivate(world.rt, other, "admin")
    with pytest.raises(CharterError) as refused:
        people.deactivate(world.rt, one, "root")
    assert refused.value.code == "last-admin"


@spec("AG-4")
def test_what_an_agent_starts_in_the_moment_of_its_kill_does_not_start(world: World) -> None:
    made = agents.create(world.rt, world.caller("dana"), _AGENT)
    agent = identity.authenticate_bearer(world.rt, made["credential"]["token"])
    stopped = workspaces.create(world.rt, agent, _BOX)["workspace"]["id"]
    agents.kill(world.rt, world.caller("sam"), made["agent"]["id"], "It went astray.")
    for attempt in (
        lambda: workspaces.create(
            world.rt,
            agent,
            WorkspaceRequest("late", "python", size="agent", egress_allowlist=["git.example.org"]),
        ),
        lambda: workspaces.start(world.rt, agent, stopped),
    ):
        with pytest.raises(UnauthenticatedError):
            attempt()
    world.settle()
    assert {w["state"] for w in workspaces.list_page(world.rt, world.admin)["items"]} == {"stopped"}


@spec("PC-2", "PC-6")
def test_a_request_that_began_under_the_old_bundle_finishes_under_it(world: World) -> None:
    with world.rt.database.unit_of_work() as tx:
        old = world.rt.policy.active(tx)
    more = {path: old.bundle.text(path) for path in old.bundle.files}
    policies.apply(world.rt, world.admin, {**more, "docs/note.md": "A note.\n"}, "")
    with world.rt.database.unit_of_work() as tx:
        assert world.rt.policy.active(tx) is not old
    assert isinstance(old.engine.evaluate("{}"), str)
