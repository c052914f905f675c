"""Arithmetic of amounts: a vector space without surprises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.resources.amounts import DIMENSIONS, Amount, show
from tests.spec import spec

NUMBERS = st.integers(-(10**9), 10**9)
AMOUNTS = st.builds(Amount, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)


@spec("RG-2")
@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_addition_and_subtraction(a, b, c) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert (a + b) - b == a
    assert a + Amount() == a
    assert a - a == Amount()


@spec("RG-2")
@given(AMOUNTS, AMOUNTS)
def test_comparison_is_per_dimension(a, b) -> None:
    assert a.exceeding(b) == tuple(d for d in DIMENSIONS if getattr(a, d) > getattr(b, d))
    assert a.fits_within(b) == (b - a).non_negative
    assert a.fits_within(a)


@given(AMOUNTS)
def test_the_stored_form_reads_back(a) -> None:
    assert Amount(**a.as_json()) == a
    assert tuple(a.as_json()) == DIMENSIONS


def test_only_its_own_dimensions_can_be_asked_for() -> None:
    with pytest.raises(ValueError, match="no dimension"):
        Amount().of("as_json")
    with pytest.raises(ValueError, match="no dimension"):
        show("tokens", 1)


@pytest.mark.parametrize(
    ("dimension", "number", "text"),
    [
        ("vcpu", 40, "40 vCPU"),
        ("memory_mib", 32_768, "32 GiB of memory"),
        ("disk_mib", 1500, "1500 MiB of disk"),
        ("gpu", 1, "1 GPU"),
        ("workspaces", 1, "1 workspace"),
        ("workspaces", 3, "3 workspaces"),
    ],
)
def test_amounts_for_people(dimension, number, text) -> None:
    assert show(dimension, number) == text
