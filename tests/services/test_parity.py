"""An external OPA as the engine, and the parity gate before a bundle is put in force."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from charter.adapters.rego.engine import EngineThread
from charter.core.kernel.errors import ConflictError, UnavailableError
from charter.services import decisions, parity, replay, workspaces
from charter.services.policy_point import PolicyPoint, engine_maker
from charter.services.runtime import Runtime
from charter.services.workspace_questions import WorkspaceRequest
from charter.settings import Settings
from tests.peers import free_port
from tests.spec import spec
from tests.support import STARTER, World


def configured(rt: Runtime, url: str | None, **settings: object) -> Runtime:
    """The same instance with an OPA at `url`."""
    found = Settings(
        state_dir=rt.settings.state_dir,
        database_url=rt.settings.database_url,
        opa_url=url,
        **settings,  # type: ignore[arg-type]
    )
    return dataclasses.replace(rt, settings=found)


@spec("PC-12")
def test_where_no_opa_is_configured_nothing_is_compared(world: World) -> None:
    report = parity.compare(world.rt, STARTER)
    assert report.passed
    assert report.engine is None


@spec("PC-12")
def test_an_opa_that_does_not_answer_closes_the_gate(world: World) -> None:
    rt = configured(world.rt, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnavailableError) as refused:
        parity.compare(rt, STARTER)
    assert refused.value.code == "opa-unavailable"


@spec("PC-12")
# OPA compiles everything again for each module that it is given.
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_bundle_that_engines_see_differently_is_refused_by_rule_and_decision(
    world: World, opa_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The loader refuses every place that is known to be read differently; this is one more.
    monkeypatch.setattr("charter.adapters.rego.assemble.misread", lambda _: [])
    workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest("api", "python"))
    rt = configured(world.rt, opa_url, opa_parity_sample=3)
    bundle = STARTER.with_files(
        {
            "admission/extra.rego": "package admission.extra\n\nimport rego.v1\n\n"
            '# METADATA\n# title: "Images"\n# custom:\n#   id: admission/images\n'
            '#   severity: high\n#   fix: "Use a good one."\n'
            'deny contains {"id": "admission/images", "message": "No."} if '
            'not startswith(input.image, "good/")\n',
            **dict.fromkeys(STARTER.test_modules),
        }
    )
    with pytest.raises(ConflictError) as refused:
        parity.require_parity(rt, bundle)
    assert refused.value.code == "parity"
    assert "admission/images" in refused.value.message
    found = refused.value.details["parity"]
    assert isinstance(found, dict)
    assert found["decisions"] == 3
    assert all(d["rules"] == ["admission/images"] for d in found["differences"])
    decided = {d["name"] for d in found["differences"] if d["kind"] == "decision"}
    assert any(name.startswith("dec_") for name in decided), found["differences"][:5]


@spec("PC-12", "PC-6")
# OPA compiles everything again for each module that it is given.
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_decisions_that_opa_made_replay_on_the_builtin_engine(world: World, opa_url: str) -> None:
    settings = configured(world.rt, opa_url, policy_engine="opa").settings
    point = PolicyPoint(world.rt.keys.policy.public_key(), engine_maker(settings))
    rt = dataclasses.replace(world.rt, policy=point)
    try:
        made = workspaces.create(rt, world.caller("dana"), WorkspaceRequest("api", "python"))
        stored = decisions.get(rt, world.admin, made["decision"]["id"])
        assert stored["engine"].startswith("opa 1.")
        assert stored["bundle_digest"] == STARTER.digest
        report = replay.replay(rt, world.admin, 50)
        assert report["replayed"] > 0
        assert report["differences"] == 0
    finally:
        point.close()


@spec("PC-2")
def test_without_its_opa_nothing_is_decided(world: World) -> None:
    settings = configured(world.rt, f"http://127.0.0.1:{free_port()}", policy_engine="opa").settings
    rt = dataclasses.replace(
        world.rt, policy=PolicyPoint(world.rt.keys.policy.public_key(), engine_maker(settings))
    )
    with pytest.raises(UnavailableError):
        workspaces.create(rt, world.caller("dana"), WorkspaceRequest("api", "python"))
    nowhere = configured(world.rt, None, policy_engine="opa").settings
    with pytest.raises(UnavailableError):
        engine_maker(nowhere)


def test_both_engines_answer_questions_about_single_rules() -> None:
    with EngineThread(STARTER) as engine:
        assert engine.query(("no", "such"), "{}") == (False, None)
        found = engine.query(("charter", "facts", "action"), json.dumps({"action": {"name": "x"}}))
        assert found == (True, "x")


def test_a_token_file_is_a_setting(tmp_path: Path) -> None:
    assert Settings(opa_token_file=tmp_path / "t").opa_token_file == tmp_path / "t"
