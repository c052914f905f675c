"""Trying edited rules: before and after, problems with their lines, and rules that never end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from charter.core.kernel.errors import CharterError, ForbiddenError, InvalidInputError
from charter.services import decisions, playground, workspaces
from charter.services.playground import Trial
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.policies.documents import person_creates
from tests.spec import spec
from tests.support import World

PATH = "admission/mine.rego"
HEAD = "package admission.mine\n\nimport rego.v1\n\n"
NEVER = HEAD + (
    "deny contains sprintf('%d', [count(found)]) if {\n"
    "\tfound := [1 | some a in numbers.range(1, 3000); some b in numbers.range(1, 3000);"
    " some c in numbers.range(1, 3000); a + b + c < 0]\n}\n"
).replace("'", '"')
HUGE = HEAD + (
    'deny contains "x" if {\n\tcount([s | some i in numbers.range(1, 30000000); '
    's := sprintf("%d-%d", [i, i])]) < 0\n}\n'
)


def refusing(limit: int) -> str:
    return HEAD + (
        "# METADATA\n# title: Mine\n# custom:\n#   id: admission/mine\n"
        'deny contains {"id": "admission/mine", "message": "Too much."} if {\n'
        f"\tinput.request.object.spec.resources.cpu > {limit}\n"
        "\tprint(input.request.object.spec.resources.cpu)\n}\n"
    )


def stored(world: World) -> dict[str, Any]:
    """Dana's recorded decision on a workspace of 40 vCPU."""
    dana = world.caller("dana")
    workspaces.create(world.rt, dana, WorkspaceRequest(name="big", template="python", vcpu=40))
    found: dict[str, Any] = decisions.list_page(world.rt, dana, action="workspace.create")["items"][
        0
    ]
    return found


def rows(world: World) -> tuple[int, int]:
    with world.rt.database.reading() as tx:
        count = sa.func.count()
        return (
            tx.conn.execute(sa.select(count).select_from(t.decisions)).scalar_one(),
            tx.conn.execute(sa.select(count).select_from(t.audit_pending)).scalar_one(),
        )


def rules_of(half: Mapping[str, Any]) -> set[str]:
    return {v["rule"] for v in half["decision"]["violations"]}


@spec("PC-6")
def test_a_recorded_decision_under_an_edited_rule(world: World) -> None:
    sam, recorded = world.caller("sam"), stored(world)
    before = rows(world)
    trial = Trial(PATH, refusing(39), None, recorded["id"])
    found = playground.try_out(world.rt, sam, trial)
    assert found["before"]["decision"]["effect"] == "require_approval" == found["recorded_effect"]
    assert found["after"]["decision"]["effect"] == "deny"
    assert rules_of(found["after"]) - rules_of(found["before"]) == {"admission/mine"}
    assert found["after"]["places"]["admission/mine"] == f"{PATH}:9"
    assert found["after"]["prints"][0].endswith("40")
    assert not found["same"]
    assert rows(world) == before  # nothing is stored

    unchanged = playground.try_out(world.rt, sam, Trial(PATH, refusing(40), None, recorded["id"]))
    assert unchanged["same"]
    facts = decisions.get(world.rt, sam, recorded["id"])["facts"]["document"]
    facts["request"]["object"]["spec"]["resources"]["cpu"] = 41
    edited = Trial(PATH, refusing(40), json.dumps(facts), recorded["id"])
    assert playground.try_out(world.rt, sam, edited)["after"]["decision"]["effect"] == "deny"


def test_who_may_not_see_a_decision_cannot_use_it(world: World) -> None:
    recorded = stored(world)
    with pytest.raises(ForbiddenError):
        playground.try_out(world.rt, world.caller("dana"), Trial(decision_id=recorded["id"]))
    world.add_person("lea", ("team-lead", "search"), team="search")
    with pytest.raises(CharterError) as refused:
        playground.try_out(world.rt, world.caller("lea"), Trial(decision_id=recorded["id"]))
    assert refused.value.status == 404


def test_problems_have_their_line(world: World) -> None:
    source = HEAD + "deny contains message if {\n\tmessage := undefined_name\n}\n"
    document = json.dumps(person_creates())
    found = playground.try_out(world.rt, world.admin, Trial(PATH, source, document))
    assert found["before"]["decision"] is not None
    assert found["after"]["decision"] is None
    assert [(p["file"], p["line"]) for p in found["after"]["problems"]] == [(PATH, 6)]
    broken = playground.try_out(world.rt, world.admin, Trial(PATH, HEAD + "deny {{", document))
    assert broken["after"]["problems"][0]["file"] == PATH


@spec("PC-5")
@pytest.mark.slow
@pytest.mark.parametrize("source", [NEVER, HUGE], ids=["never-ends", "huge"])
def test_a_rule_that_overruns_gives_a_sentence(world: World, source: str) -> None:
    document = json.dumps(person_creates())
    found = playground.try_out(world.rt, world.admin, Trial(PATH, source, document))
    assert found["after"]["decision"] is None
    assert "within their limits" in found["after"]["failure"]
    assert found["before"]["decision"] is not None


@pytest.mark.parametrize(
    "trial",
    [
        Trial(PATH, refusing(1)),
        Trial(PATH, refusing(1), "{"),
        Trial(PATH, refusing(1), "[]"),
        Trial(PATH, refusing(1), '{"a": NaN}'),
        Trial("admission/mine_test.rego", refusing(1), "{}"),
        Trial("../mine.rego", refusing(1), "{}"),
        Trial(PATH, "#" * (playground.LARGEST_SOURCE + 1), "{}"),
        Trial(PATH, refusing(1), '"' + "x" * playground.LARGEST_INPUT + '"'),
    ],
)
def test_what_is_no_trial_is_refused(world: World, trial: Trial) -> None:
    with pytest.raises(InvalidInputError):
        playground.try_out(world.rt, world.admin, trial)


def test_an_input_without_its_parts_is_no_failure_of_charter(world: World) -> None:
    for document in ("{}", '{"subject": 1}', '{"action": {"name": 7}, "context": {"now": []}}'):
        found = playground.try_out(world.rt, world.admin, Trial(None, None, document))
        assert found["after"]["decision"] is not None or found["after"]["failure"]
