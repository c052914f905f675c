"""Quantities are read exactly, and what is none is refused."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.kubernetes.quantities import count, cpu_milli, mib, parse_quantity

READ = {
    "100m": Fraction(1, 10),
    "1.5": Fraction(3, 2),
    "1.": Fraction(1),
    ".5": Fraction(1, 2),
    "+2": Fraction(2),
    "-0": Fraction(0),
    "1e3": Fraction(1000),
    "1E3": Fraction(1000),
    "1e-3": Fraction(1, 1000),
    "1E": Fraction(10**18),
    "1.5E": Fraction(15 * 10**17),
    "2Gi": Fraction(2 * 1024**3),
    "1G": Fraction(10**9),
    "1k": Fraction(1000),
    "1M": Fraction(10**6),
    "5n": Fraction(5, 10**9),
    "7u": Fraction(7, 10**6),
    "0": Fraction(0),
    "7Ei": Fraction(7 * 1024**6),
    2: Fraction(2),
    0.5: Fraction(1, 2),
    1e-05: Fraction(1, 100000),
}


@pytest.mark.parametrize(("written", "value"), READ.items(), ids=str)
def test_what_is_read(written: object, value: Fraction) -> None:
    assert parse_quantity(written) == value


@pytest.mark.parametrize(
    "written",
    [
        "", " 1", "1 ", "1Kib", "1K", "1ki", "Gi", "m", "1.2.3", "1e", "0x10", "1_000", "\u0661",
        "1e3Gi",
        "-1", "-1m", "8Ei", "1e31", "9" * 41, "1\n", True, None, [], {}, float("nan"), 2**63,
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"quantity|exponent"):
        parse_quantity(written)


def test_whole_units_are_rounded_up() -> None:
    assert cpu_milli("0.1001") == 101
    assert cpu_milli("1") == 1000
    assert mib("1Gi") == 1024
    assert mib("1") == 1
    assert mib("1G") == 954
    assert mib("128m") == 1
    assert mib("0") == 0
    assert count("1001m") == 2


@given(st.integers(0, 10**6), st.sampled_from(["", "Ki", "Mi", "Gi", "k", "M", "G"]))
def test_a_number_and_its_suffix_multiply(number: int, suffix: str) -> None:
    factor = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}
    assert parse_quantity(f"{number}{suffix}") == number * factor[suffix]


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_quantity(text) >= 0
