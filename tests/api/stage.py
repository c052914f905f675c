"""One instance on which many requests are tried, each of them undone afterwards.

Building an instance takes half a second; trying every route as every kind of caller takes hundreds
of requests. So they share one: all units of work run as savepoints of a single transaction, and
`Stage.undone` rolls back whatever a request did. The sandboxes are real; nothing that is tried here
reaches them except commands and files in a workspace that is made for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from charter.api.app import build_api
from charter.core.policy.pipeline import ChangeState, Edit
from charter.core.policy.reviews import Side
from charter.services import (
    absences,
    access_campaigns,
    access_reviews,
    agent_definitions,
    agents,
    approvals,
    break_glass,
    custom_roles,
    elevations,
    enforcement_points,
    governance,
    impact,
    notification_channels,
    overview,
    people,
    production,
    quota_overrides,
    scim,
    workspace_use,
    workspaces,
)
from charter.services import (
    tokens as personal_tokens,
)
from charter.services.policy_bundles import store_bundle
from charter.services.policy_records import PIPELINE, receive
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from charter.store.unit_of_work import Database, Tx
from tests.passkeys import in_browser, with_passkey
from tests.support import STARTER, World


class UndoneDatabase(Database):
    """A database whose units of work are savepoints in one transaction that never commits."""

    def __init__(self, database: Database, conn: sa.Connection) -> None:
        self.url = database.url
        self.engine = database.engine
        self._conn = conn
        self._now = database._now
        self._randomness = database._randomness

    @contextmanager
    def unit_of_work(self) -> Iterator[Tx]:
        with self._conn.begin_nested():
            yield Tx(self._conn, self._now(), self._randomness)


AGENT = {
    "name": "fixer",
    "task": "Mend the flaky test.",
    "repositories": ["git.example.org/payments/api"],
    "tier": "sandboxed",
    "team": None,
    "project": None,
    "minutes": 60,
    "justification": None,
}

DEFINITION = {
    "name": "keeper",
    "team": "payments",
    "description": "Keeps the docs in order.",
    "repositories": ["git.example.org/payments/*"],
    "tier": "sandboxed",
    "run_by": ["team"],
}


@dataclass
class Stage:
    """The instance, its app, and the ids of the things on it."""

    world: World
    app: FastAPI
    client: TestClient
    conn: sa.Connection
    ids: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str | None] = field(default_factory=dict)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What happens in the block has not happened after it."""
        savepoint = self.conn.begin_nested()
        try:
            yield
        finally:
            savepoint.rollback()

    def send(self, who: str, method: str, path: str, **parts: Any) -> Any:
        """The answer to one request of one caller."""
        token = self.tokens[who]
        headers = dict(parts.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.client.request(method, path, headers=headers, **parts)

    def events(self) -> int:
        """How many events the trail holds, sealed or not."""
        count = sa.select(
            sa.select(sa.func.count()).select_from(t.audit_pending).scalar_subquery()
            + sa.select(sa.func.count()).select_from(t.audit_log).scalar_subquery()
        )
        return int(self.conn.execute(count).scalar_one())


def request(name: str, **fields: Any) -> WorkspaceRequest:
    """A small workspace from an approved template."""
    return WorkspaceRequest(**{"name": name, "template": "python", **fields})


def reviewed(world: World) -> str:
    """A review because of an incident that only has to be closed."""
    rt, sam = world.rt, world.caller("sam")
    made = governance.open_review(rt, sam, "incident", "A token was in a log.")
    seats = zip(("sam", "admin", "otto", "dana", "lee"), Side, strict=True)
    held = governance.Held(None, [(person, side.value) for person, side in seats])
    governance.hold(rt, sam, made["id"], held)
    action = governance.Action("Mask tokens in logs", "dana", date(2026, 6, 30))
    governance.write_minutes(rt, sam, made["id"], "We met and agreed.", [action])
    return str(made["id"])


def _link(world: World, handle: str) -> str:
    return str(people.sign_in_link(world.rt, world.admin, handle)["url"])


def _furnish(world: World) -> tuple[dict[str, str], dict[str, str | None]]:
    """Dana's things, her agent's, and one of everything else that a path can name."""
    rt, dana = world.rt, world.caller("dana")
    definition = agent_definitions.define(rt, world.caller("lee"), dict(DEFINITION))
    made = agents.create(rt, dana, dict(AGENT))
    world.tokens["agent"] = made["credential"]["token"]
    agent = world.caller("agent")
    idle = agents.create(rt, dana, {**AGENT, "name": "idler", "tier": "read-only"})
    box = workspaces.create(rt, dana, request("api"))["workspace"]
    agent_box = workspaces.create(
        rt, agent, request("agent-box", size="agent", egress_allowlist=["git.example.org"])
    )["workspace"]
    asked = workspaces.create(rt, dana, request("big", vcpu=40))["approval"]
    granted = granted_to(world, "dana")
    world.settle()
    workspace_use.write_file(rt, dana, box["id"], "note", "kept\n")
    workspace_use.write_file(rt, agent, agent_box["id"], "note", "kept\n")
    world.settle()
    review = reviewed(world)
    temporary = _temporary(world, made["agent"]["id"])
    expired = personal_tokens.create_token(rt, dana, "expired", 1)
    spare = personal_tokens.create_token(rt, dana, "spare", 1)
    custom_roles.define(
        rt, world.admin, "operator", title="Stops", permissions={"workspace.stop": "team"}
    )
    point = enforcement_points.register(rt, world.admin, kind="opa", name="edge", settings={})
    _, passkey = with_passkey(world, "dana")
    browser, _ = in_browser(world, "dana")
    provisioning = scim.create_token(rt, world.admin, name="okta", directory="okta", days=30)
    with rt.database.unit_of_work() as tx:
        tx.update(t.people, email=t.people.c.handle + "@example.org")
        # She has a passkey and signed in with it, or she could not touch her passkeys.
        tx.update(t.api_tokens, t.api_tokens.c.id == dana.credential_id, mfa=True)
        tx.update(
            t.api_tokens,
            t.api_tokens.c.id == expired["id"],
            expires_at=tx.now - timedelta(seconds=1),
        )

        def first(query: sa.Select[Any]) -> str:
            return str(tx.conn.execute(query.limit(1)).scalar_one())

        ids = {
            "workspace": box["id"],
            "agent_workspace": agent_box["id"],
            "definition": definition["id"],
            "agent": made["agent"]["id"],
            "idle_agent": idle["agent"]["id"],
            "approval": asked["id"],
            **granted,
            "team": "payments",
            "person": "dana",
            "otto": "otto",
            "token_id": spare["id"],
            "passkey": passkey,
            "session": browser.credential_id,
            "point": point["id"],
            "token": provisioning["id"],
            "template": "scratch@0.1.0",
            "review": review,
            "number": "1",
            "name": "operator",
            "binding": first(
                sa.select(t.role_bindings.c.id)
                .join(t.people, t.people.c.id == t.role_bindings.c.person_id)
                .where(t.people.c.handle == "otto")
            ),
            "decision": first(
                sa.select(t.decisions.c.id).where(
                    t.decisions.c.subject_id == dana.id, t.decisions.c.action == "workspace.create"
                )
            ),
            "event": first(sa.select(t.audit_log.c.event_id)),
            "digest": first(sa.select(t.active_bundle.c.digest)),
            "rule_id": "admission/cpu-needs-approval",
            **temporary,
        }
    # Lee's, because the pending approval was announced to the team lead.
    ids["notice"] = overview.notices(rt, world.caller("lee"))["items"][0]["id"]
    ids |= made_channels(world)
    analysed = impact.create(rt, world.admin, digest=ids["digest"])
    ids["campaign"] = access_campaigns.open_by(rt, world.admin, reason="The stage.")
    waiting = access_reviews.list_items(rt, world.caller("lee"), ids["campaign"], for_me=True)
    ids["item"] = next(i["id"] for i in waiting["items"] if i["kind"] == "role")
    with rt.database.unit_of_work() as tx:  # so that another one may be opened
        tx.update(t.access_campaigns, closed_at=tx.now)
    ids["impact_run"] = analysed["id"]
    ids |= made_changes(world, ids["digest"])
    ids["link"] = _link(world, "otto")
    tokens: dict[str, str | None] = {
        "nobody": None,
        "expired": expired["secret"],
        "garbage": "charter_pat_0000",
        **{name: world.tokens[name] for name in ("dana", "otto", "lee", "admin", "sam", "ria")},
        "agent": world.tokens["agent"],
    }
    return ids, tokens


def granted_to(world: World, name: str, taken: str = "api") -> dict[str, str]:
    """A grant of theirs (nothing came of it, for the name was taken), and an absence to come."""
    asked = workspaces.create(world.rt, world.caller(name), request(taken, vcpu=36))["approval"]
    given = approvals.approve(world.rt, world.caller("lee"), asked["id"])
    away = absences.enter(
        world.rt,
        world.caller("lee"),
        delegate="otto",
        starts_at=world.rt.now() + timedelta(days=10),
        ends_at=world.rt.now() + timedelta(days=11),
    )
    return {"grant": given["gives"]["grant_id"], "absence": away["id"]}


def made_channels(world: World) -> dict[str, str]:
    """A channel of dana's team with a message that waits, and one of the organisation."""
    made = {
        f"{name}_channel": notification_channels.add_channel(
            world.rt,
            world.admin,
            kind="slack",
            name=name,
            team="payments" if name == "team" else None,
            url="https://chat.example.org/in",
        )["id"]
        for name in ("team", "organisation")
    }
    test = notification_channels.test_channel(world.rt, world.admin, made["team_channel"])
    return {**made, "delivery": test["delivery"]}


def _temporary(world: World, agent_id: str) -> dict[str, str]:
    """Something of everything that is had for a while, with sign-ins that are strong enough."""
    rt = world.rt
    for name, team in (("kim", "search"), ("kai", "search")):
        world.add_person(name, ("team-lead", team), team=team)
    with rt.database.unit_of_work() as tx:
        tx.update(t.api_tokens, t.api_tokens.c.name == "test", mfa=True)
    people.create_project(
        rt, world.admin, name="ledger-live", team="payments", data_class="internal",
        environment="production",
    )  # fmt: skip
    dana, lee, sam = world.caller("dana"), world.caller("lee"), world.caller("sam")
    access = production.request(
        rt, dana, project="ledger-live", minutes=60, reason="Incident 4711."
    )["approval"]["id"]
    override = quota_overrides.request(
        rt,
        dana,
        scope="user",
        of=None,
        dimension="vcpu",
        amount=4,
        until=world.clock.moment + timedelta(days=1),
        reason="The release.",
    )["approval"]["id"]
    elevation = elevations.request(
        rt,
        dana,
        agent_id,
        tier=None,
        permissions=[],
        repositories=["git.example.org/payments/docs"],
        reason="The docs as well.",
    )["approval"]["id"]
    approvals.approve(rt, lee, elevation)
    given = {"role": "platform-admin", "reason": "Nothing starts."}
    over = break_glass.start(rt, world.caller("kai"), **given)["id"]
    break_glass.end(rt, world.caller("kai"), over)
    return {
        "access": approvals.approve(rt, sam, access)["result_id"],
        "override": approvals.approve(rt, lee, override)["result_id"],
        "elevation": agents.get(rt, dana, agent_id)["elevations"][0]["id"],
        "emergency": break_glass.start(rt, world.caller("kim"), **given)["id"],
        "over": over,
    }


def made_changes(world: World, active: str) -> dict[str, str]:
    """A change that waits for reviews, and one whose time on the stage is over."""
    candidate = STARTER.with_files({"docs/note.md": "A note.\n"})
    with world.rt.database.unit_of_work() as tx:
        store_bundle(tx, candidate, loaded_by="test", note_text="")
        made = []
        for state in (ChangeState.IN_REVIEW, ChangeState.STAGED):
            change_id = receive(
                tx,
                [Edit("docs/note.md", None, "A note.\n")],
                source="proposal",
                title="A note",
                description="",
                author="Pat",
                author_ids=[],
                by=PIPELINE,
            )
            made.append(change_id)
            tx.update(
                t.policy_changes,
                t.policy_changes.c.id == change_id,
                state=state.value,
                digest=candidate.digest,
                base_digest=active,
                since=tx.now - timedelta(days=1),
                checks={"digest": candidate.digest, "passed": True, "summary": "Passed."},
            )
    return {"change": made[0], "staged_change": made[1], "candidate": candidate.digest}


@contextmanager
def built_stage(world: World) -> Iterator[Stage]:
    """The furnished stage, with everything from now on in one transaction that is rolled back."""
    ids, tokens = _furnish(world)
    with world.rt.database.engine.connect() as conn:
        outer = conn.begin()
        rt = dataclasses.replace(
            world.rt,
            database=UndoneDatabase(world.rt.database, conn),
            settings=world.rt.settings.model_copy(update={"smtp_host": "mail.example.org"}),
        )
        app = build_api(rt)
        with TestClient(app, raise_server_exceptions=False) as client:
            yield Stage(world, app, client, conn, ids, tokens)
        outer.rollback()
