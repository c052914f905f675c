"""Explanations of stored decisions: values and lines as of then, and a way around that holds."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest

from charter.adapters.rego.load import shipped_bundle
from charter.core.kernel.errors import ForbiddenError, NotFoundError
from charter.services import agents, decisions, policies, workspace_preview, workspaces
from charter.services.explain import explain
from charter.services.workspace_questions import WorkspaceRequest
from tests.spec import spec
from tests.support import World


def request(name: str = "api", **fields: object) -> WorkspaceRequest:
    return WorkspaceRequest(**{"name": name, "template": "python", **fields})  # type: ignore[arg-type]


def refused(world: World, who: str, **fields: object) -> str:
    """The decision of a create that did not go ahead."""
    try:
        made = workspaces.create(world.rt, world.caller(who), request(**fields))
    except ForbiddenError as error:
        found = error.details["decision"]["id"]  # type: ignore[index]
    else:
        assert made["workspace"] is None
        found = made["decision"]["id"]
    return str(found)


def apply_data(world: World, **documents: str) -> None:
    """Put the shipped rules in force with other data; their own tests speak of the shipped one."""
    shipped = shipped_bundle()
    files = {p: shipped.text(p) for p in shipped.files if not p.startswith("tests/")}
    files["tests/one_test.rego"] = "package one_test\n\nimport rego.v1\n\ntest_one if true\n"
    changed = {f"data/{name}.json": text for name, text in documents.items()}
    policies.apply(world.rt, world.admin, {**files, **changed}, "Other data.")


def values(rule: dict[str, Any]) -> dict[str, Any]:
    return {
        v["path"]: v.get("value")
        for statement in rule["statements"]
        for v in statement["values"]
        if v["path"]
    }


@spec("PC-13")
def test_forty_vcpu_are_explained_with_values_and_the_command_that_passes(world: World) -> None:
    dana = world.caller("dana")
    decision = refused(world, "dana", name="big", vcpu=40)
    found = explain(world.rt, dana, decision)
    assert found["effect"] == "require_approval"
    assert found["sentence"].startswith("dana asked for workspace.create on big. It needs an")
    (rule,) = [r for r in found["rules"] if r["rule"] == "admission/cpu-needs-approval"]
    source = shipped_bundle().text(rule["file"]).split("\n")
    assert rule["text"] == "\n".join(source[rule["line"] - 1 : rule["end_line"]])
    assert values(rule)["input.request.object.spec.resources.cpu"] == 40
    (proposal, *_) = found["suggestion"]["proposals"]
    assert proposal["changes"] == [{"field": "vcpu", "from": 40, "to": 32}]
    assert proposal["effect"] in {"allow", "warn"}
    words = shlex.split(proposal["command"])
    assert words[:4] == ["charter", "workspace", "create", "big"]
    assert words[words.index("--vcpu") + 1] == "32"
    made = workspaces.create(world.rt, dana, request("big", vcpu=32))
    assert made["decision"]["effect"] == proposal["effect"]
    assert found["now"] == {"same_rules": True, "effect": "require_approval", "sentence": None}


@spec("PC-13")
def test_what_is_proposed_for_a_refusal_is_what_a_create_then_gets(world: World) -> None:
    asked: list[dict[str, Any]] = [
        {"template": "scratch"},
        {"template": "scratch", "vcpu": 40},
        {"vcpu": 200, "memory_mib": 1024 * 1024},
        {"network": "host"},
        {"labels": {"key": "AKIAABCDEFGHIJKLMNOP"}},
    ]
    dana = world.caller("dana")
    for number, fields in enumerate(asked):
        found = explain(world.rt, dana, refused(world, "dana", name=f"w{number}", **fields))
        assert found["suggestion"]["proposals"], fields
        for proposal in found["suggestion"]["proposals"]:
            changed = request(f"w{number}", **fields)
            for change in proposal["changes"]:
                if change["field"].startswith("labels."):
                    kept = dict(changed.labels)
                    kept.pop(change["field"].removeprefix("labels."))
                    changed = replace(changed, labels=kept)
                else:
                    changed = replace(changed, **{change["field"]: change["to"]})
            again = workspace_preview.preview(world.rt, dana, changed)
            assert again["decision"]["effect"] == proposal["effect"], (fields, proposal)


@spec("PC-13")
def test_the_quota_of_another_team_is_offered_while_typing_only(world: World) -> None:
    dana = world.caller("dana")
    shown = workspace_preview.preview(world.rt, dana, request(vcpu=200, memory_mib=1024))
    assert shown["suggestion"]["proposals"][0]["effect"] in {"allow", "warn"}
    assert "vcpu" in {c["field"] for c in shown["suggestion"]["proposals"][0]["changes"]}
    fine = workspace_preview.preview(world.rt, dana, request())
    assert fine["suggestion"] is None


@spec("PC-13")
def test_last_is_the_callers_own_newest_refusal(world: World) -> None:
    dana, lee = world.caller("dana"), world.caller("lee")
    decision = refused(world, "dana", name="big", vcpu=40)
    assert explain(world.rt, dana, "last")["id"] == decision
    with pytest.raises(NotFoundError):
        explain(world.rt, lee, "last")
    assert explain(world.rt, lee, decision)["id"] == decision  # the lead of dana's team
    with pytest.raises(NotFoundError):
        explain(world.rt, world.caller("otto"), decision)


@spec("PC-13")
def test_a_rule_about_the_requester_has_no_way_around_and_says_so(world: World) -> None:
    decision = refused(world, "ria", team="payments")
    found = explain(world.rt, world.caller("ria"), decision)
    assert found["suggestion"]["proposals"] == []
    assert "invariant/" in found["suggestion"]["why_none"]
    built_in = [r for r in found["rules"] if r["rule"].startswith("invariant/")]
    assert built_in
    assert all(r["file"] is None and r["statements"] == [] for r in built_in)


@spec("PC-13")
def test_an_agents_refusal_is_explained_to_the_agent(world: World) -> None:
    dana = world.caller("dana")
    made = agents.create(
        world.rt,
        dana,
        {
            "name": "fixer",
            "task": "Mend it.",
            "repositories": ["git.example.org/payments/api"],
            "tier": "sandboxed",
            "team": None,
            "project": None,
            "minutes": 60,
            "justification": None,
        },
    )
    world.tokens["fixer"] = made["credential"]["token"]
    decision = refused(world, "fixer", name="box", size="agent", vcpu=16)
    found = explain(world.rt, world.caller("fixer"), decision)
    assert "the agent fixer" in found["sentence"]
    (proposal, *_) = found["suggestion"]["proposals"]
    assert {c["field"]: c["to"] for c in proposal["changes"]} == {
        "vcpu": 8,
        "egress_allowlist": [],
    }


@spec("PC-13")
def test_an_old_decision_is_explained_by_the_rules_that_made_it(world: World) -> None:
    dana = world.caller("dana")
    decision = refused(world, "dana", name="big", vcpu=40)
    limits = (
        shipped_bundle()
        .text("data/limits.json")
        .replace('"cpu_without_approval": 32', '"cpu_without_approval": 48')
    )
    apply_data(world, limits=limits)
    found = explain(world.rt, dana, decision)
    (rule,) = [r for r in found["rules"] if r["rule"] == "admission/cpu-needs-approval"]
    assert values(rule)["data.settings.limits.cpu_without_approval"] == 32
    assert found["now"]["same_rules"] is False
    assert "warn" in found["now"]["sentence"] or "allow" in found["now"]["sentence"]


@spec("PC-13")
def test_rules_that_changed_nothing_are_told_apart(world: World) -> None:
    modes = {"admission/template-not-approved": "dry-run", "network/host-for-humans": "off"}
    apply_data(world, enforcement=json.dumps({"rules": modes}))
    decision = refused(world, "dana", template="scratch", network="host", vcpu=40)
    found = explain(world.rt, world.caller("dana"), decision)
    assert {r["rule"]: r["state"] for r in found["silent"]} == {
        "admission/template-not-approved": "dry-run",
        "network/host-for-humans": "off",
    }
    assert all(r["statements"] for r in found["silent"])


def test_a_bundle_that_is_gone_leaves_a_note_and_the_record(world: World) -> None:
    decision = refused(world, "dana", name="big", vcpu=40)
    from charter.store import tables as t  # noqa: PLC0415 — only here needed

    with world.rt.database.unit_of_work() as tx:
        tx.update(t.bundles, t.bundles.c.digest != "", files={"lib/broken.rego": "package"})
    found = explain(world.rt, world.caller("dana"), decision)
    assert found["rules"][0]["rule"] == "admission/cpu-needs-approval"
    assert found["rules"][0]["statements"] == []
    assert found["suggestion"] is None
    assert "could not be worked out" in found["notes"][0]
    assert decisions.get(world.rt, world.caller("dana"), decision)["id"] == decision
