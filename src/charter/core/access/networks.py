"""Allowlists of networks: from where the organisation, each kind of subject and each role is used.

A request has to come from inside every list that is about whoever asks: the organisation's, that
of their kind (people, agents, services), and that of each role they hold. An empty list says
nothing. A request from nobody knows where is inside no list.

The lists are data (`data/access.json`). They are held against the address of every request when it
is authenticated, so that also reads are refused which ask no decision, and by the rule
`access/network-not-allowed` in every decision, where they are on record.

Source: Spec ID-5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final, Protocol

from charter.core.access.addresses import Network, parse_address, parse_network, within
from charter.core.access.roles import RoleName
from charter.core.kernel.decision import Mode
from charter.core.policy.reading import Reader

RULE: Final = "access/network-not-allowed"
MESSAGE: Final = "The request does not come from a network that the policy lets in."
FIX: Final = "Connect through the company network or its VPN."
"""The words of the rule, for those whom it never gets to see."""

OWN_ROLE: Final = "own/"
"""Before the name of a role that the organisation has defined itself."""
KINDS: Final = ("human", "agent", "service")
LONGEST_OPENING_MINUTES: Final = 24 * 60
_NONE: Final[Mapping[str, tuple[Network, ...]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class NetworkLists:
    """The lists of the policy; `mode` is how far the rule is switched on."""

    organisation: tuple[Network, ...] = ()
    kinds: Mapping[str, tuple[Network, ...]] = field(default_factory=lambda: _NONE)
    roles: Mapping[str, tuple[Network, ...]] = field(default_factory=lambda: _NONE)
    opening_minutes_max: int = 60
    mode: Mode = Mode.ENFORCE
    spared: Mapping[str, datetime] = field(default_factory=dict)
    """Ids of subjects whom an exemption of the rule leaves out, each until when."""

    def about(self, kind: str, roles: AbstractSet[str]) -> Iterator[tuple[str, Sequence[Network]]]:
        """Every list that is about such a subject, with its name."""
        if self.organisation:
            yield "organisation", self.organisation
        if networks := self.kinds.get(kind, ()):
            yield f"kinds.{kind}", networks
        for role in sorted(roles & self.roles.keys()):
            if networks := self.roles[role]:
                yield f"roles.{role}", networks

    def closed_to(self, ip: str | None, kind: str, roles: AbstractSet[str]) -> tuple[str, ...]:
        """The names of the lists about such a subject in which the address is not."""
        address = None if ip is None else parse_address(ip)
        return tuple(
            name
            for name, networks in self.about(kind, roles)
            if address is None or not within(address, networks)
        )

    def refuses(
        self, ip: str | None, kind: str, roles: AbstractSet[str], subject_id: str, now: datetime
    ) -> bool:
        """Whether a request of this subject is refused, unless the lists are set aside."""
        if self.mode is not Mode.ENFORCE or not self.closed_to(ip, kind, roles):
            return False
        spared_until = self.spared.get(subject_id)
        return spared_until is None or spared_until <= now


class _Exemption(Protocol):
    """What is needed of an exemption."""

    @property
    def rule(self) -> str:
        """The rule that it leaves out."""
        ...

    @property
    def scope(self) -> Mapping[str, str]:
        """What it is about."""
        ...

    @property
    def expires_at(self) -> datetime:
        """When it ends."""
        ...


def read_network_lists(
    root: Reader, modes: Mapping[str, Mode], exemptions: Iterable[_Exemption]
) -> NetworkLists:
    """The lists in the data; `root` stands on all documents, `modes` are those of all rules.

    A plain list in their place is what bundles before this form had: it is about people. A role
    that does not exist is a problem, since a list for it would keep nobody out.
    """
    if not root.has("access"):
        return NetworkLists()
    mode, spared = modes.get(RULE, Mode.ENFORCE), _spared(exemptions)
    part = root.child("access")
    longest = 60
    if part.has("opening_minutes_max"):
        longest = part.whole("opening_minutes_max", minimum=1, maximum=LONGEST_OPENING_MINUTES)
    if part.holds_list("networks"):
        people = _networks(part, "networks")
        return NetworkLists(
            kinds={"human": people}, opening_minutes_max=longest, mode=mode, spared=spared
        )
    lists = part.child("networks")
    kinds, roles = lists.child("kinds"), lists.child("roles")
    for wrong in sorted(set(kinds.names()) - set(KINDS)):
        kinds.complain(wrong, f"is none of the kinds {', '.join(KINDS)}")
    for wrong in sorted(set(roles.names()) - set(RoleName)):
        if not wrong.startswith(OWN_ROLE):
            roles.complain(wrong, f"is no role (one of your own is written {OWN_ROLE}NAME)")
    found = NetworkLists(
        organisation=_networks(lists, "organisation"),
        kinds={name: _networks(kinds, name) for name in kinds.names()},
        roles={name.removeprefix(OWN_ROLE): _networks(roles, name) for name in roles.names()},
        opening_minutes_max=longest,
        mode=mode,
        spared=spared,
    )
    lists.finish()
    return found


def _spared(exemptions: Iterable[_Exemption]) -> dict[str, datetime]:
    """Whom exemptions leave out, each until when; at the door only the subject is known."""
    found: dict[str, datetime] = {}
    for each in exemptions:
        if each.rule == RULE and set(each.scope) == {"subject"}:
            subject = each.scope["subject"]
            found[subject] = max(each.expires_at, found.get(subject, each.expires_at))
    return found


def _networks(part: Reader, key: str) -> tuple[Network, ...]:
    found = []
    for text in part.texts(key):
        try:
            found.append(parse_network(text))
        except ValueError as error:
            part.complain(key, f"holds {text!r}, which {error}")
    return tuple(found)
