"""What may stand in data/step_up.json, and what Python does not let anybody write there."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.data import PolicyData
from charter.core.policy.step_up import STOPS_HARM, SecondFactor, Tokens
from tests.spec import spec
from tests.support import STARTER


def documents() -> dict[str, Any]:
    return copy.deepcopy(STARTER.settings())


def problems(actions: dict[str, Any]) -> str:
    found = documents()
    found["step_up"]["actions"] = actions
    with pytest.raises(InvalidInputError) as refusal:
        PolicyData.from_documents(found)
    return refusal.value.message


ENTRY = {"max_age_seconds": 3600, "mfa": "always", "tokens": "fresh"}


@spec("ID-4")
def test_the_shipped_values_ask_for_freshness_everywhere_and_lock_nobody_out() -> None:
    data = PolicyData.from_documents(documents()).step_up
    assert {"role.bind", "people.manage", "policy.apply", "passkey.manage"} <= set(data)
    assert not any(each.mfa is SecondFactor.ALWAYS for each in data.values())
    assert not any(each.tokens is Tokens.ALWAYS for each in data.values())
    assert not set(data) & STOPS_HARM


@spec("ID-4")
def test_what_stops_harm_never_waits() -> None:
    for action in STOPS_HARM:
        assert "stops harm" in problems({action: ENTRY})


@spec("ID-4")
def test_a_first_passkey_can_always_be_added() -> None:
    assert "first passkey" in problems({"passkey.manage": ENTRY})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_age_seconds": 0}, "must be at least 60"),
        ({"mfa": "sometimes"}, "must be one of never, with-passkey, always"),
        ({"tokens": "maybe"}, "must be one of fresh, always, never"),
        ({"only_rules": "production"}, "must be a list"),
        ({"max_age": 1}, "is not a known entry"),
    ],
)
def test_a_slip_is_a_sentence(change: dict[str, Any], said: str) -> None:
    assert said in problems({"role.bind": {**ENTRY, **change}})


def test_an_unknown_action_is_a_slip() -> None:
    assert "no action that data.actions names" in problems({"role.bnid": ENTRY})


def test_bundles_from_before_ask_for_nothing() -> None:
    found = documents()
    del found["step_up"]
    assert PolicyData.from_documents(found).step_up == {}
