"""What policy says about approvals: who is asked for which rule, in what order, and for how long.

`data/approvals.json` has one entry for each policy rule that asks for an approval. It names the
*approvers* of the first step, those asked beside them (`also`) and those asked afterwards (`then`);
what the request must carry (`requires`); how long a yes lasts; and what happens while nobody
answers. An approver is named in one of these ways:

* a role (`team-lead`): whoever holds it where the thing asked for would be;
* `manager`: the manager of the person who asks, or who sponsors the agent that asks;
* `person:HANDLE`: one person; `team:NAME`: the members of one team;
* `approver-manager`, for an escalation only: the managers of those who were asked first.

Times are in seconds. Documents of older bundles, without the newer entries, read as they always
did. Source: Spec AP-1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from charter.core.policy.reading import Reader

MANAGER: Final = "manager"
APPROVER_MANAGER: Final = "approver-manager"
JUSTIFICATION: Final = "justification"
TICKET: Final = "ticket"
DURATION: Final = "duration"
DEMANDS: Final = (JUSTIFICATION, TICKET, DURATION)
"""What a request can carry; what is demanded beside these, no request ever meets."""

_LONGEST_SECONDS: Final = 366 * 86_400
_MOST_PATTERN: Final = 200
_NAMED: Final = re.compile(r"(person|team):\S.*")
_MOST_VARIABLE: Final = 3  # more of them together could try very many ways to fail
_VARIABLE: Final = re.compile(r"\{\d+,\d+\}|\?")
_ANY_TICKET: Final = r"[A-Z][A-Z0-9]{1,9}-[0-9]{1,9}"
_QUIET_TICKET: Final = re.compile(
    r"(\\.|\[(\\.|[^\]\\])+\]|[^\\\[\]()*+?{}|^$])(\{\d+(,\d+)?\}|\?)?"
)


@dataclass(frozen=True, slots=True)
class Step:
    """`count` different people out of these `approvers`."""

    approvers: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Escalation:
    """Who is entitled as well once a step has gone unanswered for `after_seconds`."""

    after_seconds: int
    approvers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """Who says yes to one rule, how many of them, with what in hand, and for how long.

    `grant_seconds` is how long a yes lasts when the request names no duration; None means for the
    one request. `max_grant_seconds` bounds what a request may name; with None that is
    `grant_seconds`. None as a deadline or reminder: as for all rules.
    """

    approvers: tuple[str, ...]
    approvals_needed: int
    requires: tuple[str, ...]
    grant_seconds: int | None
    also: tuple[Step, ...] = ()
    then: tuple[Step, ...] = ()
    max_grant_seconds: int | None = None
    deadline_seconds: int | None = None
    reminder_seconds: int | None = None
    escalation: Escalation | None = None


@dataclass(frozen=True, slots=True)
class DelegationLimits:
    """How long somebody may be stood in for at a stretch, and how long a chain may be.

    With a `max_depth` of 1 a delegate votes for the person who named them, and for nobody whom that
    person stands in for.
    """

    max_seconds: int = 45 * 86_400
    max_depth: int = 1


@dataclass(frozen=True, slots=True)
class ApprovalSettings:
    """`fallback` serves rules that have no entry of their own in `rules`."""

    deadline_seconds: int
    reminder_seconds: int
    fallback: ApprovalRule
    rules: Mapping[str, ApprovalRule]
    ticket_pattern: str = _ANY_TICKET
    delegation: DelegationLimits = DelegationLimits()

    def of(self, rule_id: str) -> ApprovalRule:
        """The approval rule for the policy rule `rule_id`."""
        return self.rules.get(rule_id, self.fallback)

    def deadline_of(self, rule_ids: Iterable[str]) -> int:
        """How long a request under these rules waits: as long as the most impatient of them."""
        return min(self.of(rule).deadline_seconds or self.deadline_seconds for rule in rule_ids)

    def reminder_of(self, rule_ids: Iterable[str]) -> int:
        """After how long approvers of a request under these rules are told again."""
        return min(self.of(rule).reminder_seconds or self.reminder_seconds for rule in rule_ids)

    def is_ticket(self, text: str) -> bool:
        """Whether `text` as a whole has the shape of a ticket's number."""
        return re.fullmatch(self.ticket_pattern, text) is not None


