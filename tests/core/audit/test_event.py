"""What may stand in a leaf, and what stays erasable."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.audit.event import (
    MAX_LEAF_BYTES,
    SALT_BYTES,
    ActorRef,
    AuditEvent,
    Outcome,
    commitment,
    leaf,
    private_payload,
    verify_commitment,
)
from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.errors import InvalidInputError
from tests.spec import spec

SALT = bytes(range(SALT_BYTES))
EVENT = AuditEvent(
    id="evt_1",
    at=datetime(2026, 3, 1, 9, 30, tzinfo=timezone(timedelta(hours=2))),
    actor=ActorRef("agent", "agt_1", sponsor_id="per_1", credential_id="crd_1"),
    action="workspace.create",
    resource_kind="workspace",
    resource_id="ws_1",
    outcome=Outcome.DENIED,
    decision_id="dec_1",
    reason_codes=("invariant/delegation",),
    facts={"vcpu": 40, "gpu": False, "tier": "sandboxed", "grant": None},
    private={"name": "dana", "address": {"ip": "192.0.2.1", "ports": [22, 443]}},
)


def test_the_bytes_of_a_leaf() -> None:
    sealed = leaf(EVENT, SALT)
    document = json.loads(sealed)
    assert canonical_json(document).encode() == sealed
    assert document == {
        "schema": "charter.audit/1",
        "id": "evt_1",
        "at": "2026-03-01T07:30:00.000000Z",
        "actor": {
            "kind": "agent",
            "id": "agt_1",
            "sponsor_id": "per_1",
            "credential_id": "crd_1",
        },
        "action": "workspace.create",
        "resource": {"kind": "workspace", "id": "ws_1"},
        "outcome": "denied",
        "decision_id": "dec_1",
        "reason_codes": ["invariant/delegation"],
        "facts": {"vcpu": 40, "gpu": False, "tier": "sandboxed", "grant": None},
        "private": commitment(EVENT.private or {}, SALT),
    }


@spec("AU-3")
def test_no_personal_datum_is_in_the_leaf() -> None:
    sealed = leaf(EVENT, SALT)
    assert b"dana" not in sealed
    assert b"192.0.2.1" not in sealed
    assert leaf(EVENT, bytes(SALT_BYTES)) != sealed
    assert leaf(replace(EVENT, private=None), SALT) == leaf(replace(EVENT, private=None), b"")


@spec("AU-3")
def test_a_commitment_holds_through_storage() -> None:
    sealed = leaf(EVENT, SALT)
    stored = json.loads(private_payload(EVENT.private or {}))
    assert verify_commitment(sealed, SALT, stored)
    assert not verify_commitment(sealed, SALT, {**stored, "name": "lee"})
    assert not verify_commitment(sealed, bytes(SALT_BYTES), stored)
    assert not verify_commitment(sealed, b"short", stored)
    assert not verify_commitment(leaf(replace(EVENT, private=None), SALT), SALT, stored)
    for other in (b"", b"[]", b"\xff", b"null", b"[" * 60_000, b'{"private":7}'):
        assert not verify_commitment(other, SALT, stored)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcdef", min_size=1), PLAIN, max_size=4), st.binary())
def test_commitments_of_anything(private: dict[str, object], salt: bytes) -> None:
    event = replace(EVENT, private=private)
    if "\x00" in json.dumps(private, ensure_ascii=False) or "\\u0000" in json.dumps(private):
        with pytest.raises(InvalidInputError):
            leaf(event, SALT)
        return
    sealed = leaf(event, SALT)
    assert verify_commitment(sealed, SALT, json.loads(private_payload(private)))
    if salt != SALT:
        assert not verify_commitment(sealed, salt, private)


def test_the_largest_leaf() -> None:
    room = MAX_LEAF_BYTES - len(leaf(replace(EVENT, facts={"x": ""}), SALT))
    assert len(leaf(replace(EVENT, facts={"x": "a" * room}), SALT)) == MAX_LEAF_BYTES
    with pytest.raises(InvalidInputError, match="65536 bytes") as caught:
        leaf(replace(EVENT, facts={"x": "a" * (room + 1)}), SALT)
    assert caught.value.code == "audit-event-too-large"
    assert caught.value.fix


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"id": ""}, "id is not between"),
        ({"id": "e" * 257}, "id is not between"),
        ({"resource_id": "ws\n1"}, "printed"),
        ({"action": "Workspace Create"}, "lower-case"),
        ({"action": "workspace..create"}, "lower-case"),
        ({"resource_kind": "work space"}, "lower-case"),
        ({"actor": ActorRef("human", "dana@example.org")}, "personal"),
        ({"actor": ActorRef("agent", "agt_1", sponsor_id="dana@example.org")}, "personal"),
        ({"decision_id": "\ud800"}, "printed"),
        ({"reason_codes": ("",)}, "reason_codes"),
        ({"at": datetime(2026, 3, 1)}, "zone"),  # noqa: DTZ001 - the point of the case
        ({"facts": {"x": 1.5}}, "float"),
        ({"facts": {"x": ["a"]}}, "list"),
        ({"facts": {"": 1}}, "facts"),
        ({"facts": {"x": "\ud800"}}, "surrogate"),
        ({"facts": {"x": "a\x00"}}, "NUL"),
        ({"private": {"x": 1.5}}, "float"),
        ({"private": {"x": "\ud800"}}, "surrogate"),
        ({"private": {"x": ["a\x00"]}}, "NUL"),
        ({"private": {"x": {1: 2}}}, "key"),
        ({"private": {"x": datetime(2026, 3, 1, tzinfo=UTC)}}, "datetime"),
    ],
)
def test_unfit_events_are_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidInputError, match=word) as caught:
        leaf(replace(EVENT, **change), SALT)
    assert caught.value.fix
    assert caught.value.message.endswith(".")


def test_deep_private_data_and_a_wrong_salt() -> None:
    deep: object = "x"
    for _ in range(20):
        deep = [deep]
    with pytest.raises(InvalidInputError, match="deeper"):
        leaf(replace(EVENT, private={"x": deep}), SALT)
    with pytest.raises(InvalidInputError, match="salt"):
        leaf(EVENT, b"salt")
