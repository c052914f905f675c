"""Nobody acts as, or through, somebody who may do more than they may themselves.

Whoever manages people can open accounts: by a sign-in link, by taking away a passkey, by handing a
person over to a directory, by a token that speaks for one. With a role of the organisation's own
that permission need not be a platform admin's, so the bound of giving roles holds here too: no
account is opened, and no directory spoken for, that holds or gives what its opener may not give.
What an emergency lends does not count.

Source: Spec ID-1, ID-9.
"""

from __future__ import annotations

from collections.abc import Iterable

from charter.core.access.break_glass import ordinary
from charter.core.access.custom_roles import may_give
from charter.core.access.roles import Scope, ScopeKind, scope_chain
from charter.core.kernel.errors import CharterError, ForbiddenError
from charter.services import custom_roles, lookup
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_human
from charter.store.unit_of_work import Tx


def check_not_above(tx: Tx, caller: Caller, person_id: str) -> None:
    """Raise when the person holds a role that the caller could not give."""
    person = load_human(tx, person_id)
    if person is None or person_id == caller.id:
        return
    giver = ordinary(caller.person)
    for binding in person.bindings:
        if binding.live(tx.now):
            chain = _chain(tx, binding.scope)
            if may_give(giver, binding.custom or binding.role, chain, tx.now) is not None:
                raise ForbiddenError(
                    f"{person.handle} holds {binding.role}, which you could not give.",
                    fix="Ask a platform admin of the organisation.",
                    code="holds-more",
                )


def check_directory(rt: Runtime, tx: Tx, caller: Caller, directory: str) -> None:
    """Raise when groups of this directory give a role that the caller could not give."""
    known = rt.policy.active(tx).data.single_sign_on.providers.get(directory)
    grants = () if known is None else known.groups.values()
    giver = ordinary(caller.person)
    for mapped in sorted({role for grant in grants for role in grant.roles}):
        role = custom_roles.held(tx, mapped.role)
        try:
            chain = _named(tx, mapped.scope_kind, mapped.scope)
        except CharterError:  # a place that there is not yet: held against the widest
            chain = scope_chain()
        if may_give(giver, role, chain, tx.now) is not None:
            raise ForbiddenError(
                f"Groups of {directory} give {mapped.role}, which you could not give.",
                fix="Ask a platform admin of the organisation.",
                code="role-exceeds-giver",
            )


def _chain(tx: Tx, scope: Scope) -> Iterable[Scope]:
    return _named(tx, scope.kind, scope.id)


def _named(tx: Tx, kind: ScopeKind, ref: str | None) -> Iterable[Scope]:
    if kind is ScopeKind.TEAM and ref is not None:
        return scope_chain(lookup.team(tx, ref)["id"])
    if kind is ScopeKind.PROJECT and ref is not None:
        project = lookup.project(tx, ref)
        return scope_chain(project["team_id"], project["id"])
    return scope_chain()
