"""What a new instance starts with: policies, catalogue, and a first administrator.

Running it again changes nothing that is there. The first administrator gets a one-time link
when the operator starts the instance and they have neither a live session nor a live token.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from charter.core.access.roles import ORGANISATION, RoleName
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.policy.bundle import Bundle
from charter.services import people, policy_bundles
from charter.services.runtime import Runtime
from charter.services.starter import STARTER_TEMPLATES
from charter.store import tables as t
from charter.store.unit_of_work import Tx

INSTALLER: Final = ActorRef("system", "installer")


def bootstrap(rt: Runtime, bundle: Bundle) -> str | None:
    """Fill an empty instance; a one-time link for the first administrator, if they need one."""
    with rt.database.unit_of_work() as tx:
        tx.conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('charter.bootstrap'))"))
        if tx.one(sa.select(t.active_bundle.c.digest)) is None:
            note_text = "Starter policies."
            policy_bundles.store_bundle(tx, bundle, loaded_by=INSTALLER.id, note_text=note_text)
            policy_bundles.put_in_force(
                rt,
                tx,
                bundle.digest,
                kind=policy_bundles.Kind.BOOTSTRAP,
                by=INSTALLER,
                why=note_text,
            )
        policy_bundles.adopt(rt, tx, INSTALLER)
        for template in STARTER_TEMPLATES:
            _template(tx, template)
        admin_id = _first_admin(rt, tx)
        return _link_if_needed(rt, tx, admin_id)


def _template(tx: Tx, template: dict[str, object]) -> None:
    c = t.templates.c
    if tx.one(sa.select(c.id).where(c.name == template["name"]).limit(1)) is None:
        template_id = tx.new_id("template")
        tx.insert(
            t.templates,
            id=template_id,
            created_at=tx.now,
            environment={},
            **{"use_instead": None, **template},
        )
        _record(tx, "template.created", "template", template_id)


def _first_admin(rt: Runtime, tx: Tx) -> str:
    handle = rt.settings.admin_handle
    row = tx.one(sa.select(t.people.c.id).where(t.people.c.handle == handle))
    if row is not None:
        return str(row["id"])
    admin_id = tx.new_id("person")
    tx.insert(
        t.people,
        id=admin_id,
        handle=handle,
        display_name=handle,
        created_at=tx.now,
    )
    tx.insert(
        t.role_bindings,
        id=tx.new_id("binding"),
        person_id=admin_id,
        role=RoleName.PLATFORM_ADMIN.value,
        scope_kind=ORGANISATION.kind.value,
        scope_id=ORGANISATION.id,
        granted_by=INSTALLER.id,
        created_at=tx.now,
    )
    team_id = tx.new_id("team")
    tx.insert(t.teams, id=team_id, name="platform", created_at=tx.now)
    tx.insert(t.team_members, team_id=team_id, person_id=admin_id, since=tx.now)
    _record(tx, "person.created", "person", admin_id)
    _record(tx, "team.created", "team", team_id)
    return admin_id


def _link_if_needed(rt: Runtime, tx: Tx, admin_id: str) -> str | None:
    """A link whenever the administrator has no way in; unused older ones are withdrawn.

    Whoever may start the instance on its machine may read its keys anyway, so this gives them
    nothing new, and nobody can lock every administrator out.
    """
    for table in (t.sessions, t.api_tokens):
        c = table.c
        if tx.one(
            sa.select(c.id)
            .where(c.person_id == admin_id, c.revoked_at.is_(None), c.expires_at > tx.now)
            .limit(1)
        ):
            return None
    links = t.sign_in_links.c
    tx.conn.execute(
        sa.delete(t.sign_in_links).where(
            links.person_id == admin_id,
            links.made_by == INSTALLER.id,
            links.used_at.is_(None),
        )
    )
    _record(tx, "person.link-made", "person", admin_id)
    return str(people.make_link(rt, tx, admin_id, made_by=INSTALLER.id)["url"])


def _record(tx: Tx, action: str, kind: str, id_: str) -> None:
    tx.audit(
        AuditEvent(
            id=tx.new_id("event"),
            at=tx.now,
            actor=INSTALLER,
            action=action,
            resource_kind=kind,
            resource_id=id_,
            outcome=Outcome.DONE,
        )
    )
