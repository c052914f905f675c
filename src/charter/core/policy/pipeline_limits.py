"""The limits of the pipeline: what a change of policy has to pass before it is in force.

They stand in the policy's own data (`data/pipeline.json`), so that they are reviewed like rules. It
is the bundle *in force* whose limits govern a change, never the candidate's: nobody loosens the way
of their own change. A bundle without the document (those of before there was a pipeline) has the
defaults here.

Source: Spec PC-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from charter.core.policy.reading import Reader

SIDES: Final = ("security", "platform")
_LONGEST_SECONDS: Final = 90 * 86_400  # a stage that outlasts a quarter is a forgotten one
_MOST_DAYS: Final = 3_650


class DirectApply(StrEnum):
    """When a bundle may be put in force at once, past the pipeline."""

    ALWAYS = "always"
    WITHOUT_SOURCE = "without-source"  # as long as Charter watches no Git repository
    EMERGENCY = "emergency"  # only as a declared emergency


_REVIEWERS: Final = MappingProxyType({side: (f"{side}-admin",) for side in SIDES})


@dataclass(frozen=True, slots=True)
class PipelineLimits:
    """What the bundle in force demands of its successor; the defaults are the starter's."""

    impact_days: int = 30
    reviewers: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _REVIEWERS)
    staging_seconds: int = 900
    staging_decisions_needed: int = 1
    test_environments: tuple[str, ...] = ("test",)
    monitor_seconds: int = 3_600
    window_seconds: int = 600
    spike_factor: int = 3
    spike_minimum: int = 20
    spike_subjects: int = 2
    quiet_percent: int = 5
    direct_apply: DirectApply = DirectApply.WITHOUT_SOURCE
    largest_bundle_kib: int = 8_192

    @classmethod
    def read(cls, part: Reader) -> PipelineLimits:
        """The limits in the document `pipeline`; problems are noted in the reader."""
        reviewers, staging = part.child("reviewers"), part.child("staging")
        monitoring = part.child("monitoring")
        return cls(
            impact_days=part.whole("impact_days", minimum=1, maximum=_MOST_DAYS),
            reviewers={side: reviewers.texts(side, least=1) for side in SIDES},
            staging_seconds=staging.whole("seconds", maximum=_LONGEST_SECONDS),
            staging_decisions_needed=staging.whole("decisions_needed"),
            test_environments=staging.texts("test_environments"),
            monitor_seconds=monitoring.whole("seconds", maximum=_LONGEST_SECONDS),
            window_seconds=monitoring.whole("window_seconds", minimum=1, maximum=86_400),
            spike_factor=monitoring.whole("spike_factor", minimum=1),
            spike_minimum=monitoring.whole("spike_minimum", minimum=1),
            spike_subjects=monitoring.whole("spike_subjects", minimum=1),
            quiet_percent=monitoring.whole("quiet_percent", minimum=1, maximum=100),
            direct_apply=DirectApply(
                part.text("direct_apply", choices=tuple(how.value for how in DirectApply))
            ),
            largest_bundle_kib=part.whole("largest_bundle_kib", minimum=64, maximum=65_536),
        )
