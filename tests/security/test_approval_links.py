"""Attacks on links that carry a vote: replay, forgery, other hands, other sites, programs."""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from charter.core.kernel.errors import CharterError
from charter.services import (
    approval_links,
    approval_voting,
    approvals,
    overview,
    people,
    roles,
    workspaces,
)
from charter.services.notification_dispatch import dispatch
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.portal.conftest import Visitor, sign_in
from tests.portal.instance import application
from tests.portal.markup import problems, text_of
from tests.security.test_networks import HOME, OFFICE, enforce
from tests.spec import spec
from tests.support import World


@pytest.fixture
def world(world: World) -> Iterator[World]:
    """With addresses for everybody, and a mail server that nobody has to reach."""
    given = {"smtp_host": "mail.example.org"}
    world.rt = dataclasses.replace(world.rt, settings=world.rt.settings.model_copy(update=given))
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.people, email=t.people.c.handle + "@example.org")
        tx.update(t.notices, dispatched_at=tx.now)
    return world


@pytest.fixture
def app(world: World) -> FastAPI:
    return application(world.rt)


@pytest.fixture
def stranger(app: FastAPI) -> TestClient:
    """A browser in which nobody is signed in."""
    return TestClient(app, client=(f"host-{uuid.uuid4().hex[:8]}", 1))


Signed = Callable[[str], Visitor]


@pytest.fixture
def visit(world: World, app: FastAPI) -> Signed:
    return lambda handle: sign_in(world, app, handle)


def ask(world: World, name: str = "big") -> str:
    request = WorkspaceRequest(name=name, template="python", vcpu=40)
    made = workspaces.create(world.rt, world.caller("dana"), request)
    dispatch(world.rt)
    return str(made["approval"]["id"])


def link(world: World, approval: str, who: str) -> str:
    """The newest link of that approver, as the mail would hold it."""
    with world.rt.database.reading() as tx:
        c = t.approval_links.c
        query = sa.select(c.id).join(t.people, t.people.c.id == c.person_id)
        query = query.where(c.approval_id == approval, t.people.c.handle == who)
        row = tx.one(query.order_by(c.id.desc()).limit(1))
        assert row is not None
        url = approval_links.url_of(world.rt, tx, row["id"])
    assert url is not None
    return url.split("link=")[1]


def show(client: TestClient, text: str) -> Any:
    return client.get("/vote", params={"link": text}, follow_redirects=False)


def decide(client: TestClient, text: str, verdict: str = "approve", **fields: str) -> Any:
    return client.post(
        "/vote", data={"link": text, "verdict": verdict, **fields}, follow_redirects=False
    )


def state(world: World, approval: str) -> str:
    return str(approvals.get(world.rt, world.admin, approval)["state"])


def events(world: World, action: str) -> list[bytes]:
    with world.rt.database.reading() as tx:
        rows = tx.all(sa.select(t.audit_pending.c.leaf))
    return [bytes(row["leaf"]) for row in rows if action.encode() in bytes(row["leaf"])]


@spec("AP-7")
def test_a_link_shows_what_is_asked_and_its_form_decides_once(
    world: World, stranger: TestClient
) -> None:
    approval = ask(world)
    text = link(world, approval, "lee")
    page = show(stranger, text)
    assert page.status_code == 200
    for fact in ("dana", "40 vCPU", "payments", "workspace.create", "Approve", "Deny", "lee"):
        assert fact in text_of(page.text) + page.text
    assert problems(page.text) == []
    assert not page.cookies
    done = decide(stranger, text, comment="Fine.")
    assert done.status_code == 200
    assert "Your approval was recorded" in done.text
    assert not done.cookies  # no session was opened
    assert state(world, approval) == "approved"
    [vote] = approvals.get(world.rt, world.admin, approval)["votes"]
    assert (vote["approver"], vote["comment"]) == ("lee", "Fine.")
    for again in (decide(stranger, text, "deny"), show(stranger, text)):
        assert again.status_code == 409
        assert "dana" not in text_of(again.text)
    assert stranger.get("/", follow_redirects=False).status_code == 303


@spec("AP-7")
def test_programs_that_open_links_decide_nothing(world: World, stranger: TestClient) -> None:
    approval = ask(world)
    text = link(world, approval, "lee")
    for method in ("GET", "HEAD", "OPTIONS", "GET"):
        stranger.request(method, "/vote", params={"link": text, "verdict": "approve"})
    assert state(world, approval) == "pending"
    assert decide(stranger, text).status_code == 200


