"""What ends with a person: all that they, and what they sponsor, could act with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
import sqlalchemy as sa

from charter.core.kernel.errors import CharterError
from charter.services import (
    agents,
    approvals,
    identity,
    people,
    people_views,
    roles,
    scim,
    tokens,
    workspaces,
)
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.passkeys import in_browser, sign_in, with_passkey
from tests.scim import connect
from tests.services.test_agents import box, sponsored
from tests.spec import spec
from tests.support import World

ENDLESS: Final = "3141592"  # seconds; no other process on the machine sleeps for so long


def sleepers() -> list[str]:
    """The processes of the sandboxes, as this machine sees them."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if ENDLESS.encode() in line.read_bytes():
                found.append(line.parent.name)
        except OSError:  # it ended meanwhile
            continue
    return found


def busy(world: World, who: str, request: WorkspaceRequest) -> str:
    """A running workspace with a process in it that does not end by itself."""
    made = workspaces.create(world.rt, world.caller(who), request)["workspace"]
    world.settle()
    ran = world.rt.provider.execute(
        made["id"],
        ["sh", "-c", f"sleep {ENDLESS} >/dev/null 2>&1 </dev/null &"],
        timeout_seconds=10,
    )
    assert ran.exit_code == 0, ran.stderr
    return str(made["id"])


def off(world: World, handle: str = "dana") -> None:
    people.deactivate(world.rt, world.admin, handle)


def refused(world: World, name: str) -> bool:
    """Whether that credential gets 401 from the API."""
    from charter.api.app import build_api  # noqa: PLC0415

    return world.client(build_api(world.rt), name).get("/api/v1/me").status_code == 401


@spec("ID-3", "ID-7", "ID-8", "AG-4")
def test_a_patch_of_a_directory_ends_sessions_tokens_agents_and_their_processes(
    world: World,
) -> None:
    okta = connect(world)
    scim.adopt(world.rt, world.admin, directory="okta", kind="person", ref="dana")
    sponsored(world)
    boxes = [
        busy(world, "agent", box()),
        busy(world, "dana", WorkspaceRequest(name="own", template="python", size="agent")),
    ]
    caller, cookie = in_browser(world, "dana")
    assert len(sleepers()) == 2
    path = f"/Users/{caller.id}"
    answer = okta.patch(path, {"op": "Replace", "path": "active", "value": "False"})
    assert answer.status_code == 200, answer.text
    assert sleepers() == []
    with pytest.raises(CharterError) as ended:
        identity.authenticate_session(world.rt, cookie)
    assert ended.value.status == 401
    assert refused(world, "dana")
    assert refused(world, "agent")
    for each in boxes:
        assert world.rt.provider.observe(each).state.value == "stopped"
    world.settle()
    assert sleepers() == []
    assert agents.list_page(world.rt, world.admin, state="active")["items"] == []


@spec("ID-3", "ID-8")
def test_reactivation_gives_back_the_account_and_nothing_else(world: World) -> None:
    device, _ = with_passkey(world, "dana")
    _, cookie = in_browser(world, "dana")
    link = people.sign_in_link(world.rt, world.admin, "dana")["url"]
    sponsored(world)
    off(world)
    back = people.reactivate(world.rt, world.admin, "dana")
    assert back["deactivated_at"] is None
    assert refused(world, "dana")
    assert refused(world, "agent")
    for attempt in (
        lambda: identity.authenticate_session(world.rt, cookie),
        lambda: identity.exchange_link(world.rt, link),
        lambda: sign_in(world, device),
    ):
        with pytest.raises(CharterError):
            attempt()
    person = people_views.get(world.rt, world.admin, "dana")
    assert person["roles"] == []
    assert person["teams"] == ["payments"]
    world.sign_in("dana", people.sign_in_link(world.rt, world.admin, "dana")["url"])
    with pytest.raises(CharterError):
        tokens.create_token(world.rt, world.caller("dana"), "laptop", 1)


@spec("AP-1", "ID-8")
def test_what_they_asked_for_is_withdrawn_and_their_yes_counts_no_more(world: World) -> None:
    made = workspaces.create(
        world.rt, world.caller("dana"), WorkspaceRequest("big", "python", vcpu=40)
    )
    off(world)
    seen = approvals.get(world.rt, world.caller("lee"), made["approval"]["id"])
    assert seen["state"] == "cancelled"
    assert "deactivated" in seen["outcome"]
    people.reactivate(world.rt, world.admin, "dana")
    with pytest.raises(CharterError) as late:
        approvals.approve(world.rt, world.caller("lee"), made["approval"]["id"])
    assert late.value.code == "approval-settled"
    # Their own yes counts no more while others are awaited.
    world.add_person("tom", ("developer", None), team="payments")
    made = workspaces.create(
        world.rt, world.caller("tom"), WorkspaceRequest("huge", "python", vcpu=40)
    )
    approval_id = made["approval"]["id"]
    with world.rt.database.unit_of_work() as tx:  # two people are asked for
        row = tx.one(sa.select(t.approvals).where(t.approvals.c.id == approval_id))
        assert row is not None
        needed = [{**each, "count": 2} for each in row["requirements"]]
        tx.update(t.approvals, t.approvals.c.id == approval_id, requirements=needed)
    approvals.approve(world.rt, world.caller("lee"), approval_id)
    off(world, "lee")
    people.reactivate(world.rt, world.admin, "lee")
    roles.bind_role(
        world.rt, world.admin, person="lee", role="team-lead", scope_kind="team", scope="payments"
    )
    world.add_person("lin", ("team-lead", "payments"), team="payments")
    after = approvals.approve(world.rt, world.caller("lin"), approval_id)
    assert after["state"] == "pending"


@spec("ID-3")
def test_twice_is_no_error_and_what_began_meanwhile_ends_at_the_return(world: World) -> None:
    """A session that another transaction opened while the account was being switched off."""
    dana = world.caller("dana").id
    off(world)
    first = people_views.get(world.rt, world.admin, "dana")["deactivated_at"]
    world.clock.advance(minutes=5)
    off(world)
    assert people_views.get(world.rt, world.admin, "dana")["deactivated_at"] == first
    with world.rt.database.unit_of_work() as tx:
        made = identity.open_session(world.rt, tx, dana, method="link", mfa=False, ip=None)
    people.reactivate(world.rt, world.admin, "dana")
    with pytest.raises(CharterError):
        identity.authenticate_session(world.rt, made["secret"])
