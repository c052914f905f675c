"""What a requester may choose in place of what was asked for.

A request is governed in the fields that its requester fills in: size and amounts, template, network
and destinations, labels, the place, a justification; for an agent its tier, its time and its
repositories. Everything else is what it is: roles, the sponsor, the use of a quota, the time.

`options` lists what could stand in each of these fields, taken from the policy's own data and from
what the caller knows to exist.

Two kinds of fields are left alone on purpose. What describes the work (its data class, the label
`data`) is a statement of fact: advice to call health data something else would be advice to lie.
And a place is offered only if its data class is the same.

Source: Spec PC-13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from charter.core.agents.tiers import Tier
from charter.core.kernel.units import MIB_PER_GIB
from charter.core.policy.asked import (
    AMOUNTS,
    LABEL,
    Facts,
    action_of,
    current,
    resource_of,
    sizes_of,
    spec_of,
    version_of,
)

YOUR_REASON: Final = "(your reason)"
"""Stands for a justification that only the requester can write."""
YOUR_VALUE: Final = "(a value)"
"""Stands for the value of a label that only the requester knows."""

_LEAST: Final = {"vcpu": 1, "memory_mib": MIB_PER_GIB, "disk_mib": MIB_PER_GIB, "gpu": 0}
_STEP: Final = {"memory_mib": MIB_PER_GIB, "disk_mib": MIB_PER_GIB}  # people ask in whole GiB
_LIMIT_WORDS: Final = {"vcpu": "cpu", "memory_mib": "memory", "disk_mib": "disk", "gpu": "gpu"}
_STATED: Final = frozenset({"data"})
_SECONDS: Final = 60
_PLACING: Final = frozenset({"workspace.create", "workspace.resize"})

# How far a change is from what was asked for, where no number says it. A reason costs least, a
# label little, another template or network changes what can be done.
_FAR_REASON, _FAR_LABEL, _FAR_SIZE, _FAR_TIER, _FAR_OTHER, _FAR_PLACE = 0.1, 0.4, 0.1, 0.5, 1.0, 1.5


@dataclass(frozen=True, slots=True)
class Option:
    """One value that could stand in a field.

    `value` is what `with_change` takes; `shown` what a person would type; `distance` how far it is
    from the present one (0 is the same).
    """

    field: str
    value: Any
    shown: Any
    distance: float


@dataclass(frozen=True, slots=True)
class Known:
    """What exists beside the facts: approved templates and the requester's places.

    A template has name, version, approved, for_kinds and use_instead; a place has team and project
    (ids), team_name and project_name, data_class, environment and quota lines as facts have them.
    """

    templates: Sequence[Mapping[str, Any]] = ()
    places: Sequence[Mapping[str, Any]] = ()


def relative(before: float, after: float) -> float:
    """How far two numbers are apart, from 0 (equal) to 1."""
    largest = max(abs(before), abs(after))
    return abs(before - after) / largest if largest else 0.0


def step_of(field: str) -> int:
    """The smallest difference in which people ask for this amount."""
    return _STEP.get(field, 1)


def amount(facts: Facts, field: str, value: int) -> Option:
    """The option of a number in a field of numbers."""
    return Option(field, value, value, relative(current(facts, field) or 0, value))


def listed(facts: Facts, field: str, kept: Sequence[Any]) -> Option:
    """The option of a list from which something was taken away."""
    before = current(facts, field) or []
    gone = len(before) - len(kept)
    return Option(field, list(kept), list(kept), gone / len(before) if before else _FAR_LABEL)


def options(facts: Facts, settings: Mapping[str, Any], known: Known) -> dict[str, list[Option]]:
    """What could stand in each field that the requester fills in, nearest first."""
    action = action_of(facts)
    found: dict[str, list[Option]] = {}
    if action in _PLACING and spec_of(facts):
        found |= _of_workspace(facts, settings, known)
    if action == "agent.create":
        found |= _of_agent(facts, settings)
    if known.places:
        found["place"] = [
            Option("place", place, _place_name(place), _FAR_PLACE)
            for place in known.places
            if place["data_class"] == resource_of(facts).get("data_class")
        ]
    if not str(current(facts, "justification") or "").strip():
        found["justification"] = [Option("justification", YOUR_REASON, YOUR_REASON, _FAR_REASON)]
    return {
        field: sorted(offered, key=lambda option: option.distance)
        for field, offered in found.items()
        if offered
    }


def _place_name(place: Mapping[str, Any]) -> str:
    project = place["project_name"]
    return f"team {place['team_name']}" if project is None else f"project {project}"


def _of_workspace(
    facts: Facts, settings: Mapping[str, Any], known: Known
) -> dict[str, list[Option]]:
    kind = "agent" if spec_of(facts).get("agent") else "human"
    found: dict[str, list[Option]] = {
        field: [amount(facts, field, mark) for mark in _marks(facts, settings, field)]
        for field in AMOUNTS
        if isinstance(current(facts, field), int)
    }
    found["size"] = [
        Option("size", name, name, _FAR_SIZE + _size_distance(facts, size))
        for name, size in sizes_of(settings).items()
        if name != spec_of(facts).get("size") and kind in size.get("kinds", (kind,))
    ]
    found["template"] = [
        Option("template", dict(template), version_of(template), _FAR_OTHER)
        for template in known.templates
        if version_of(template) != current(facts, "template") and template["approved"]
    ]
    modes = (settings.get("network") or {}).get("modes") or ()
    found["network"] = [
        Option("network", mode, mode, _FAR_OTHER)
        for mode in modes
        if mode != current(facts, "network")
    ]
    found["egress_allowlist"] = _shorter(facts, "egress_allowlist")
    return found | _of_labels(facts, settings)


def _of_agent(facts: Facts, settings: Mapping[str, Any]) -> dict[str, list[Option]]:
    asked = current(facts, "tier")
    tiers = [tier.value for tier in Tier]
    here = tiers.index(asked) if asked in tiers else len(tiers)
    found = {
        # Narrower only: a wider tier is not a smaller request.
        "tier": [
            Option("tier", tier, tier, _FAR_TIER * (here - rank))
            for rank, tier in enumerate(tiers[:here])
        ],
        "repositories": _shorter(facts, "repositories"),
    }
    if isinstance(current(facts, "minutes"), int):
        tasks = settings.get("tasks") or {}
        marks = {
            value // _SECONDS
            for name, value in tasks.items()
            if name.endswith("_seconds") and isinstance(value, int)
        }
        found["minutes"] = [
            amount(facts, "minutes", mark)
            for mark in sorted({1, *marks} - {current(facts, "minutes")})
            if mark > 0
        ]
    return found


def _size_distance(facts: Facts, size: Mapping[str, Any]) -> float:
    shares = [relative(current(facts, f) or 0, size.get(f, 0)) for f in AMOUNTS]
    return sum(shares) / len(shares)


def _marks(facts: Facts, settings: Mapping[str, Any], field: str) -> list[int]:
    """Numbers at which something may change: limits, sizes, what is left of a quota, the least."""
    step, least = step_of(field), _LEAST[field]
    word = _LIMIT_WORDS[field]
    marks = {
        value
        for name, value in (settings.get("limits") or {}).items()
        if word in name and isinstance(value, int) and not isinstance(value, bool)
    }
    marks |= {
        size[field] for size in sizes_of(settings).values() if isinstance(size.get(field), int)
    }
    for line in (facts.get("quota") or {}).get("lines", ()):
        marks.add(line["limit"][field] - line["used"][field])
    whole = {mark // step * step for mark in marks}
    present = current(facts, field)
    return sorted(mark for mark in {least, *whole} if mark >= least and mark != present)


def _shorter(facts: Facts, field: str) -> list[Option]:
    """The list without one of its entries, and the empty one; see also the search's own lists."""
    before = current(facts, field)
    if before is None:
        return [Option(field, [], [], _FAR_LABEL)]
    if not isinstance(before, list):
        return []
    one_less = [listed(facts, field, [*before[:n], *before[n + 1 :]]) for n in range(len(before))]
    return [*one_less, listed(facts, field, [])] if len(before) > 1 else one_less


def _of_labels(facts: Facts, settings: Mapping[str, Any]) -> dict[str, list[Option]]:
    labels = resource_of(facts).get("labels") or {}
    found: dict[str, list[Option]] = {
        LABEL + name: [Option(LABEL + name, None, None, _FAR_LABEL)]
        for name in sorted(labels)
        if name not in _STATED
    }
    for name in (settings.get("labels") or {}).get("mandatory", ()):
        if not labels.get(name):
            found[LABEL + name] = [Option(LABEL + name, YOUR_VALUE, YOUR_VALUE, _FAR_LABEL)]
    regions = [
        region
        for name, allowed in sorted((settings.get("compliance") or {}).items())
        if name.endswith("_regions") and isinstance(allowed, list)
        for region in allowed
        if region != labels.get("region")
    ]
    if regions:
        name = LABEL + "region"
        found.setdefault(name, []).extend(
            Option(name, region, region, _FAR_LABEL) for region in dict.fromkeys(regions)
        )
    return found
