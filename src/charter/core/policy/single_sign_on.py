"""What policy says about signing in with a provider (`data/single_sign_on.json`).

Whom a provider may bring in, what its groups give, and what counts as a second factor are decisions
of the organisation, so they are policy data. Where a provider is and how Charter proves itself to
it are settings. A provider without an entry of its own follows `default`; a bundle without the
document trusts no provider with anything.

Source: Spec ID-3, ID-4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from charter.core.access.groups import GroupGrant, MappedRole
from charter.core.access.roles import RoleName, ScopeKind
from charter.core.policy.reading import Reader


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """Which words of a provider say that more than one factor was shown.

    `acr` lists classes of authentication, any of which will do. `amr` lists methods; `pwd+otp`
    stands for two that must both have been used (RFC 8176).
    """

    acr: frozenset[str] = frozenset()
    amr: tuple[frozenset[str], ...] = ()

    def shown(self, acr: str | None, amr: Iterable[str]) -> bool:
        """Whether what the ID token says amounts to more than one factor."""
        used = frozenset(amr)
        return acr in self.acr or any(methods <= used for methods in self.amr)


@dataclass(frozen=True, slots=True)
class ProviderPolicy:
    """How far one provider is trusted.

    `allowed_groups` empty means everybody of the provider. The mapping `groups` gives teams and
    roles; see `core.access.groups`.
    """

    create_people: bool = False
    link_by_verified_email: bool = False
    allowed_groups: frozenset[str] = frozenset()
    second_factor: SecondFactor = field(default_factory=SecondFactor)
    groups: Mapping[str, GroupGrant] = field(default_factory=dict)

    def admits(self, groups: Iterable[str]) -> bool:
        """Whether somebody in these groups may come in at all."""
        return not self.allowed_groups or not self.allowed_groups.isdisjoint(groups)


@dataclass(frozen=True, slots=True)
class SingleSignOn:
    """The whole document."""

    default: ProviderPolicy = field(default_factory=ProviderPolicy)
    providers: Mapping[str, ProviderPolicy] = field(default_factory=dict)

    def of(self, provider: str) -> ProviderPolicy:
        """The policy for this provider."""
        return self.providers.get(provider, self.default)


def read_single_sign_on(root: Reader) -> SingleSignOn:
    """The document in the data; `root` stands on all documents."""
    if not root.has("single_sign_on"):
        return SingleSignOn()
    part = root.child("single_sign_on")
    found = SingleSignOn(
        default=_provider(part.child("default")),
        providers={name: _provider(each) for name, each in part.child("providers").children()},
    )
    part.finish()
    return found


def _provider(part: Reader) -> ProviderPolicy:
    factor = part.child("second_factor")
    return ProviderPolicy(
        create_people=part.flag("create_people"),
        link_by_verified_email=part.flag("link_by_verified_email"),
        allowed_groups=frozenset(part.texts("allowed_groups")),
        second_factor=SecondFactor(
            acr=frozenset(factor.texts("acr")),
            amr=tuple(frozenset(each.split("+")) for each in factor.texts("amr")),
        ),
        groups={name: _grant(each) for name, each in part.child("groups").children()},
    )


def _grant(part: Reader) -> GroupGrant:
    return GroupGrant(
        teams=part.texts("teams"),
        roles=tuple(_role(each) for each in part.items("roles")),
    )


def _role(part: Reader) -> MappedRole:
    role = part.text("role")
    if role == RoleName.AGENT:
        part.complain("role", "cannot be agent: that role is never bound to people")
    named = [kind for kind in (ScopeKind.TEAM, ScopeKind.PROJECT) if part.has(kind.value)]
    if len(named) > 1:
        part.complain("project", "cannot stand beside team: a role is bound in one place")
    if not named:
        return MappedRole(role)
    return MappedRole(role, named[0], part.text(named[0].value))
