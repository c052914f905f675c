"""How an invariant says no: always with the rule, one sentence of reason, and what would help."""

from __future__ import annotations

from charter.core.kernel.decision import Effect, Violation


def refuse(rule: str, message: str, fix: str, *, source: str) -> Violation:
    """A denial by an invariant. No policy can loosen it, so its severity is always high."""
    return Violation(
        rule=f"invariant/{rule}",
        effect=Effect.DENY,
        message=message,
        fix=fix,
        severity="high",
        source=source,
    )
