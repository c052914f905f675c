"""From a provider's groups to what has to change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from charter.core.access.groups import Given, GroupGrant, MappedRole, align, given_by
from charter.core.access.permissions import Permission
from charter.core.access.roles import CustomRole, Reach, RoleName, ScopeKind
from charter.core.access.separation import RoleConflict, conflicts
from tests.spec import spec

ADMIN = MappedRole(RoleName.PLATFORM_ADMIN)
WATCHER = MappedRole(RoleName.SECURITY_ADMIN)
DEVELOPER = MappedRole(RoleName.DEVELOPER, ScopeKind.TEAM, "payments")
READER = MappedRole(RoleName.READ_ONLY)
MAPPING = {
    "a": GroupGrant(("payments",), (DEVELOPER,)),
    "b": GroupGrant(("payments", "search"), (READER,)),
}


def roles(*held: MappedRole) -> Given:
    return Given(roles=frozenset(held))


def test_groups_give_together_and_unknown_ones_nothing() -> None:
    assert given_by(MAPPING, ["a", "b", "a", "other"]) == Given(
        frozenset({"payments", "search"}), frozenset({DEVELOPER, READER})
    )
    assert given_by(MAPPING, []) == Given()


def test_what_is_missing_is_given_and_what_is_too_much_is_taken() -> None:
    found = align(
        Given(frozenset({"payments"}), frozenset({DEVELOPER})),
        Given(frozenset({"search"}), frozenset({READER})),
    )
    assert (found.join, found.leave) == ({"payments"}, {"search"})
    assert (found.bind, found.revoke, found.withheld) == ((DEVELOPER,), {READER}, {})


@spec("ID-9")
def test_roles_that_clash_do_not_come_together() -> None:
    both = align(roles(ADMIN, WATCHER), roles())
    assert both.bind == ()
    assert set(both.withheld) == {ADMIN, WATCHER}
    second = align(roles(ADMIN, WATCHER), roles(ADMIN))
    assert (second.bind, second.revoke, set(second.withheld)) == ((), frozenset(), {WATCHER})
    by_hand = align(roles(WATCHER), roles(), [RoleName.PLATFORM_ADMIN])
    assert "watches over" in by_hand.withheld[WATCHER]
    # One goes as the other comes.
    assert align(roles(WATCHER), roles(ADMIN)).bind == (WATCHER,)


def test_conflicts_that_policy_lists_count_and_so_does_what_an_own_role_allows() -> None:
    listed = RoleConflict(frozenset({"developer", "read-only"}), "we said so")
    assert align(roles(DEVELOPER, READER), roles(), (), [listed]).bind == ()
    own = CustomRole("builder", ((Permission.QUOTA_MANAGE, Reach.ALL),))
    found = align(roles(WATCHER), roles(), ["builder"], (), {"builder": own})
    assert set(found.withheld) == {WATCHER}


_NAMES = st.sampled_from([r.value for r in RoleName if r is not RoleName.AGENT])
_ROLES = st.frozensets(st.builds(MappedRole, _NAMES), max_size=5)


@spec("ID-9")
@given(_ROLES, _ROLES, st.frozensets(_NAMES, max_size=2))
def test_nobody_comes_to_hold_what_clashes(
    wanted: frozenset[MappedRole], held: frozenset[MappedRole], by_hand: frozenset[str]
) -> None:
    found = align(Given(roles=wanted), Given(roles=held), by_hand)
    before = {role.role for role in held} | by_hand
    after = {role.role for role in (held - found.revoke) | set(found.bind)} | by_hand
    assert after <= {role.role for role in wanted} | by_hand
    new = {v.message for v in conflicts(after)} - {v.message for v in conflicts(before)}
    assert new == set()
    assert set(found.bind) | set(found.withheld) == wanted - held
