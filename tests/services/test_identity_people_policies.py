"""Signing in, who may give what to whom, and which bundle is in force."""

from __future__ import annotations

import pytest

from charter.core.kernel.errors import (
    CharterError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    UnauthenticatedError,
)
from charter.services import (
    decisions,
    identity,
    people,
    policies,
    replay,
    roles,
    tokens,
    workspaces,
)
from charter.services.workspaces import WorkspaceRequest
from tests.spec import spec
from tests.support import BRIEF, World

FILES = {path: BRIEF.text(path) for path in BRIEF.files}


def link(world: World, handle: str) -> str:
    return str(people.sign_in_link(world.rt, world.admin, handle)["url"])


def bind(world: World, person: str, role: str) -> None:
    roles.bind_role(
        world.rt, world.admin, person=person, role=role, scope_kind="organisation", scope=None
    )


@spec("ID-1")
@pytest.mark.parametrize("address", ["bad", "dana@", "@example.org", "da na@example.org", "a@b@c"])
def test_what_is_no_mail_address_is_refused(world: World, address: str) -> None:
    with pytest.raises(InvalidInputError, match="no e-mail address"):
        people.create_person(
            world.rt,
            world.admin,
            handle="mail",
            display_name=None,
            email=address,
            time_zone="UTC",
        )


@spec("ID-3")
def test_a_link_works_once_and_for_a_quarter_of_an_hour(world: World) -> None:
    first, second = link(world, "dana"), link(world, "dana")
    identity.exchange_link(world.rt, first)
    with pytest.raises(UnauthenticatedError):
        identity.exchange_link(world.rt, first)
    world.clock.advance(minutes=15)
    with pytest.raises(UnauthenticatedError):
        identity.exchange_link(world.rt, second)


def test_a_session_ends_by_idleness_by_age_and_by_signing_out(world: World) -> None:
    secret = identity.exchange_link(world.rt, link(world, "dana"))["secret"]
    caller = identity.authenticate_session(world.rt, secret)
    assert caller.csrf_token
    identity.end_session(world.rt, caller)
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_session(world.rt, secret)
    idle = identity.exchange_link(world.rt, link(world, "dana"))["secret"]
    busy = identity.exchange_link(world.rt, link(world, "dana"))["secret"]
    for _ in range(6):
        world.clock.advance(hours=1, minutes=59)
        identity.authenticate_session(world.rt, busy)
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_session(world.rt, idle)
    world.clock.advance(minutes=7)
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_session(world.rt, busy)


def test_a_revoked_token_is_dead_and_only_its_owner_revokes_it(world: World) -> None:
    made = tokens.create_token(world.rt, world.caller("lee"), "laptop", 1)
    with pytest.raises(CharterError):
        tokens.revoke_token(world.rt, world.caller("dana"), made["id"])
    caller = identity.authenticate_bearer(world.rt, made["secret"])
    tokens.revoke_token(world.rt, caller, made["id"])
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_bearer(world.rt, made["secret"])


@spec("ID-9")
def test_roles_that_exclude_each_other_do_not_meet_in_one_person(world: World) -> None:
    with pytest.raises(ConflictError) as refused:
        bind(world, "sam", "platform-admin")
    assert refused.value.code == "separation-of-duties"


@spec("ID-9")
def test_nobody_gives_themselves_a_role_and_the_refusal_is_on_record(world: World) -> None:
    with pytest.raises(ForbiddenError) as refused:
        bind(world, "admin", "team-lead")
    assert refused.value.code == "own-role"
    newest = decisions.list_page(world.rt, world.admin, action="role.bind")["items"][0]
    assert newest["subject_id"] == world.admin.id


def test_the_last_admin_stays(world: World) -> None:
    held = roles.list_bindings(world.rt, world.admin, person="admin")["items"]
    with pytest.raises(ConflictError) as refused:
        roles.revoke_role(world.rt, world.admin, held[0]["id"])
    assert refused.value.code == "last-admin"
    with pytest.raises(ConflictError) as refused:
        people.deactivate(world.rt, world.admin, "admin")
    assert refused.value.code == "own-account"


@spec("PC-4", "PC-6")
def test_a_good_bundle_takes_over_and_a_broken_one_does_not(world: World) -> None:
    first = policies.active(world.rt, world.admin)["digest"]
    workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest("one", "python"))
    for broken in (
        {**FILES, "admission/extra.rego": "package admission\n\ndeny contains x if {"},
        {**FILES, "tests/extra_test.rego": "package extra_test\n\ntest_it if { false }\n"},
    ):
        with pytest.raises(InvalidInputError):
            policies.apply(world.rt, world.admin, broken, "")
        assert policies.active(world.rt, world.admin)["digest"] == first
    more = {**FILES, "docs/note.md": "Nothing changed but this note.\n"}
    second = policies.apply(world.rt, world.admin, more, "A note.")["digest"]
    assert second != first
    workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest("two", "python"))
    found = replay.replay(world.rt, world.admin, 10_000)
    assert found["differences"] == 0
    page = policies.bundles(world.rt, world.admin, limit=1)
    rest = policies.bundles(world.rt, world.admin, cursor=page["next"])
    assert {b["digest"] for b in page["items"] + rest["items"]} == {first, second}
    assert policies.activate(world.rt, world.admin, first)["active"]


@spec("PC-14")
def test_a_project_has_an_environment_that_the_policy_knows(world: World) -> None:
    def create(name: str, environment: str) -> dict[str, object]:
        return people.create_project(
            world.rt,
            world.admin,
            name=name,
            team="payments",
            data_class="internal",
            environment=environment,
        )

    assert create("till", "staging")["environment"] == "staging"
    with pytest.raises(InvalidInputError, match="There is no environment prod") as refusal:
        create("vault", "prod")
    assert "experimental" in str(refusal.value.fix)
