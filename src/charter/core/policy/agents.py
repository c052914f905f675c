"""What policy sets about agents' identities: `data/agents.json`.

Who must prove that they hold their key, whether agents may have agents, whether one may be run
without a definition, how renewals overlap, and how old the key that signs credentials may become.

Source: Spec ID-6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from charter.core.agents.credentials import KeySchedule
from charter.core.agents.tiers import Tier
from charter.core.policy.reading import Reader

_LONGEST_WINDOW: Final = 600
_LONGEST_OVERLAP: Final = 300
_LEAST_KEY_AGE: Final = 3600
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """How agents are known, and what is asked of their credentials."""

    proof_tiers: frozenset[Tier]
    """Agents in these tiers show a credential only together with a proof of their key."""
    proof_window_seconds: int
    proof_ahead_seconds: int
    renewal_overlap_seconds: int
    without_definition: bool
    sub_agents: bool
    sub_agents_depth: int
    signing_keys: KeySchedule


DEFAULT: Final = AgentIdentity(
    proof_tiers=frozenset({Tier.STANDARD, Tier.TRUSTED}),
    proof_window_seconds=60,
    proof_ahead_seconds=5,
    renewal_overlap_seconds=30,
    without_definition=True,
    sub_agents=False,
    sub_agents_depth=1,
    signing_keys=KeySchedule(max_age_seconds=90 * _DAY, warning_seconds=14 * _DAY),
)
"""What holds for bundles that were made before there was a document of agents."""


def read_agent_identity(root: Reader) -> AgentIdentity:
    """The settings in the data; `root` stands on all documents."""
    if not root.has("agents"):
        return DEFAULT
    part = root.child("agents")
    proof, sub, keys = part.child("proof"), part.child("sub_agents"), part.child("signing_keys")
    found = AgentIdentity(
        proof_tiers=frozenset(Tier(t) for t in proof.texts("tiers", choices=tuple(Tier))),
        proof_window_seconds=proof.whole("window_seconds", minimum=5, maximum=_LONGEST_WINDOW),
        proof_ahead_seconds=proof.whole("ahead_seconds", maximum=_LONGEST_WINDOW),
        renewal_overlap_seconds=part.whole("renewal_overlap_seconds", maximum=_LONGEST_OVERLAP),
        without_definition=part.flag("without_definition"),
        sub_agents=sub.flag("allowed"),
        sub_agents_depth=sub.whole("depth", minimum=1, maximum=5),
        signing_keys=KeySchedule(
            max_age_seconds=keys.whole("max_age_seconds", minimum=_LEAST_KEY_AGE),
            warning_seconds=keys.whole("warning_seconds"),
        ),
    )
    if found.signing_keys.warning_seconds >= found.signing_keys.max_age_seconds:
        keys.complain("warning_seconds", "must be below max_age_seconds")
    part.finish()
    return found
