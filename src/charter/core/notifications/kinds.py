"""What kinds of notices there are, and how each reaches a person or a channel.

A notice is written for one person. Some are nobody else's business (a sign-in link was made for
your account); some are news of the team, so that a chat may carry them. Some cannot be switched
off: whoever could silence the warning that their account was used would silence it for a thief.

A kind that nobody listed here is personal, comes at once and may be switched off. Kinds form
families by their first words: `break-glass-started` is treated as `break-glass` is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Final


class When(StrEnum):
    """How a person wants to have a kind by mail."""

    AT_ONCE = "at-once"
    DIGEST = "digest"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Kind:
    """`shared`: a channel of a team or the organisation may carry it. `fixed`: always at once."""

    name: str
    title: str
    when: When = When.AT_ONCE
    shared: bool = False
    fixed: bool = False
    leaves: bool = True


KINDS: Final = (
    Kind("approval", "Approvals that wait for you", shared=True),
    Kind("approval-settled", "How your own requests ended"),
    Kind("approval-comment", "Comments on requests"),
    Kind("approval-escalated", "Your own requests that others were asked about as well"),
    Kind("delegate", "Whoever was to stand in for you"),
    Kind("grant", "Grants of yours that end"),
    Kind("absence", "Whom you stand in for"),
    Kind("approval-link", "Somebody else opened your approval link", fixed=True),
    Kind("break-glass", "Emergency access was used", shared=True, fixed=True),
    Kind("access-review", "Access that you have to review, or that ended"),
    Kind("review", "Reviews of the policy", shared=True),
    Kind("review-action", "What a review of the policy asks of you"),
    Kind("policy", "Policy changes", shared=True),
    Kind("sign-in", "Sign-in links and sign-ins of your account", fixed=True),
    Kind("account", "Your account is switched off soon, or was", fixed=True),
    Kind("identity", "Other ways to sign in to your account", fixed=True),
    Kind("credential", "Somebody guesses or repeats credentials of yours", fixed=True),
    Kind("networks", "Allowlists of networks were set aside", shared=True, fixed=True),
    Kind("production", "Your access to production"),
    Kind("quota", "Quotas that were raised for a while"),
    Kind("passkey", "Passkeys of your account", fixed=True),
    Kind("session", "Sessions of your account", fixed=True),
    Kind("signing-key", "Keys that have to be renewed"),
    Kind("directory", "Provisioning tokens that have to be replaced"),
    Kind("agent", "Your agents"),
    Kind("workspace", "Workspaces that failed"),
    Kind("lifecycle", "Workspaces that stop or were stopped", when=When.DIGEST),
    Kind("notification-test", "Test messages", fixed=True),
    # About a way out that does not work: it stays where no way out is needed.
    Kind("delivery", "Notifications that could not be delivered", leaves=False),
)
_BY_NAME: Final[Mapping[str, Kind]] = {kind.name: kind for kind in KINDS}
OTHER: Final = Kind("other", "Everything else")
CHOOSABLE: Final = tuple(
    kind for kind in (*KINDS, OTHER) if kind.leaves and kind.name != "notification-test"
)
SHARED: Final = tuple(kind.name for kind in KINDS if kind.shared)


def kind_of(name: str) -> Kind:
    """The listed kind that a notice of the kind `name` belongs to: the longest that fits."""
    words = name.split("-")
    for count in range(len(words), 0, -1):
        found = _BY_NAME.get("-".join(words[:count]))
        if found is not None:
            return found
    return OTHER


def asks_for_vote(name: str) -> bool:
    """Whether notices of this very kind ask their reader for a vote; its relatives only tell."""
    return name == "approval"


def when_of(name: str, chosen: Mapping[str, str]) -> When:
    """How a person who chose `chosen` (kind → when) gets a notice of the kind `name`."""
    kind = kind_of(name)
    if not kind.leaves:
        return When.OFF
    return kind.when if kind.fixed else When(chosen.get(kind.name, kind.when))


DIGEST_AT: Final = time(8, 0)
"""When the daily digest comes, in the person's own zone: at the beginning of a working day."""


def next_digest(now: datetime, zone: tzinfo) -> datetime:
    """The first digest after `now`."""
    local = now.astimezone(zone)
    at = datetime.combine(local.date(), DIGEST_AT, zone)
    if at <= local:
        at = datetime.combine(local.date() + timedelta(days=1), DIGEST_AT, zone)
    return at.astimezone(now.tzinfo)
