"""Step-up: before which actions a person shows anew that it is them, as policy data.

A session lasts for hours and a token for weeks, so that nobody is asked all day. What either is
left lying about for must not be enough to change who may do what. So `data/step_up.json` lists
privileged actions, each with the age that the last proof of identity may have, whether a second
factor must have been shown, and what personal tokens may do. The rule `access/step-up` applies it.

Stopping harm never waits for a proof: such actions cannot be listed. And a first passkey can always
be added with one factor, or nobody could ever show two.

Source: Spec ID-4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from charter.core.policy.reading import Reader

RULE: Final = "access/step-up"
STOPS_HARM: Final = frozenset(
    {
        "agent.kill",
        "agent.lower",
        "approval.cancel",
        "break-glass.end",
        "grant.revoke",
        "production.revoke",
        "session.end",
        "task.close",
        "workspace.stop",
    }
)
_SHORTEST_SECONDS: Final = 60  # anything less would be over before the form is filled in
_FIRST_PASSKEY: Final = "passkey.manage"


class SecondFactor(StrEnum):
    """Of whom a second factor is asked."""

    NEVER = "never"
    WITH_PASSKEY = "with-passkey"  # of whoever could show one
    ALWAYS = "always"


class Tokens(StrEnum):
    """What a personal token may do: as much as a session, everything, or nothing."""

    FRESH = "fresh"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class StepUp:
    """What one action asks for; with `only_rules`, in votes on requests under these rules."""

    max_age_seconds: int
    mfa: SecondFactor
    tokens: Tokens
    only_rules: tuple[str, ...] | None = None


def read_step_up(root: Reader) -> Mapping[str, StepUp]:
    """What the data asks for, by action; nothing in bundles from before there was the document."""
    if not root.has("step_up"):
        return {}
    part = root.child("step_up")
    actions = part.child("actions")
    known = root.child("actions").child("actions").names()
    found = {}
    for action, entry in actions.children():
        found[action] = StepUp(
            max_age_seconds=entry.whole("max_age_seconds", minimum=_SHORTEST_SECONDS),
            mfa=SecondFactor(entry.text("mfa", choices=tuple(SecondFactor))),
            tokens=Tokens(entry.text("tokens", choices=tuple(Tokens))),
            only_rules=entry.texts("only_rules") if entry.has("only_rules") else None,
        )
        if action not in known:
            actions.complain(action, "is no action that data.actions names")
        if action in STOPS_HARM:
            actions.complain(action, "stops harm, and that never waits for a proof of identity")
        if action == _FIRST_PASSKEY and found[action].mfa is SecondFactor.ALWAYS:
            entry.complain("mfa", "cannot be always: nobody could add their first passkey")
    part.finish()
    return found
