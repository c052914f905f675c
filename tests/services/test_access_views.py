"""Who may do what, and why: of oneself, of those one may see, and as a whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from charter.core.access.permissions import Permission
from charter.core.access.roles import ROLE_REACH, RoleName
from charter.core.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from charter.services import access_views, agents, custom_roles, people, policies, roles, workspaces
from charter.services.access_views import Aim
from charter.services.workspace_questions import WorkspaceRequest
from tests.spec import spec
from tests.support import BRIEF, World


def why(world: World, asker: str, subject: str, action: str, *aim: str | None) -> dict[str, Any]:
    return access_views.why(
        world.rt, world.caller(asker), subject=subject, action=action, aim=Aim(*aim)
    )


@spec("ID-2")
def test_a_binding_that_gives_it_and_those_that_do_not(world: World) -> None:
    workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest("box", "python"))
    own = why(world, "dana", "me", "workspace.stop", "workspace:box")
    assert own["effect"] == "allow"
    assert own["subject"]["name"] == "dana"
    assert [(s["of"], s["holds"]) for s in own["steps"]] == [("binding", True)]
    others = why(world, "admin", "otto", "workspace.stop", "workspace:box")
    assert others["effect"] == "deny"
    assert not others["steps"][0]["holds"]
    assert {r["rule"] for r in others["reasons"]} == {"invariant/not-visible"}
    lead = why(world, "lee", "lee", "workspace.stop", "workspace:box")
    assert lead["effect"] == "allow"
    assert lead["steps"][0]["scope"] == "team payments"


@spec("ID-2", "ID-7")
def test_an_agent_is_narrowed_with_its_sponsor(world: World) -> None:
    rt, dana = world.rt, world.caller("dana")
    body = {
        "name": "fixer",
        "task": "Mend it.",
        "repositories": ["git.example.org/payments/api"],
        "tier": "sandboxed",
        "team": None,
        "project": None,
        "minutes": 60,
        "justification": None,
    }
    agents.create(rt, dana, body)
    before = why(world, "dana", "fixer", "workspace.create")
    assert before["effect"] == "depends"
    assert "preview" in before["note"]
    assert all(step["holds"] for step in before["steps"])
    [held] = [
        b
        for b in roles.list_bindings(rt, world.admin, person="dana")["items"]
        if b["role"] == "developer"
    ]
    assert (held["person"], held["scope"], held["granted_by_name"]) == ("dana", None, "admin")
    roles.revoke_role(rt, world.admin, held["id"])
    after = why(world, "dana", "fixer", "workspace.create")
    assert after["effect"] == "deny"
    lost = {step["of"]: step["text"] for step in after["steps"] if not step["holds"]}
    assert lost["sponsor"] == "its sponsor dana may not do it now"
    assert lost["sponsor-binding"] == "dana holds no role"


@spec("ID-2")
def test_something_new_is_asked_about_where_it_would_be(world: World) -> None:
    home = why(world, "dana", "me", "workspace.create")
    assert home["effect"] == "depends"
    assert home["resource"]["owner"] == world.caller("dana").id
    away = why(world, "dana", "me", "workspace.create", None, "search")
    assert away["effect"] == "deny"
    people.create_project(
        world.rt, world.admin, name="ledger", team="payments", data_class="internal",
        environment="development",
    )  # fmt: skip
    assert why(world, "dana", "me", "workspace.create", None, None, "ledger")["effect"] == "depends"
    assert why(world, "dana", "me", "workspace.view")["effect"] == "allow"


@spec("ID-2")
def test_only_who_may_see_somebody_is_told_of_them(world: World) -> None:
    assert why(world, "lee", "dana", "policy.view")["effect"] == "allow"
    for asker, subject, aim in (
        ("dana", "otto", None),
        ("lee", "otto", None),
        ("dana", "nobody", None),
        ("otto", "otto", "workspace:box"),
        ("dana", "dana", "person:otto"),
    ):
        with pytest.raises(NotFoundError):
            why(world, asker, subject, "workspace.stop", aim)


@spec("ID-2")
@pytest.mark.parametrize(
    ("action", "resource", "code"),
    [
        ("workspace.stpo", None, "action-unknown"),
        ("nothing", None, "action-unknown"),
        ("workspace.stop", "planet:mars", "resource-kind"),
    ],
)
def test_a_slip_is_told(world: World, action: str, resource: str | None, code: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        why(world, "dana", "me", action, resource)
    assert refused.value.code == code
    if action == "workspace.stpo":
        assert "workspace.stop" in refused.value.fix


@spec("ID-2")
def test_the_matrix_holds_reach_and_rules(world: World) -> None:
    found = access_views.matrix(world.rt, world.caller("ria"))
    rows = {row["action"]: row["roles"] for row in found["items"]}
    assert list(rows) == [p.value for p in Permission]
    for role in RoleName:
        for permission in Permission:
            reach = ROLE_REACH[role].get(permission)
            cell = rows[permission.value][role.value]
            assert cell["reach"] == (None if reach is None else reach.value)
            assert (cell["effect"] == "deny") is (reach is None)
    create = rows["workspace.create"]["developer"]
    assert create["effect"] == "approval"
    assert "admission/cpu-needs-approval" in create["rules"]
    assert rows["workspace.stop"]["developer"] == {"effect": "allow", "reach": "own", "rules": []}
    assert rows["workspace.extend"]["developer"]["effect"] == "policy"
    general = {"admission/missing-facts", "admission/unknown-action"}
    assert not any(general & set(c["rules"]) for row in rows.values() for c in row.values())


@spec("ID-9")
def test_policy_names_roles_that_nobody_holds_together(world: World) -> None:
    pair = {"roles": ["security-admin", "team-lead"], "why": "who watches leads no team"}
    access = json.loads(BRIEF.text("data/access.json")) | {"conflicting_roles": [pair]}
    world.clock.advance(seconds=1)
    files = {path: BRIEF.text(path) for path in BRIEF.files}
    policies.apply(world.rt, world.admin, {**files, "data/access.json": json.dumps(access)}, "SoD.")
    with pytest.raises(ConflictError) as refused:
        roles.bind_role(
            world.rt, world.admin, person="sam", role="team-lead", scope_kind="team",
            scope="payments",
        )  # fmt: skip
    assert refused.value.code == "separation-of-duties"
    assert "who watches leads no team" in refused.value.message
    own = {"roles": ["developer", "own/operator"], "why": "who writes stops nothing"}
    world.clock.advance(seconds=1)
    listed = json.dumps(access | {"conflicting_roles": [own]})
    policies.apply(world.rt, world.admin, {**files, "data/access.json": listed}, "SoD.")
    custom_roles.define(
        world.rt, world.admin, "operator", title="Stops", permissions={"workspace.stop": "team"}
    )
    with pytest.raises(ConflictError):
        roles.bind_role(
            world.rt, world.admin, person="dana", role="operator", scope_kind="team",
            scope="payments",
        )  # fmt: skip
    wrong = access | {"conflicting_roles": [{"roles": ["developer", "king"], "why": "no"}]}
    with pytest.raises(InvalidInputError):
        policies.apply(
            world.rt, world.admin, {**files, "data/access.json": json.dumps(wrong)}, "A slip."
        )
