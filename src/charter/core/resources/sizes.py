"""Sizes: named amounts to choose from, so that most people never have to think in MiB.

A request names a size and may override single dimensions. `resolve` turns it into an amount or
says everything that is wrong with it. Which sizes there are, and what needs an approval, stands in
policy data; here is only what can never make sense: unknown names, numbers that are none, nothing
at all, and more than `bound`, the largest amount that this installation takes for a serious request
(a guard against typing errors and overflow, far above every policy limit).

Source: Spec RG-1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from charter.core.kernel.decision import Effect, Violation
from charter.core.resources.amounts import Amount, show


@dataclass(frozen=True, slots=True)
class Size:
    """A named amount. `ephemeral` workspaces keep nothing once their task ends."""

    name: str
    vcpu: int
    memory_mib: int
    disk_mib: int
    gpu: int = 0
    ephemeral: bool = False
    description: str = ""


# What a request may override, and the least of it that a workspace can run with: a workspace
# without CPU, memory or disk is a mistake, one without a GPU is the normal case.
_LEAST: Final = {"vcpu": 1, "memory_mib": 1, "disk_mib": 1, "gpu": 0}


def _wrong(rule: str, message: str, fix: str) -> Violation:
    return Violation(
        rule=f"invariant/{rule}",
        effect=Effect.DENY,
        message=message,
        fix=fix,
        severity="low",
        source="Spec RG-1",
    )


def _wrong_override(name: str, value: object, bound: Amount) -> Violation | None:
    if name not in _LEAST:
        return _wrong(
            "size-field",
            f"A size has no field {name!r}.",
            f"Override only these: {', '.join(_LEAST)}.",
        )
    # bool is a subclass of int in Python: True would pass for one vCPU.
    if not isinstance(value, int) or isinstance(value, bool):
        return _wrong(
            "size-value",
            f"{name} must be a whole number.",
            "Give vCPUs and GPUs as counts, memory and disk in MiB.",
        )
    if value < _LEAST[name]:
        return _wrong(
            "size-value",
            f"{name} must be at least {_LEAST[name]}, not {value}.",
            "Ask for a positive amount, or leave the field out to take the size's own.",
        )
    if value > bound.of(name):
        return _wrong(
            "size-bound",
            f"{show(name, value)} is more than any workspace here can be given.",
            f"Ask for at most {show(name, bound.of(name))}.",
        )
    return None


def resolve(
    size_name: str, overrides: Mapping[str, object], sizes: Mapping[str, Size], bound: Amount
) -> Amount | tuple[Violation, ...]:
    """The amount of one workspace of this size with these overrides, or all that is wrong.

    Keys of `overrides` are `vcpu`, `memory_mib`, `disk_mib`, `gpu`; what is absent is the size's.
    """
    problems = [
        problem
        for name, value in sorted(overrides.items())
        if (problem := _wrong_override(name, value, bound)) is not None
    ]
    size = sizes.get(size_name)
    if size is None:
        known = ", ".join(sorted(sizes)) or "none"
        problems.insert(
            0,
            _wrong(
                "size-name",
                f"There is no size {size_name!r}.",
                f"Choose one of the sizes: {known}.",
            ),
        )
    if size is None or problems:
        return tuple(problems)
    base = {
        "vcpu": size.vcpu,
        "memory_mib": size.memory_mib,
        "disk_mib": size.disk_mib,
        "gpu": size.gpu,
    }
    chosen = base | {
        name: value for name, value in overrides.items() if isinstance(value, int)
    }  # the check above left whole numbers only; isinstance tells the type checker so
    return Amount(**chosen, workspaces=1)