def read_approvals(part: Reader) -> ApprovalSettings:
    """The settings in the document; `part` stands on it."""
    return ApprovalSettings(
        deadline_seconds=part.whole("deadline_seconds", minimum=60),
        reminder_seconds=part.whole("reminder_seconds", minimum=60),
        fallback=_rule(part.child("fallback")),
        rules={name: _rule(each) for name, each in part.child("rules").children()},
        ticket_pattern=_pattern(part),
        delegation=_delegation(part),
    )


def _rule(part: Reader) -> ApprovalRule:
    grant = part.whole_or_none("grant_seconds", minimum=1)
    most = _optional(part, "max_grant_seconds", 1)
    requires = part.texts("requires")
    if DURATION in requires and grant is None and most is None:
        part.complain("max_grant_seconds", "must say how long may be asked for")
    if grant is not None and most is not None and most < grant:
        part.complain("max_grant_seconds", "is below grant_seconds")
    return ApprovalRule(
        approvers=_approvers(part),
        approvals_needed=part.whole("approvals_needed", minimum=1),
        requires=requires,
        grant_seconds=grant,
        also=_steps(part, "also"),
        then=_steps(part, "then"),
        max_grant_seconds=most,
        deadline_seconds=_optional(part, "deadline_seconds", 60),
        reminder_seconds=_optional(part, "reminder_seconds", 60),
        escalation=_escalation(part),
    )


def _optional(part: Reader, key: str, minimum: int) -> int | None:
    if not part.has(key):
        return None
    return part.whole(key, minimum=minimum, maximum=_LONGEST_SECONDS)


def _steps(part: Reader, key: str) -> tuple[Step, ...]:
    if not part.has(key):
        return ()
    return tuple(
        Step(_approvers(each), each.whole("approvals_needed", minimum=1))
        for each in part.items(key)
    )


def _escalation(part: Reader) -> Escalation | None:
    if not part.has("escalation"):
        return None
    each = part.child("escalation")
    after = each.whole("after_seconds", minimum=60, maximum=_LONGEST_SECONDS)
    return Escalation(after, _approvers(each, APPROVER_MANAGER))


def _approvers(part: Reader, *more: str) -> tuple[str, ...]:
    """The names; a role may be one of the installation's own, so any plain name can be right."""
    named = part.texts("approvers", least=1)
    for name in named:
        misplaced = name == APPROVER_MANAGER and name not in more
        if misplaced or (":" in name and _NAMED.fullmatch(name) is None):
            part.complain(
                "approvers",
                f"names {name!r}, which is no role, {MANAGER}, person:HANDLE or team:NAME",
            )
    return named


def _pattern(part: Reader) -> str:
    """The shape of tickets; only patterns that cannot take long are accepted."""
    if not part.has("ticket_pattern"):
        return _ANY_TICKET
    pattern = part.text("ticket_pattern")
    at = 0
    if len(_VARIABLE.findall(pattern)) > _MOST_VARIABLE:
        part.complain("ticket_pattern", f"may hold {_MOST_VARIABLE} counts with a choice at most")
        return _ANY_TICKET
    while at < len(pattern) <= _MOST_PATTERN:
        match = _QUIET_TICKET.match(pattern, at)
        if match is None:
            break
        at = match.end()
    if at != len(pattern):
        part.complain(
            "ticket_pattern",
            f"may hold characters, classes in [] and counts in {{}} only, such as {_ANY_TICKET}",
        )
        return _ANY_TICKET
    try:
        re.compile(pattern)
    except re.error:
        part.complain("ticket_pattern", "is no regular expression")
        return _ANY_TICKET
    return pattern


def _delegation(part: Reader) -> DelegationLimits:
    if not part.has("delegation"):
        return DelegationLimits()
    each = part.child("delegation")
    return DelegationLimits(
        max_seconds=each.whole("max_seconds", minimum=60, maximum=_LONGEST_SECONDS),
        max_depth=each.whole("max_depth", minimum=1, maximum=3),
    )
