"""How strict the policy is where: the mode of each rule, everywhere and by environment.

A project has an environment (production, staging, …). The enforcement data may say of each
environment which warnings refuse there (`strict`), how far all rules of a severity are switched on
(`severity`), and how far single rules are (`rules`). The aggregator of the bundle
(`lib/decision.rego`) applies it; here it is read strictly, for Python to validate and to show.

Critical rules have no entry under `severity`: what must never happen depends on no project.

Source: Spec PC-7, PC-14.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from charter.core.kernel.decision import Mode
from charter.core.policy.reading import Reader

ENVIRONMENTS: Final = ("production", "staging", "test", "development", "experimental")
"""What projects may be when the data names no environments (bundles older than this setting)."""

_ALL_MODES: Final = tuple(mode.value for mode in Mode)
_LOOSER: Final = (Mode.DRY_RUN.value, Mode.WARN.value)
_LOOSENED: Final = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Strictness:
    """What one environment says: see the module's text."""

    strict: frozenset[str] = frozenset()
    severity: Mapping[str, Mode] = field(default_factory=dict)
    rules: Mapping[str, Mode] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Enforcement:
    """The mode of each named rule everywhere, and what each environment says."""

    rules: Mapping[str, Mode]
    environments: Mapping[str, Strictness]

    def named(self) -> list[tuple[str, str]]:
        """Every rule id in the data, with the place that names it."""
        found = [("data.enforcement.rules", rule) for rule in self.rules]
        for name, here in self.environments.items():
            place = f"data.enforcement.environments.{name}"
            found += [(f"{place}.strict", rule) for rule in sorted(here.strict)]
            found += [(f"{place}.rules", rule) for rule in here.rules]
        return found


def read_enforcement(part: Reader) -> Enforcement:
    """The enforcement document; what is wrong goes to the reader's problems."""
    environments = {name: Strictness() for name in ENVIRONMENTS}
    if part.has("environments"):
        environments = {
            name: _strictness(here) for name, here in part.child("environments").children()
        }
    return Enforcement(rules=_modes(part.child("rules"), _ALL_MODES), environments=environments)


def _strictness(part: Reader) -> Strictness:
    severity: Mapping[str, Mode] = {}
    if part.has("severity"):
        table = part.child("severity")
        for name in sorted(set(table.names()) - set(_LOOSENED)):
            table.complain(name, f"is not one of {', '.join(_LOOSENED)}, which can be loosened")
        severity = _modes(table, _LOOSER)
    return Strictness(
        strict=frozenset(part.texts("strict")) if part.has("strict") else frozenset(),
        severity=severity,
        rules=_modes(part.child("rules"), _ALL_MODES) if part.has("rules") else {},
    )


def _modes(part: Reader, choices: tuple[str, ...]) -> dict[str, Mode]:
    return {name: Mode(part.text(name, choices=choices)) for name in part.names()}
