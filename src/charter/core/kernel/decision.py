"""What a decision is: a value that carries its reasons.

Every enforcement point asks the same question (may this subject do this action to this resource in
this context?) and gets a `Decision`: an effect, every rule that spoke, and the obligations that
come with a yes. Nothing is left to choose for whoever carries it out.

Effects are ordered: deny > require approval > warn > allow. A decision has the strongest effect of
the violations that are enforced. Rules in dry-run mode speak in `shadow` and change nothing.

Source: Spec PC-2, PC-7; the precedence is that of the design's decision document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Effect(StrEnum):
    """What a rule or a decision says; `rank` orders them by strength."""

    ALLOW = "allow"
    WARN = "warn"
    REQUIRE_APPROVAL = "require_approval"
    DENY = "deny"

    @property
    def rank(self) -> int:
        """Strength: 0 for allow up to 3 for deny."""
        return _RANKS[self]


_RANKS: Final = {effect: rank for rank, effect in enumerate(Effect)}  # asked for very often


class Mode(StrEnum):
    """How far a rule is switched on (Spec PC-7)."""

    OFF = "off"
    DRY_RUN = "dry-run"
    WARN = "warn"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class SparedBy:
    """The exemption that kept a rule from counting (Spec PC-7); `expires_at` as it was written."""

    owner: str
    reason: str
    expires_at: str

    def as_json(self) -> dict[str, object]:
        """The stored and transmitted form."""
        return {"owner": self.owner, "reason": self.reason, "expires_at": self.expires_at}


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that spoke.

    `rule` is its id (`invariant/…` for Python, `admission/…` for Rego), `fix` the next step for the
    requester. For an approval, `approvers` are the roles of which any holder may say yes and
    `requires` what the request must carry (`justification`). `grant_seconds` is how long a yes
    lasts; None means that it covers this one request only. `exemption` stands in what is in the
    shadow because somebody answers for it.
    """

    rule: str
    effect: Effect
    message: str
    fix: str
    severity: str = "medium"
    mode: Mode = Mode.ENFORCE
    controls: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    approvals_needed: int = 1
    requires: tuple[str, ...] = ()
    grant_seconds: int | None = None
    source: str = ""
    exemption: SparedBy | None = None

    def as_json(self) -> dict[str, object]:
        """The stored and transmitted form; without an exemption it has no entry for one."""
        spared = {} if self.exemption is None else {"exemption": self.exemption.as_json()}
        return {
            "rule": self.rule,
            "effect": self.effect.value,
            "message": self.message,
            "fix": self.fix,
            "severity": self.severity,
            "mode": self.mode.value,
            "controls": list(self.controls),
            "approvers": list(self.approvers),
            "approvals_needed": self.approvals_needed,
            "requires": list(self.requires),
            "grant_seconds": self.grant_seconds,
            "source": self.source,
            **spared,
        }


@dataclass(frozen=True, slots=True)
class Obligation:
    """Something the enforcement point must do along with a yes; one it does not know is a no."""

    type: str
    params: Mapping[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The stored and transmitted form."""
        return {"type": self.type, "params": dict(self.params)}


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, with every reason; `decide_from` builds it so that effect and reasons agree."""

    effect: Effect
    violations: tuple[Violation, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    shadow: tuple[Violation, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the action may go on now (allow or warn)."""
        return self.effect in (Effect.ALLOW, Effect.WARN)

    @property
    def decisive(self) -> tuple[Violation, ...]:
        """The violations that gave the decision its effect; empty for a plain allow."""
        return tuple(v for v in self.violations if v.effect is self.effect)

    def explain(self) -> str:
        """One sentence or more: why, in the words of the decisive rules."""
        if not self.decisive:
            return "Nothing forbids it."
        return " ".join(v.message for v in self.decisive)

    def as_json(self) -> dict[str, object]:
        """The stored and transmitted form; equal decisions give equal canonical JSON."""
        return {
            "effect": self.effect.value,
            "violations": [v.as_json() for v in self.violations],
            "obligations": [o.as_json() for o in self.obligations],
            "shadow": [v.as_json() for v in self.shadow],
        }


def decide_from(
    violations: Iterable[Violation],
    obligations: Iterable[Obligation] = (),
    shadow: Iterable[Violation] = (),
) -> Decision:
    """The decision that follows from these violations: strongest effect first, then by rule id."""
    ordered = tuple(sorted(set(violations), key=lambda v: (-v.effect.rank, v.rule, v.message)))
    effect = ordered[0].effect if ordered else Effect.ALLOW
    return Decision(
        effect=effect,
        violations=ordered,
        obligations=tuple(
            sorted(obligations, key=lambda o: (o.type, str(sorted(o.params.items()))))
        ),
        shadow=tuple(sorted(set(shadow), key=lambda v: (-v.effect.rank, v.rule, v.message))),
    )
