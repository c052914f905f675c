"""The account page, and how a refusal for want of a fresh proof leads back to the form."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from charter.services import custom_roles, people
from charter.store import tables as t
from tests.authenticator import Authenticator
from tests.passkeys import in_browser
from tests.portal.conftest import Visitor
from tests.portal.markup import problems, text_of
from tests.spec import spec
from tests.support import World

ROLE = {"name": "operator", "title": 'Stops "things" & <more>', "reach:workspace.stop": "team"}


def a_link(world: World, handle: str) -> str:
    """A link that nobody had to be fresh for."""
    with world.rt.database.unit_of_work() as tx:
        row = tx.one(t.people.select().where(t.people.c.handle == handle))
        assert row is not None
        return str(people.make_link(world.rt, tx, row["id"], made_by="test")["url"])


def at_localhost(world: World, app: FastAPI, handle: str) -> Visitor:
    """Somebody signed in by link at the name that passkeys belong to."""
    visitor = Visitor(TestClient(app, base_url="http://localhost:8470"))
    visitor.client.post("/sign-in", data={"link": a_link(world, handle)})
    return again(visitor)


def again(visitor: Visitor) -> Visitor:
    """With the token that the pages carry now."""
    found = re.search(r'name="_csrf" value="([^"]+)"', visitor.get("/account").text)
    assert found is not None
    visitor.csrf = found[1]
    return visitor


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, page
    return unescape(found[1])


def add_passkey(visitor: Visitor, device: Authenticator, name: str = "laptop") -> Any:
    options = visitor.post("/account/passkeys/options")
    assert options.status_code == 200, text_of(options.text)
    answer = device.create(options.json())
    return visitor.post("/account/passkeys", name=name, credential=answer)


def stale(world: World, app: FastAPI) -> Visitor:
    """The admin, whose session is older than privileged actions like."""
    admin = at_localhost(world, app, "admin")
    world.clock.advance(minutes=61)
    return admin


@spec("ID-3")
def test_a_passkey_is_added_and_opens_the_portal(world: World, app: FastAPI) -> None:
    dana, device = at_localhost(world, app, "dana"), Authenticator()
    assert "No passkey yet" in text_of(dana.get("/account").text)
    assert add_passkey(dana, device).headers["location"] == "/account"
    page = dana.get("/account").text
    assert "laptop" in text_of(page)
    assert "A passkey was added to your account" in text_of(page)
    stranger = Visitor(TestClient(app, base_url="http://localhost:8470"))
    assert "Sign in with a passkey" in text_of(stranger.get("/sign-in").text)
    options = stranger.client.post("/sign-in/passkey/options")
    assert "samesite=strict" in options.headers["set-cookie"].lower()
    assert "httponly" in options.headers["set-cookie"].lower()
    answer = device.get(options.json())
    other = TestClient(app, base_url="http://localhost:8470")
    refused = other.post("/sign-in/passkey", data={"credential": answer})
    assert refused.status_code == 401
    assert "not accepted" in text_of(refused.text)
    options = stranger.client.post("/sign-in/passkey/options")
    opened = stranger.post(
        "/sign-in/passkey", credential=device.get(options.json()), next="//evil.example"
    )
    assert opened.headers["location"] == "/"
    assert "two factors" in text_of(stranger.get("/account").text)


@spec("ID-3")
def test_a_wrong_answer_ends_no_session(world: World, app: FastAPI) -> None:
    dana = at_localhost(world, app, "dana")
    dana.post("/account/passkeys/options")
    answer = dana.post("/account/passkeys", name="laptop", credential="nonsense")
    assert answer.status_code == 403
    assert "not accepted" in text_of(answer.text)
    asked = dana.post("/account/passkeys", name="work laptop")  # no script, or back from elsewhere
    assert 'value="work laptop"' in asked.text
    assert problems(asked.text) == []
    assert dana.get("/account").status_code == 200


@spec("ID-3")
def test_at_an_address_the_page_says_where_passkeys_work(world: World, app: FastAPI) -> None:
    visitor = Visitor(TestClient(app, base_url="http://127.0.0.1:8470"))
    assert "http://localhost:8470" in text_of(visitor.get("/sign-in").text)
    visitor.client.post("/sign-in", data={"link": a_link(world, "dana")})
    page = text_of(again(visitor).get("/account").text)
    assert "cannot work at an address of numbers" in page
    made = visitor.post("/account/link").text
    assert 'href="http://localhost:8470/sign-in?link=charter_lnk_' in made
    assert problems(made) == []


@spec("ID-3")
def test_the_last_passkey_warns_before_it_goes(world: World, app: FastAPI) -> None:
    dana, device = at_localhost(world, app, "dana"), Authenticator()
    add_passkey(dana, device)
    passkey = re.search(r"/account/passkeys/(psk_\w+)/remove", dana.get("/account").text)
    assert passkey is not None
    path = f"/account/passkeys/{passkey[1]}/remove"
    assert "your last one" in text_of(dana.get(path).text)
    refused = dana.post(path)  # one factor does not take the other away
    assert "Confirm that it is you" in text_of(refused.text)
    options = dana.post("/account/confirm/options").json()
    held = hidden(refused.text, "held")
    done = dana.post("/account/confirm/passkey", credential=device.get(options), held=held)
    assert done.status_code == 200
    assert f'action="{path}"' in done.text
    dana.csrf = hidden(done.text, "_csrf")
    assert dana.post(path).headers["location"] == "/account"
    assert "No passkey yet" in text_of(dana.get("/account").text)


@spec("ID-4")
def test_a_refused_form_is_kept_and_goes_on_after_the_confirmation(
    world: World, app: FastAPI
) -> None:
    admin = stale(world, app)
    refused = admin.post("/access/roles", new="yes", **ROLE)
    assert refused.status_code == 403
    assert "Confirm that it is you" in text_of(refused.text)
    assert "no older than 60 minutes" in text_of(refused.text)
    assert problems(refused.text) == []
    held = hidden(refused.text, "held")
    assert json.loads(held)["fields"] == {"new": "yes", **ROLE}
    before = admin.client.cookies["charter_session"]
    wrong = admin.post("/account/confirm/link", link=a_link(world, "dana"), held=held, next="/")
    assert "somebody else" in text_of(wrong.text)
    assert hidden(wrong.text, "held") == held
    right = admin.post("/account/confirm/link", link=a_link(world, "admin"), held=held, next="/")
    assert right.status_code == 200
    assert problems(right.text) == []
    assert "data-at-once" in right.text
    assert admin.client.cookies["charter_session"] != before
    fields = {
        name: unescape(value)
        for name, value in re.findall(r'name="([^"]+)" value="([^"]*)"', right.text)
        if name in {"new", *ROLE}
    }
    assert fields == {"new": "yes", **ROLE}
    old_token = admin.csrf
    assert admin.post("/access/roles", **fields).status_code == 403  # the old token is worthless
    admin.csrf = hidden(right.text, "_csrf")
    assert admin.csrf != old_token
    assert admin.post("/access/roles", **fields).headers["location"] == "/access/roles"
    made = custom_roles.get(world.rt, world.admin, "operator")
    assert made["title"] == ROLE["title"]
    asked = admin.client.get("/access/roles/operator/retire")
    assert asked.status_code == 200
    assert "Retire operator?" in asked.text


@spec("ID-4")
def test_a_part_of_a_page_leads_to_the_whole_page_that_asks(world: World, app: FastAPI) -> None:
    admin = stale(world, app)
    answer = admin.client.post(
        "/access/roles",
        data={"_csrf": admin.csrf, **ROLE},
        headers={
            "HX-Request": "true",
            "HX-Current-URL": "http://localhost:8470/access/roles/new?from=developer",
        },
    )
    assert answer.status_code == 204
    path = answer.headers["hx-redirect"]
    assert path.startswith("/account/confirm?next=/access/roles/new")
    assert 'value="/access/roles/new?from=developer"' in admin.get(path).text


@spec("ID-4")
@pytest.mark.parametrize(
    "held",
    [
        '{"action": "//evil.example/x", "fields": {}}',
        '{"action": "https://evil.example", "fields": {}}',
        '{"action": "/theme", "fields": {"theme": ["dark"]}}',
        '{"action": "/theme", "fields": []}',
        "[]",
        "[" * 5000,
        "nonsense",
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_form_of_this_portal_is_not_sent_on(
    shared_app: tuple[World, FastAPI], held: str
) -> None:
    world, app = shared_app
    dana = at_localhost(world, app, "dana")
    done = dana.post("/account/confirm/link", link=a_link(world, "dana"), held=held, next="//evil")
    assert (done.status_code, done.headers["location"]) == (303, "/")


@pytest.fixture(scope="module")
def shared_app(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.conftest import fresh_world  # noqa: PLC0415 — one instance for many small cases
    from tests.portal.instance import application  # noqa: PLC0415

    with fresh_world(postgres_url, tmp_path_factory.mktemp("account") / "state") as world:
        world.cast()
        yield world, application(world.rt)


@spec("ID-3")
def test_sessions_tokens_and_notices_are_managed_on_the_page(world: World, app: FastAPI) -> None:
    dana = at_localhost(world, app, "dana")
    other = at_localhost(world, app, "dana")
    third = at_localhost(world, app, "dana")
    page = dana.get("/account").text
    ended = re.findall(r"/account/sessions/(ses_\w+)/end", page)
    assert len(ended) == 2
    assert dana.post(f"/account/sessions/{ended[0]}/end").status_code == 303
    dana.post("/account/sessions/end-others")
    for visitor in (other, third):
        assert visitor.get("/account").headers["location"] == "/sign-in"
    made = dana.post("/account/tokens", name="nightly build", days="7")
    assert re.search(r"charter_pat_\w{26}_", made.text)
    assert problems(made.text) == []
    page = dana.get("/account").text
    assert "nightly build" in text_of(page)
    assert "charter_pat_" not in page
    token = re.search(r"/account/tokens/(tok_\w+)/revoke", page)
    assert token is not None
    dana.post(f"/account/tokens/{token[1]}/revoke")
    notice = re.search(r"/account/notices/(ntc_\w+)/read", page)
    if notice is not None:
        assert dana.post(f"/account/notices/{notice[1]}/read").status_code == 303


@spec("ID-4")
def test_the_sessions_of_others_are_not_ended_from_the_page(world: World, app: FastAPI) -> None:
    victim, _ = in_browser(world, "lee")
    dana = at_localhost(world, app, "dana")
    assert dana.post(f"/account/sessions/{victim.credential_id}/end").status_code == 403