@spec("AP-7")
def test_what_is_no_link_of_ours_gets_one_answer_whatever_is_wrong_with_it(
    world: World, app: FastAPI
) -> None:
    first, second = ask(world), ask(world, "other")
    text, other = link(world, first, "lee"), link(world, second, "lee")
    admins = link(world, first, "admin")
    head, signature = text[:-44], text[-43:]
    flipped = signature[:-2] + ("AA" if signature[-2:] != "AA" else "BB")
    forged = [
        "",
        "charter_apl_x",
        f"{head}_{flipped}",
        f"{other[:-44]}_{signature}",  # the signature of another request
        f"{admins[:-44]}_{signature}",  # of another person
        f"charter_apl_{'0' * 26}_{signature}",  # no such row
        f"{head}_{'A' * 43}",
        text.replace("charter_apl", "charter_lnk"),
        text + "\n",
    ]
    answers = set()
    for number, wrong in enumerate(forged):
        client = TestClient(app, client=(f"host-{number}-{uuid.uuid4().hex[:6]}", 1))
        for answer in (show(client, wrong), decide(client, wrong)):
            answers.add((answer.status_code, text_of(answer.text)))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 404
    assert state(world, first) == "pending"


@spec("AP-7")
def test_a_row_that_somebody_changed_fits_no_link(world: World, app: FastAPI) -> None:
    """Who can write to the database still cannot make or stretch a link."""
    other = ask(world, "other")
    values = {
        "person_id": world.caller("admin").id,
        "approval_id": other,
        "expires_at": world.clock.moment + timedelta(days=300),
        "nonce": b"0" * 16,
    }
    lee = world.caller("lee").id
    for column, value in values.items():
        approval = ask(world, column.replace("_", "-"))
        text = link(world, approval, "lee")
        with world.rt.database.unit_of_work() as tx:
            c = t.approval_links.c
            mine = (c.person_id == lee, c.approval_id == approval)
            tx.update(t.approval_links, *mine, **{column: value})
        assert decide(TestClient(app), text).status_code == 404, column
        assert state(world, approval) == state(world, other) == "pending"


@spec("AP-7")
def test_a_forwarded_link_is_refused_ends_and_is_reported(
    world: World, stranger: TestClient, visit: Signed
) -> None:
    approval = ask(world)
    text = link(world, approval, "lee")
    otto = visit("otto")
    for answer in (otto.get(f"/vote?link={text}"), otto.post("/vote", link=text, verdict="deny")):
        assert answer.status_code in {403, 409}
        assert "40 vCPU" not in text_of(answer.text)
    assert state(world, approval) == "pending"
    told = [
        n["message"]
        for n in overview.notices(world.rt, world.caller("lee"))["items"]
        if n["kind"] == "approval-link-misused"
    ]
    assert len(told) == 1
    assert told[0].startswith("otto opened an approval link that was made for you.")
    assert events(world, "approval.link-misused")
    assert decide(stranger, text).status_code == 409  # it was in other hands
    # Also in the hands of somebody who may approve: the requester's colleague is not the owner.
    admins = link(world, approval, "admin")
    assert visit("lee").get(f"/vote?link={admins}").status_code == 403
    assert state(world, approval) == "pending"


@spec("AP-7")
def test_the_requester_gains_nothing_by_an_approvers_link(world: World, visit: Signed) -> None:
    approval = ask(world)
    text = link(world, approval, "lee")
    assert visit("dana").post("/vote", link=text, verdict="approve").status_code == 403
    assert state(world, approval) == "pending"


def _settled(world: World, approval: str) -> None:
    approvals.deny(world.rt, world.admin, approval, "No.")


def _cancelled(world: World, approval: str) -> None:
    approvals.cancel(world.rt, world.caller("dana"), approval)


def _role_lost(world: World, _approval: str) -> None:
    listed = roles.list_bindings(world.rt, world.admin)["items"]
    [binding] = [b for b in listed if b["person"] == "lee"]
    roles.revoke_role(world.rt, world.admin, binding["id"])


def _deactivated(world: World, _approval: str) -> None:
    people.deactivate(world.rt, world.admin, "lee")


def _moved(world: World, _approval: str) -> None:
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.people, t.people.c.handle == "lee", email="lee@elsewhere.example")


def _late(world: World, _approval: str) -> None:
    world.clock.advance(days=3, seconds=1)


def _reminded(world: World, approval: str) -> None:
    world.clock.advance(minutes=5)
    with world.rt.database.unit_of_work() as tx:
        tx.insert(
            t.notices,
            id=tx.new_id("notice"),
            person_id=world.caller("lee").id,
            kind="approval",
            message="It still waits.",
            resource_kind="approval",
            resource_id=approval,
            created_at=tx.now,
        )
    dispatch(world.rt)


@spec("AP-7")
@pytest.mark.parametrize(
    "what", [_settled, _cancelled, _role_lost, _deactivated, _moved, _late, _reminded]
)
def test_a_link_is_over_when(
    world: World, stranger: TestClient, what: Callable[[World, str], None]
) -> None:
    approval = ask(world)
    text = link(world, approval, "lee")
    assert show(stranger, text).status_code == 200
    what(world, approval)
    for answer in (show(stranger, text), decide(stranger, text)):
        assert answer.status_code == 409, what
        assert "40 vCPU" not in text_of(answer.text)
    with world.rt.database.reading() as tx:
        c = t.approval_votes.c
        votes = tx.all(
            sa.select(c.verdict)
            .join(t.people, t.people.c.id == c.approver_id)
            .where(t.people.c.handle == "lee")
        )
    assert votes == []
    if what is _reminded:
        assert decide(stranger, link(world, approval, "lee")).status_code == 200


