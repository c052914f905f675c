"""What is in force: signed, known by history, taken back in one step, never replaced by ruins."""

from __future__ import annotations

import time
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from charter.core.access.invariants import ResourceRef
from charter.core.audit.event import ActorRef
from charter.core.kernel.errors import (
    CharterError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from charter.core.policy.bundle import Bundle
from charter.services import decisions, policies, policy_bundles, replay, workspaces
from charter.services.bootstrap import bootstrap
from charter.services.policy_bundles import Kind
from charter.services.policy_point import PolicyPoint
from charter.services.policy_signature import sign, signed_by
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.spec import spec as proves
from tests.support import BRIEF, STARTER, World

FILES = {path: BRIEF.text(path) for path in BRIEF.files}
SYSTEM = ActorRef("system", "test")
NO_MORE = """package admission.freeze

import rego.v1

deny contains {"id": "freeze/all", "message": "Nothing new.", "fix": "Wait."} if {
	input.action.name == "workspace.create"
}
"""


def noted(text: str) -> dict[str, str]:
    return {**FILES, "docs/note.md": text}


def frozen() -> dict[str, str]:
    """The starter's rules and one that forbids every new workspace."""
    return {**FILES, "admission/freeze.rego": NO_MORE}


def applied(world: World, files: dict[str, str], why: str = "") -> str:
    world.clock.advance(seconds=1)
    return str(policies.apply(world.rt, world.admin, files, why)["digest"])


def break_active(world: World) -> Bundle:
    """Put a signed bundle in force that does not compile, as a newer engine may find."""
    broken = Bundle({**FILES, "admission/extra.rego": "package admission\n\ndeny contains x if {"})
    world.clock.advance(seconds=1)
    with world.rt.database.unit_of_work() as tx:
        policy_bundles.store_bundle(tx, broken, loaded_by="test", note_text="")
        policy_bundles.put_in_force(
            world.rt, tx, broken.digest, kind=Kind.APPLY, by=SYSTEM, why="An accident."
        )
    return broken


def create(world: World, name: str) -> Any:
    return workspaces.create(world.rt, world.caller("dana"), WorkspaceRequest(name, "python"))


def newest(world: World) -> dict[str, Any]:
    found: dict[str, Any] = decisions.list_page(world.rt, world.admin)["items"][0]
    return found


@proves("PC-5")
def test_a_rollback_counts_on_every_replica_with_the_next_decision(world: World) -> None:
    first = STARTER.digest
    other = PolicyPoint(world.rt.keys.policy.public_key())
    try:
        with world.rt.database.reading() as tx:
            assert other.active(tx).digest == first
        second = applied(world, frozen())
        with world.rt.database.reading() as tx:
            assert other.active(tx).digest == second
        with pytest.raises(ForbiddenError):
            create(world, "one")
        world.clock.advance(seconds=1)
        policies.go_back(world.rt, world.caller("sam"), None, "It stops everybody.")
        committed = time.monotonic()
        for point in (world.rt.policy, other):
            with world.rt.database.reading() as tx:
                assert point.active(tx).digest == first
        assert time.monotonic() - committed < 2
        create(world, "one")
    finally:
        other.close()
    history = policy_bundles.list_history(world.rt, world.admin)["items"]
    assert [(a["kind"], a["digest"], a["why"]) for a in history] == [
        ("rollback", first, "It stops everybody."),
        ("apply", second, ""),
        ("bootstrap", first, "Starter policies."),
    ]
    assert history[0]["by_handle"] == "sam"
    assert history[0]["previous"] == second


@proves("PC-5")
def test_there_is_a_way_back_only_to_what_was_in_force(world: World) -> None:
    with pytest.raises(ConflictError) as refused:
        policies.go_back(world.rt, world.admin, None, "")
    assert refused.value.code == "no-earlier-bundle"
    candidate = Bundle(noted("Never looked at.\n"))
    with world.rt.database.unit_of_work() as tx:
        policy_bundles.store_bundle(tx, candidate, loaded_by="x", note_text="")
    for way_in in (
        lambda: policies.activate(world.rt, world.admin, candidate.digest),
        lambda: policies.go_back(world.rt, world.admin, candidate.digest, ""),
    ):
        with pytest.raises(ConflictError) as refused:
            way_in()
        assert refused.value.code == "never-in-force"
    with pytest.raises(ForbiddenError):
        policies.go_back(world.rt, world.caller("dana"), STARTER.digest, "")
    with pytest.raises(NotFoundError):
        policies.go_back(world.rt, world.admin, "sha256:" + "0" * 64, "")
    digests = [b["digest"] for b in policies.bundles(world.rt, world.admin)["items"]]
    assert digests == [STARTER.digest]


@proves("PC-2", "PC-5")
def test_the_last_good_bundle_stays_and_nothing_becomes_a_yes(world: World) -> None:
    create(world, "before")
    broken = break_active(world)
    create(world, "after")
    assert newest(world)["bundle_digest"] == STARTER.digest
    found = policies.active(world.rt, world.admin)
    assert found["digest"] == broken.digest
    assert found["standing_in"] == STARTER.digest
    assert "extra.rego" in found["failing"]
    with world.rt.database.reading() as tx:
        assert tx.one(sa.select(t.policy_failures.c.kind))["kind"] == "load"  # type: ignore[index]
        # A replica that starts now has no last good bundle of its own: the history has.
        fresh = PolicyPoint(world.rt.keys.policy.public_key())
        assert fresh.active(tx).digest == STARTER.digest
        assert [trouble.digest for trouble in fresh.trouble(tx)] == [broken.digest]
        fresh.close()
    assert replay.replay(world.rt, world.admin, 1000)["differences"] == 0


@proves("PC-4")
def test_what_was_taken_back_stands_in_last(world: World) -> None:
    good, current, bad = (applied(world, noted(text)) for text in ("good", "current", "bad"))
    world.clock.advance(seconds=1)
    with world.rt.database.unit_of_work() as tx:
        policy_bundles.put_in_force(
            world.rt, tx, current, kind=Kind.ROLLBACK, by=SYSTEM, why="It was bad."
        )
        tx.update(t.bundles, t.bundles.c.digest == current, signature="damaged")
    started = PolicyPoint(world.rt.keys.policy.public_key())
    with world.rt.database.reading() as tx:
        assert started.active(tx).digest == good
        assert policy_bundles.previous_good(tx) == good
    assert bad != good
    started.close()


@proves("PC-2", "PC-4")
def test_a_bundle_that_was_not_signed_here_decides_nothing(world: World) -> None:
    rt = world.rt
    own = noted("Slipped into the database.\n")
    slipped = Bundle(own)
    with rt.database.unit_of_work() as tx:
        policy_bundles.store_bundle(tx, slipped, loaded_by="nobody", note_text="")
        stranger = Ed25519PrivateKey.generate()
        row = policy_bundles.row_of(tx, slipped.digest)
        forged = sign(stranger, row)
        tx.update(t.bundles, t.bundles.c.digest == slipped.digest, signature=forged)
        tx.update(t.active_bundle, sa.true(), digest=slipped.digest)
    with rt.database.reading() as tx:
        assert rt.policy.active(tx).digest == STARTER.digest
        assert "not what was signed" in rt.policy.trouble(tx)[0].message
    # With nothing left that was signed, every decision is a refusal.
    with rt.database.unit_of_work() as tx:
        tx.update(t.bundles, sa.true(), signature=None)
    point = PolicyPoint(rt.keys.policy.public_key())
    with rt.database.reading() as tx, pytest.raises(UnavailableError) as refused:
        point.deciding(tx, ResourceRef("workspace"))
    assert (refused.value.status, refused.value.code) == (503, "policy-unavailable")


@proves("PC-4")
def test_a_kept_bundle_that_was_changed_is_noticed(world: World) -> None:
    rt = world.rt
    second = applied(world, noted("Second.\n"))
    with rt.database.unit_of_work() as tx:
        tx.update(t.bundles, t.bundles.c.digest == second, files=noted("Changed since.\n"))
    point = PolicyPoint(rt.keys.policy.public_key())
    with rt.database.reading() as tx:
        assert point.active(tx).digest == STARTER.digest
    point.close()


@proves("PC-4")
def test_an_exported_bundle_carries_what_verifies_it(world: World) -> None:
    found = policy_bundles.exported(world.rt, world.admin, STARTER.digest)
    assert Bundle(found["files"]).digest == found["statement"]["digest"] == STARTER.digest
    with world.rt.database.reading() as tx:
        row = dict(policy_bundles.row_of(tx, STARTER.digest))
    key = world.rt.keys.policy.public_key()
    assert signed_by(key, row)
    for name, value in (("note", "Another."), ("digest", "sha256:0"), ("signature", "ed25519:?")):
        assert not signed_by(key, {**row, name: value})


@proves("PC-5")
def test_with_a_source_only_an_emergency_passes_the_reviews_by(world: World) -> None:
    watched = world.rt.settings.model_copy(update={"policy_repository": "/srv/policies.git"})
    object.__setattr__(world.rt, "settings", watched)
    with pytest.raises(ConflictError) as refused:
        applied(world, noted("Directly.\n"))
    assert refused.value.code == "pipeline-required"
    with pytest.raises(InvalidInputError):
        policies.apply(world.rt, world.admin, noted("Now.\n"), " ", emergency=True)
    made = policies.apply(world.rt, world.admin, noted("Now.\n"), "A leak.", emergency=True)
    assert made["active"]
    with world.rt.database.reading() as tx:
        notices = tx.all(sa.select(t.notices.c.message, t.notices.c.kind))
        assert [n["kind"] for n in notices if "A leak." in n["message"]] == ["policy-emergency"]
    assert policy_bundles.list_history(world.rt, world.admin)["items"][0]["kind"] == "emergency"


@proves("PC-4")
def test_what_was_kept_before_there_was_a_history_is_taken_over_once(world: World) -> None:
    second = applied(world, noted("Second.\n"))
    with world.rt.database.unit_of_work() as tx:  # as version 0.1.0 left it
        tx.conn.execute(sa.delete(t.policy_activations))
        tx.update(t.bundles, sa.true(), signature=None)
    bootstrap(world.rt, STARTER)
    point = PolicyPoint(world.rt.keys.policy.public_key())
    with world.rt.database.reading() as tx:
        assert point.active(tx).digest == second
    point.close()
    world.clock.advance(seconds=1)
    assert policies.go_back(world.rt, world.admin, None, "")["digest"] == STARTER.digest
    # What comes in unsigned after that is not taken over.
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.bundles, t.bundles.c.digest == second, signature=None)
    bootstrap(world.rt, STARTER)
    with world.rt.database.reading() as tx:
        assert policy_bundles.row_of(tx, second)["signature"] is None


def test_a_bundle_that_does_not_load_is_never_put_in_force_by_a_person(world: World) -> None:
    broken = break_active(world)
    applied(world, noted("Better.\n"))
    with pytest.raises(CharterError):
        policies.go_back(world.rt, world.admin, broken.digest, "")
    assert policies.active(world.rt, world.admin)["digest"] != broken.digest
