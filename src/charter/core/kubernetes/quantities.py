"""Kubernetes quantities, exactly: `100m`, `1.5`, `2Gi`, `1e3` and their kin.

A quantity is a decimal number with a suffix: a binary one (`Ki`, `Mi`, …), a decimal one (`n`,
`u`, `m`, `k`, `M`, …) or an exponent (`e3`, `E3`). `E` alone is exa, `E3` is an exponent, and `m`
is a thousandth whatever is measured: memory of `128m` is an eighth of a byte, which is a common
slip and no 128 MiB. Values stay fractions until they are counted in whole units, which rounds up,
so that nothing is judged smaller than it is.

Source: Kubernetes API reference, `Quantity`.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_SHAPE: Final = re.compile(
    r"([+-]?)(\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d{1,3})?",
    re.ASCII,
)
_BINARY: Final = {name: 1024**power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), 1)}
_FACTORS: Final = {
    **{name: Fraction(value) for name, value in _BINARY.items()},
    "Ei": Fraction(1024**6),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    **{name: Fraction(1000**power) for power, name in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
}
_LARGEST: Final = 2**63 - 1  # what the API itself caps at
_LARGEST_EXPONENT: Final = 30
_BYTES_PER_MIB: Final = 1 << 20
_MILLI: Final = 1000


def parse_quantity(value: object) -> Fraction:
    """The value of a quantity, written as text or as a JSON number.

    Raises `ValueError` for what is no quantity, for negative ones, and beyond 2^63.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("a quantity is a text or a number")  # noqa: TRY004 — one kind of refusal
    match = _SHAPE.fullmatch(value if isinstance(value, str) else repr(value))
    if match is None:
        raise ValueError("not a quantity")
    sign, number, suffix = match.groups()
    result = Fraction(number if number[-1] != "." else number[:-1])
    if suffix in _FACTORS:
        result *= _FACTORS[suffix]
    elif suffix:
        exponent = int(suffix[1:])
        if abs(exponent) > _LARGEST_EXPONENT:
            raise ValueError("the exponent is out of range")
        result *= Fraction(10) ** exponent
    if sign == "-" and result:
        raise ValueError("a quantity is not negative here")
    if result > _LARGEST:
        raise ValueError("the quantity is larger than 2^63")
    return result


def whole(quantity: Fraction) -> int:
    """The quantity in whole units, rounded up."""
    return -(-quantity.numerator // quantity.denominator)


def cpu_milli(value: object) -> int:
    """CPUs in thousandths, rounded up."""
    return whole(parse_quantity(value) * _MILLI)


def mib(value: object) -> int:
    """Bytes in MiB, rounded up."""
    return whole(parse_quantity(value) / _BYTES_PER_MIB)


def count(value: object) -> int:
    """Devices, rounded up."""
    return whole(parse_quantity(value))
