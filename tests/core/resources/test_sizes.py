"""From a size and overrides to an amount, or to everything that is wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.resources.amounts import Amount
from charter.core.resources.sizes import Size, resolve
from tests.spec import spec

SIZES = {
    "small": Size("small", 2, 8 * 1024, 50 * 1024),
    "gpu": Size("gpu", 4, 16 * 1024, 50 * 1024, gpu=1),
}
BOUND = Amount(vcpu=512, memory_mib=4_194_304, disk_mib=16_777_216, gpu=16)


@spec("RG-1")
def test_a_size_as_it_is_and_with_overrides() -> None:
    assert resolve("small", {}, SIZES, BOUND) == Amount(2, 8192, 51_200, 0, 1)
    assert resolve("gpu", {"vcpu": 8, "gpu": 0}, SIZES, BOUND) == Amount(8, 16_384, 51_200, 0, 1)


@spec("RG-1")
@pytest.mark.parametrize(
    ("name", "overrides", "rules"),
    [
        ("huge", {}, ["size-name"]),
        ("small", {"vcpu": -1}, ["size-value"]),
        ("small", {"vcpu": 0}, ["size-value"]),
        ("small", {"gpu": -1}, ["size-value"]),
        ("small", {"vcpu": True}, ["size-value"]),
        ("small", {"vcpu": 2.0}, ["size-value"]),
        ("small", {"vcpu": "2"}, ["size-value"]),
        ("small", {"vcpu": None}, ["size-value"]),
        ("small", {"vcpu": float("nan")}, ["size-value"]),
        ("small", {"vcpu": 513}, ["size-bound"]),
        ("small", {"disk_mib": 10**30}, ["size-bound"]),
        ("small", {"workspaces": 9}, ["size-field"]),
        ("small", {"cpus": 9}, ["size-field"]),
        ("huge", {"gpu": -1, "vcpu": 0}, ["size-name", "size-value", "size-value"]),
    ],
)
def test_everything_that_is_wrong_is_said_at_once(name, overrides, rules) -> None:
    problems = resolve(name, overrides, SIZES, BOUND)
    assert isinstance(problems, tuple)
    assert [p.rule for p in problems] == [f"invariant/{rule}" for rule in rules]
    assert all(p.fix for p in problems)


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
FIELDS = st.sampled_from(["vcpu", "memory_mib", "disk_mib", "gpu", "workspaces", "x"])


@spec("RG-1")
@given(st.sampled_from(["small", "gpu", "none"]), st.dictionaries(FIELDS, ANYTHING))
def test_an_amount_is_always_possible(name, overrides) -> None:
    amount = resolve(name, overrides, SIZES, BOUND)
    if isinstance(amount, Amount):
        assert amount.fits_within(BOUND + Amount(workspaces=1))
        assert Amount(1, 1, 1, 0, 1).fits_within(amount)
        assert all(amount.of(field) == value for field, value in overrides.items())
    else:
        assert amount