@spec("AP-7", "ID-4")
@pytest.mark.parametrize("rule", ["production/needs-approval", "eu-ai-act/high-risk-oversight"])
def test_where_policy_wants_a_sign_in_the_link_alone_shows_and_does_nothing(
    world: World, stranger: TestClient, visit: Signed, rule: str
) -> None:
    approval = ask(world)
    with world.rt.database.unit_of_work() as tx:
        needed = [{"rule": rule, "roles": ["team-lead"], "count": 1,
                   "requires": [], "grant_seconds": None}]  # fmt: skip
        tx.update(t.approvals, t.approvals.c.id == approval, requirements=needed)
    text = link(world, approval, "lee")
    page = show(stranger, text)
    assert page.status_code == 200
    assert "Sign in to decide" in page.text
    assert "40 vCPU" not in text_of(page.text)
    assert decide(stranger, text).status_code == 403
    assert state(world, approval) == "pending"
    lee = visit("lee")
    assert "40 vCPU" in text_of(lee.get(f"/vote?link={text}").text)
    assert lee.post("/vote", link=text, verdict="deny", comment="No.").status_code == 200
    assert state(world, approval) == "denied"


@spec("AP-7")
def test_another_site_cannot_send_the_form(
    world: World, stranger: TestClient, visit: Signed
) -> None:
    approval = ask(world)
    text = link(world, approval, "lee")
    data = {"link": text, "verdict": "approve"}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert stranger.post("/vote", data=data, headers=headers).status_code == 403
    lee = visit("lee")
    for csrf in ("", "0" * 48):
        answer = lee.client.post("/vote", data={**data, "_csrf": csrf})
        assert answer.status_code == 403
    assert state(world, approval) == "pending"


def test_the_page_leads_nowhere_else_and_cannot_be_framed(
    world: World, stranger: TestClient
) -> None:
    text = link(world, ask(world), "lee")
    page = stranger.get(
        "/vote",
        params={"link": text, "next": "https://evil.example", "back": "//evil.example"},
        follow_redirects=False,
    )
    assert page.status_code == 200
    assert "evil.example" not in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    targets = set(re.findall(r'(?:action|href)="([^"]+)"', page.text))
    assert all(target.startswith("/") and not target.startswith("//") for target in targets)


@spec("AP-7")
def test_who_tries_made_up_links_is_slowed_down(world: World, app: FastAPI) -> None:
    good = link(world, ask(world), "lee")
    guesser = TestClient(app, client=("203.0.113.77", 1))
    guesses = [f"charter_apl_{number:026d}_{'A' * 43}" for number in range(55)]
    seen = [show(guesser, guess).status_code for guess in guesses]
    assert seen[0] == 404
    assert seen[-1] == 429
    assert show(TestClient(app, client=("203.0.113.78", 1)), good).status_code == 200


@spec("AP-7")
def test_one_link_sent_twice_at_the_same_moment_is_one_vote(world: World, app: FastAPI) -> None:
    approval = ask(world)
    text = link(world, approval, "lee")
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda verdict: decide(TestClient(app), text, verdict).status_code,
                ["approve", "deny", "approve", "deny"],
            )
        )
    assert sorted(answers) == [200, 409, 409, 409]
    assert len(approvals.get(world.rt, world.admin, approval)["votes"]) == 1


def test_a_refused_vote_leaves_the_link_as_it_was(
    world: World, stranger: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vote that fails on the way is no vote, so that the link is not used up by it."""
    approval = ask(world)
    text = link(world, approval, "lee")
    with monkeypatch.context() as patched:

        def fail(*_: Any) -> None:
            raise CharterError("Something failed.", fix="Try again.")

        patched.setattr(approval_voting, "_settle", fail)
        assert decide(stranger, text).status_code == 500
    assert state(world, approval) == "pending"
    assert decide(stranger, text).status_code == 200


@spec("AP-7", "ID-5")
def test_a_link_works_only_where_its_owner_may_come_from(world: World, app: FastAPI) -> None:
    """A mail that is read outside carries no vote in."""
    approval = ask(world)
    text = link(world, approval, "lee")
    enforce(world)
    outside = TestClient(app, client=(HOME, 1))
    for answer in (show(outside, text), decide(outside, text)):
        assert answer.status_code == 403
        assert "40 vCPU" not in text_of(answer.text)
    assert decide(TestClient(app, client=(OFFICE, 1)), text).status_code == 200
