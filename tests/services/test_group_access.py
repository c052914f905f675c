"""What groups give, in the database: the last admin stays, own roles count, policy is read."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.data import PolicyData
from charter.services.group_access import bring_in_line
from charter.store import tables as t
from tests.spec import spec
from tests.sso import POLICY, put_policy
from tests.support import BRIEF, World


def holds(world: World, handle: str) -> set[str]:
    with world.rt.database.reading() as tx:
        c = t.role_bindings.c
        query = (
            sa.select(c.role)
            .join(t.people, t.people.c.id == c.person_id)
            .where(t.people.c.handle == handle, c.revoked_at.is_(None))
        )
        return {row["role"] for row in tx.all(query)}


def sign_in_with(world: World, handle: str, *groups: str) -> None:
    with world.rt.database.unit_of_work() as tx:
        row = tx.one(sa.select(t.people.c.id).where(t.people.c.handle == handle))
        assert row is not None
        bring_in_line(world.rt, tx, row["id"], "corp", groups)


@spec("ID-3", "ID-9")
def test_the_last_admin_stays_one(world: World) -> None:
    put_policy(world, POLICY)
    sign_in_with(world, "ria", "operators")
    assert "platform-admin" in holds(world, "ria")
    with world.rt.database.unit_of_work() as tx:
        c = t.role_bindings.c
        by_hand = sa.and_(c.role == "platform-admin", c.source.is_(None))
        tx.update(t.role_bindings, by_hand, revoked_at=tx.now)
    sign_in_with(world, "ria")
    assert "platform-admin" in holds(world, "ria")
    with world.rt.database.reading() as tx:
        leaves = [json.loads(bytes(r["leaf"])) for r in tx.all(sa.select(t.audit_pending.c.leaf))]
    [kept] = [leaf for leaf in leaves if leaf["action"] == "role.kept"]
    assert kept["facts"]["why"] == "This is the last platform admin."
    # As soon as there is another one, it goes.
    sign_in_with(world, "otto", "operators")
    sign_in_with(world, "ria")
    assert "platform-admin" not in holds(world, "ria")


@pytest.mark.parametrize(
    ("roles", "complaint"),
    [
        ([{"role": "agent"}], "never bound to people"),
        ([{"role": "developer", "team": "a", "project": "b"}], "bound in one place"),
        ([{"role": "developer", "squad": "a"}], "not a known entry"),
        ([{}], "must be a text"),
        ("developer", "must be a list"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(roles: object, complaint: str) -> None:
    default = {**POLICY["default"], "groups": {"all": {"teams": [], "roles": roles}}}
    document = {"default": default, "providers": {}}
    bundle = BRIEF.with_files({"data/single_sign_on.json": json.dumps(document)})
    with pytest.raises(InvalidInputError, match=complaint):
        PolicyData.from_bundle(bundle)


def test_without_the_document_no_provider_is_trusted() -> None:
    found = PolicyData.from_bundle(BRIEF.with_files({"data/single_sign_on.json": None}))
    policy = found.single_sign_on.of("anything")
    assert not policy.create_people
    assert not policy.link_by_verified_email
    assert not policy.second_factor.shown("phr", ["mfa"])
