"""Amounts: what a workspace takes and what a quota gives, in five dimensions at once.

An amount is a vector: virtual CPUs, memory, disk, GPUs, and the number of workspaces. Two amounts
are compared dimension by dimension and are often neither larger nor smaller than each other, so
`<` is deliberately not defined; `fits_within` and `exceeding` say what is meant.

Source: Spec RG-1, RG-2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from charter.core.kernel.units import show_mib

DIMENSIONS: Final = ("vcpu", "memory_mib", "disk_mib", "gpu", "workspaces")


@dataclass(frozen=True, slots=True)
class Amount:
    """Whole units in each dimension. A difference of two amounts may be negative."""

    vcpu: int = 0
    memory_mib: int = 0
    disk_mib: int = 0
    gpu: int = 0
    workspaces: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.vcpu + other.vcpu,
            self.memory_mib + other.memory_mib,
            self.disk_mib + other.disk_mib,
            self.gpu + other.gpu,
            self.workspaces + other.workspaces,
        )

    def __sub__(self, other: Amount) -> Amount:
        return Amount(
            self.vcpu - other.vcpu,
            self.memory_mib - other.memory_mib,
            self.disk_mib - other.disk_mib,
            self.gpu - other.gpu,
            self.workspaces - other.workspaces,
        )

    def of(self, dimension: str) -> int:
        """The number in `dimension`, one of DIMENSIONS; raises ValueError for any other."""
        if dimension not in DIMENSIONS:
            raise ValueError(f"{dimension} is no dimension of an amount")
        number: int = getattr(self, dimension)
        return number

    def exceeding(self, other: Amount) -> tuple[str, ...]:
        """The dimensions in which this amount is larger than `other`."""
        return tuple(d for d in DIMENSIONS if self.of(d) > other.of(d))

    def fits_within(self, other: Amount) -> bool:
        """Whether this amount is at most `other` in every dimension."""
        return not self.exceeding(other)

    @property
    def non_negative(self) -> bool:
        """Whether it is something that can exist: nothing below zero."""
        return Amount().fits_within(self)

    def as_json(self) -> dict[str, int]:
        """The stored and transmitted form."""
        return {dimension: self.of(dimension) for dimension in DIMENSIONS}


def show(dimension: str, number: int) -> str:
    """`number` of `dimension` for people: `40 vCPU`, `32 GiB of memory`, `1 workspace`."""
    match dimension:
        case "vcpu":
            return f"{number} vCPU"
        case "memory_mib":
            return f"{show_mib(number)} of memory"
        case "disk_mib":
            return f"{show_mib(number)} of disk"
        case "gpu":
            return f"{number} GPU"
        case "workspaces":
            return f"{number} workspace" if number == 1 else f"{number} workspaces"
        case _:
            raise ValueError(f"{dimension} is no dimension of an amount")
