"""What a new instance starts with: policies, catalogue, and a first administrator.

Running it again changes nothing that is there. The first administrator gets a one-time link
when the operator starts the instance and they have neither a live session nor a live token.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from charter.core.access.roles import ORGANISATION, RoleName
from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.errors import NotFoundError
from charter.core.policy.bundle import Bundle
from charter.services import people, policy_bundles
from charter.services.approval_requests import notify
from charter.services.runtime import Runtime
from charter.services.starter import STARTER_TEMPLATES
from charter.services.subjects import load_human
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


def recover_admin(rt: Runtime, handle: str, *, forget_passkeys: bool) -> dict[str, Any]:
    """A link for a platform admin who has no other way in, from the shell of the machine.

    Not for anybody else: it is the way back in, no way to become somebody.
    """
    with rt.database.unit_of_work() as tx:
        row = tx.one(sa.select(t.people).where(t.people.c.handle == handle))
        person = None if row is None else load_human(tx, row["id"])
        if person is None or not any(
            b.role == RoleName.PLATFORM_ADMIN and b.scope == ORGANISATION and b.live(tx.now)
            for b in person.bindings
        ):
            raise NotFoundError(
                f"No active platform admin is called {handle}.",
                fix="Name one with --person HANDLE.",
            )
        removed = 0
        if forget_passkeys:
            c = t.passkeys.c
            removed = tx.update(
                t.passkeys, c.person_id == person.id, c.removed_at.is_(None), removed_at=tx.now
            )
            _record(tx, "passkey.removed", "person", person.id)
        _record(tx, "person.link-made", "person", person.id)
        notify(
            tx,
            person.id,
            "sign-in-link",
            "A sign-in link was made for your account at the machine that Charter runs on"
            + (f", and your passkeys were removed ({removed})." if forget_passkeys else "."),
        )
        made = people.make_link(rt, tx, person.id, made_by=INSTALLER.id)
        return {"handle": handle, "passkeys_removed": removed, **made}


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
