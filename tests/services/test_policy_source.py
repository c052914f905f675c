"""What comes from the repository, when, and what a broken or hostile one can do: nothing."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from charter.core.kernel.errors import NotFoundError, UnauthenticatedError
from charter.services import policies, policy_monitor, policy_source
from charter.services.policy_point import write_down
from charter.store import tables as t
from tests.services.pipeline import Pipeline, build, rules
from tests.services.test_policy_bundles import break_active
from tests.spec import spec as proves
from tests.support import HOOK_SECRET, World


@pytest.fixture
def pipeline(world: World, tmp_path: Path) -> Iterator[Pipeline]:
    """A watched repository, and people of both sides."""
    return build(world, tmp_path)


def heads(pipeline: Pipeline) -> dict[str, str]:
    found = policy_source.state(pipeline.world.rt, pipeline.world.admin)
    return {head["branch"]: head["outcome"] for head in found["heads"]}


def told(world: World, kind: str) -> int:
    with world.rt.database.reading() as tx:
        query = sa.select(sa.func.count()).where(t.notices.c.kind == kind)
        return int(tx.conn.execute(query).scalar_one())


@proves("PC-4")
def test_the_main_branch_is_compared_with_what_was_last_seen(pipeline: Pipeline) -> None:
    forge = pipeline.forge
    assert heads(pipeline) == {"main": "It changes no policy."}
    forge.push("main", {"docs/a.md": "A.\n"}, "On main", new=False)
    pipeline.fetch()
    pipeline.turn()
    change = pipeline.change("On main")
    assert [f["path"] for f in change["changed"]] == ["docs/a.md"]
    # Rewritten: the difference from what was seen counts, whatever the history says now.
    forge.git("reset", "--quiet", "--hard", "HEAD~1")
    forge.push("main", {"docs/b.md": "B.\n"}, "Rewritten", new=False)
    pipeline.fetch()
    pipeline.turn()
    assert pipeline.change("On main")["state"] == "superseded"
    changed = {f["path"]: f["kind"] for f in pipeline.change("Rewritten")["changed"]}
    assert changed == {"docs/a.md": "deleted", "docs/b.md": "added"}
    # A branch that is level with main holds no change.
    forge.git("push", "--quiet", "--force", "origin", "HEAD:refs/heads/level")
    pipeline.fetch()
    assert heads(pipeline)["level"] == "It changes no policy."


@proves("PC-4")
def test_a_repository_seen_for_the_first_time_proposes_what_it_holds(pipeline: Pipeline) -> None:
    world = pipeline.world
    changed = {**rules(), "docs/else.md": "Elsewhere.\n"}
    world.clock.advance(seconds=1)
    policies.apply(world.rt, world.admin, changed, "Meanwhile.", emergency=True)
    with world.rt.database.unit_of_work() as tx:
        tx.conn.execute(sa.delete(t.policy_source_heads))
    pipeline.fetch()
    pipeline.turn()
    assert pipeline.change("The rules.")["changed"] == [{"path": "docs/else.md", "kind": "deleted"}]


@proves("PC-4")
def test_what_cannot_be_read_is_a_refused_change_with_a_sentence(pipeline: Pipeline) -> None:
    forge = pipeline.forge
    forge.git("checkout", "--quiet", "-B", "links", "main")
    (forge.clone / "policies" / "passwd.rego").symlink_to("/etc/passwd")
    forge.send("links", "Links")
    forge.git("checkout", "--quiet", "-B", "option", "main")
    (forge.clone / "policies" / "option.md").write_text("Fine.\n")
    forge.send("--upload-pack=x", "Looks like an option")
    forge.push("big", {"data/big.json": '"' + "x" * (1 << 20) + '"'}, "Big")
    forge.git("checkout", "--quiet", "-B", "empty", "main")
    forge.git("rm", "--quiet", "-r", "policies")
    forge.send("empty", "Nothing left")
    pipeline.fetch()
    pipeline.turn()
    found = pipeline.changes()
    assert found.pop("Looks like an option")["state"] == "in-review"  # a name is only a name
    assert {c["state"] for c in found.values()} == {"refused"}
    assert "passwd.rego is a symbolic link" in found["Links"]["reason"]
    assert "larger than 1 MiB" in found["Big"]["reason"]
    assert "no .rego file" in found["Nothing left"]["reason"]
    assert found["Links"]["diff"] == ""


@proves("PC-4")
def test_a_repository_that_is_gone_is_an_alert_and_comes_back(pipeline: Pipeline) -> None:
    world, forge = pipeline.world, pipeline.forge
    away = forge.folder / "away"
    Path(forge.url).rename(away)
    for _ in range(2):
        assert "failed" in pipeline.fetch()
    found = policy_source.state(world.rt, world.admin)
    assert "git fetch failed" in found["error"]
    assert found["failing_since"] is not None
    assert told(world, "policy-source") == 1  # once, not at every look
    away.rename(forge.url)
    pipeline.fetch()
    assert policy_source.state(world.rt, world.admin)["error"] is None


@proves("PC-4")
def test_the_webhook_rings_and_says_nothing(pipeline: Pipeline) -> None:
    rt = pipeline.world.rt
    assert policy_source.step(rt) is None  # it is not time yet
    secret = HOOK_SECRET.get_secret_value()
    signature = hmac.new(secret.encode(), b"{}", sha256).hexdigest()
    for headers in (
        {"x-hub-signature-256": f"sha256={signature}"},
        {"x-gitea-signature": signature},
        {"x-gitlab-token": secret},
    ):
        policy_source.ring(rt, b"{}", headers)
        assert policy_source.step(rt) is not None
    for forged in ({}, {"x-hub-signature-256": "sha256="}, {"x-gitlab-token": ""}):
        with pytest.raises(UnauthenticatedError):
            policy_source.ring(rt, b"{}", forged)
    with pytest.raises(UnauthenticatedError):
        policy_source.ring(rt, b"{} ", {"x-gitea-signature": signature})
    closed = rt.settings.model_copy(update={"policy_webhook_secret": None})
    object.__setattr__(rt, "settings", closed)
    with pytest.raises(NotFoundError):
        policy_source.ring(rt, b"{}", {"x-gitlab-token": ""})


def test_a_bell_that_rings_while_it_is_fetched_is_heard(pipeline: Pipeline) -> None:
    rt = pipeline.world.rt
    pipeline.world.clock.advance(seconds=61)
    claimed = policy_source._claim(rt)
    assert claimed is not None
    assert policy_source._claim(rt) is None  # another replica waits
    policy_source.ring(rt, b"", {"x-gitlab-token": HOOK_SECRET.get_secret_value()})
    policy_source._settle(rt, claimed, None)
    assert policy_source._claim(rt) is not None


# --- the monitor ------------------------------------------------------------------------------
@proves("PC-5")
def test_a_bundle_in_force_that_cannot_be_loaded_is_taken_back(world: World) -> None:
    before = policies.active(world.rt, world.admin)["digest"]
    broken = break_active(world)
    world.clock.advance(seconds=1)
    done = policy_monitor.step(world.rt)
    assert done == {"failed": broken.digest, "kind": "load"}
    assert policies.active(world.rt, world.admin)["digest"] == before
    assert told(world, "policy-failed") == 2  # the platform side and the security side
    assert policy_monitor.step(world.rt) is None


@proves("PC-5")
def test_an_engine_that_fails_takes_a_watched_change_back(pipeline: Pipeline) -> None:
    world = pipeline.world
    before = pipeline.active()
    pipeline.forge.push("topic", {"docs/a.md": "A.\n"}, "Topic")
    pipeline.fetch()
    pipeline.turn()
    pipeline.agree("Topic")
    pipeline.tried()
    promoted = pipeline.promote("Topic")
    with world.rt.database.unit_of_work() as tx:  # what a decision leaves on any replica
        write_down(tx, promoted["digest"], "engine", "policy-timeout")
    world.clock.advance(seconds=1)
    assert (pipeline.watch() or {})["failed"] == promoted["digest"]
    done: Any = pipeline.watch()
    assert done["did"] == "rolled back"
    assert pipeline.active() == before
    assert "policy-timeout" in pipeline.change("Topic")["reason"]


@proves("PC-5")
def test_a_candidate_that_fails_on_the_stage_is_refused(pipeline: Pipeline) -> None:
    world = pipeline.world
    pipeline.forge.push("topic", {"docs/a.md": "A.\n"}, "Topic")
    pipeline.fetch()
    pipeline.turn()
    pipeline.agree("Topic")
    change = pipeline.change("Topic")
    assert change["state"] == "staged"
    with world.rt.database.unit_of_work() as tx:
        write_down(tx, change["digest"], "engine", "policy-timeout")
    pipeline.turn()
    assert pipeline.change("Topic")["state"] == "refused"
    assert "on the stage" in pipeline.change("Topic")["reason"]
