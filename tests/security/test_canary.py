"""Secrets are where they are handed out, and nowhere else.

The test drives everything that hands out or takes a secret, rightly and wrongly: the right ones in
their place, and in every wrong one (headers, queries, paths, bodies, on every route). Then it looks
for them in what was written meanwhile: every column of every table, every file of the state folder,
the log, and every answer but the one that handed the secret out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr
from starlette.testclient import TestClient

from charter.controllers import policy_source
from charter.server import build_app
from charter.services import approval_links, approval_requests, people, workspaces
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.conftest import fresh_world
from tests.spec import spec
from tests.support import World

POLICY_TOKEN: Final = "canary-policy-token-6b1f0e7c"
HOOK: Final = "canary-hook-secret-93ad51c2"
ADDRESS: Final = "canary-hook-url-5e"
# Of another making: nobody can tell by their looks that they are secrets, so these are put nowhere.
FOREIGN: Final = {"policy token", "hook secret", "channel's address", "channel's secret"}
API: Final = "/api/v1"
JSON_TYPES: Final = (dict, list)
# The page behind a one-time link holds it in the form with the button that uses it up.
HOLDS_LINK: Final = ("GET /sign-in", "GET /vote")
# A session's form token is meant to be in its row: it is worth nothing without the cookie.
MEANT: Final = {("sessions", "csrf_token")}


@dataclass
class Watched:
    """An instance whose every answer is kept, and the secrets that it gave away."""

    world: World
    app: FastAPI
    secrets: dict[str, str] = field(default_factory=dict)
    answers: list[tuple[str, str]] = field(default_factory=list)

    def client(self) -> TestClient:
        return TestClient(self.app, client=("192.0.2.7", 4711), raise_server_exceptions=False)

    def send(
        self, client: TestClient, method: str, path: str, *, hands_out: str = "", **parts: Any
    ) -> Any:
        """One request; its answer is looked through later unless it hands a secret out."""
        answer = client.request(method, path, follow_redirects=False, **parts)
        if not hands_out and not f"{method} {path}".endswith(HOLDS_LINK):
            said = answer.text + json.dumps(list(answer.headers.multi_items()))
            self.answers.append((f"{method} {path.split('?', maxsplit=1)[0][:60]}", said))
        return answer

    def keep(self, name: str, secret: str) -> str:
        """Look for it from now on; of a structured one the part that is the secret."""
        self.secrets[name] = secret
        return secret


@pytest.fixture(scope="module")
def watched(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("canary")
    with fresh_world(postgres_url, folder / "state") as made:
        made.cast()
        token_file = folder / "policy-token"
        token_file.write_text(POLICY_TOKEN)
        settings = made.rt.settings.model_copy(
            update={
                "policy_repository": "https://127.0.0.1:9/policies.git",
                "policy_token_file": token_file,
                "policy_webhook_secret": SecretStr(HOOK),
            }
        )
        world = dataclasses.replace(made, rt=dataclasses.replace(made.rt, settings=settings))
        found = Watched(world, build_app(world.rt))
        found.keep("policy token", POLICY_TOKEN)
        found.keep("hook secret", HOOK)
        for name, token in world.tokens.items():
            found.keep(f"token of {name}", token)
        yield found


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _hand_out(w: Watched) -> None:
    """Everything that gives a secret away gives one."""
    admin, dana = _bearer(w.world.tokens["admin"]), _bearer(w.world.tokens["dana"])
    with w.client() as c:
        made = w.send(
            c, "POST", f"{API}/tokens", hands_out="token", headers=dana, json={"name": "laptop"}
        ).json()
        w.keep("made token", made["secret"])
        link = (
            w.send(c, "POST", f"{API}/people/dana/sign-in-link", hands_out="link", headers=admin)
            .json()["url"]
            .rsplit("link=", 1)[-1]
        )
        w.keep("used link", link)
        signed = w.send(c, "POST", "/sign-in", hands_out="session", data={"link": link})
        w.keep("session", signed.cookies[w.world.rt.settings.session_cookie])
        page = c.get("/")  # a page may carry the form token of its own session
        c.cookies.clear()
        assert page.status_code == 200
        other = (
            w.send(c, "POST", f"{API}/people/otto/sign-in-link", hands_out="link", headers=admin)
            .json()["url"]
            .rsplit("link=", 1)[-1]
        )
        w.keep("unused link", other)
        third = (
            w.send(c, "POST", f"{API}/people/ria/sign-in-link", hands_out="link", headers=admin)
            .json()["url"]
            .rsplit("link=", 1)[-1]
        )
        w.keep("link for a token", third)
        cli = w.send(c, "POST", f"{API}/sign-in", hands_out="token", json={"link": third}).json()
        w.keep("token of a command line", cli["secret"])
        agent = w.send(
            c,
            "POST",
            f"{API}/agents",
            hands_out="credential",
            headers={**dana, "Idempotency-Key": "once"},
            json={
                "name": "fixer",
                "task": "Mend it.",
                "team": "payments",
                "repositories": ["git.example.org/payments/api"],
                "tier": "read-only",
            },
        ).json()
        w.keep("agent's credential", agent["credential"]["token"])
        again = w.send(
            c,
            "POST",
            f"{API}/agents/{agent['agent']['id']}/credential",
            hands_out="credential",
            headers=dana,
        ).json()
        w.keep("agent's next credential", again["token"])
        point = w.send(
            c,
            "POST",
            f"{API}/enforcement-points",
            hands_out="point",
            headers=admin,
            json={"name": "edge", "kind": "authzen"},
        ).json()
        w.keep("point", point["token"])
        turned = w.send(
            c,
            "POST",
            f"{API}/enforcement-points/edge/rotate",
            hands_out="point",
            headers=admin,
            json={"grace_seconds": 60},
        ).json()
        w.keep("rotated point", turned["token"])
        channel = w.send(
            c,
            "POST",
            f"{API}/notifications/channels",
            hands_out="channel",
            headers=admin,
            json={
                "name": "ops",
                "kind": "webhook",
                "url": f"https://127.0.0.1:9/{ADDRESS}",
            },
        )
        if channel.status_code == 201:
            w.keep("channel's address", ADDRESS)
            if channel.json().get("secret"):
                w.keep("channel's secret", channel.json()["secret"])
        scim = w.send(
            c,
            "POST",
            f"{API}/scim-tokens",
            hands_out="scim",
            headers=admin,
            json={"name": "directory", "directory": "corp"},
        )
        if scim.status_code == 201:
            w.keep("directory's token", str(scim.json().get("secret") or scim.json()["token"]))
    _approval_link(w)


def _approval_link(w: Watched) -> None:
    rt = w.world.rt
    asked = workspaces.create(
        rt, w.world.caller("dana"), WorkspaceRequest("big", "python", vcpu=40)
    )
    with rt.database.unit_of_work() as tx:
        found = approval_requests.load(tx, asked["approval"]["id"])
        assert found is not None
        lee = tx.one(sa.select(t.people).where(t.people.c.handle == "lee"))
        assert lee is not None
        row = approval_links.new_row(
            rt, tx, asked["approval"]["id"], lee["id"], "lee@example.org", found[0]["deadline"]
        )
        tx.insert(t.approval_links, **row)
        url = approval_links.url_of(rt, tx, row["id"])
    assert url is not None
    w.keep("approval link", url.rsplit("link=", 1)[-1])


def _routes(app: FastAPI) -> list[tuple[str, str]]:
    return sorted(
        {
            (method, str(route.path))
            for route in iter_route_contexts(app.routes)
            for method in route.methods or ()
            if method not in {"HEAD", "OPTIONS"}
        }
    )


def _misplace(w: Watched) -> None:
    """Each route gets the secrets where they do not belong, by somebody who may do everything."""
    admin = _bearer(w.world.tokens["admin"])
    # Those of Charter's own making: what they look like is known, so that they can be masked.
    own = {name: secret for name, secret in w.secrets.items() if name not in FOREIGN}
    shown = list(own.values())
    with w.client() as c:
        for number, (method, path) in enumerate(_routes(w.app)):
            secret = shown[number % len(shown)]
            place = path
            for part in [p for p in path.split("/") if p.startswith("{")]:
                place = place.replace(part, secret[:127])
            w.send(c, method, place, headers=admin)
            w.send(
                c,
                method,
                path.replace("{", "").replace("}", ""),
                headers=admin,
                params={"cursor": secret, "subject": secret, "link": secret, "q": secret},
                json={"link": secret, "name": secret, "token": {"x": secret}, "person": secret},
            )
            w.send(
                c,
                method,
                path.replace("{", "").replace("}", ""),
                headers={**admin, "Content-Type": "application/json"},
                content=f'{{"link": "{secret}", '.encode(),
            )
        for secret in own.values():
            _claimed(w, c, secret)
        for name, secret in own.items():
            _shown_wrongly(w, c, name, secret)


def _claimed(w: Watched, c: TestClient, secret: str) -> None:
    """An enforcement point and a person bring the secret as a fact; decisions keep their facts."""
    asked = {
        "subject": {"type": "user", "id": "dana", "properties": {"token": secret}},
        "action": {"name": "workspace.stop", "properties": {"why": f"because {secret} said so"}},
        "resource": {"type": "workspace", "id": secret[:120], "properties": {"env": [secret]}},
        "context": {"header": f"Bearer {secret}"},
    }
    w.send(
        c, "POST", "/access/v1/evaluation", headers=_bearer(w.secrets["rotated point"]), json=asked
    )
    dana = _bearer(w.world.tokens["dana"])
    w.send(
        c,
        "POST",
        f"{API}/workspaces",
        headers=dana,
        json={
            "name": "probe",
            "template": "python",
            "vcpu": 40,
            "justification": f"My token is {secret}.",
        },
    )


def _shown_wrongly(w: Watched, c: TestClient, name: str, secret: str) -> None:
    for headers in (
        {"Authorization": secret},
        {"Authorization": f"Basic {secret}"},
        {"Authorization": f"Bearer {secret}x"},
        {"Authorization": f"Bearer {secret[:-1]}"},
        {"Authorization": f"DPoP {secret}", "DPoP": secret},
        {"X-CSRF-Token": secret, "X-Forwarded-For": secret, "Forwarded": f"for={secret}"},
        {"Cookie": f"{w.world.rt.settings.session_cookie}={secret}y"},
        {"User-Agent": "Firefox", "Referer": f"http://elsewhere.example.org/?{secret}"},
        {"Idempotency-Key": "k", "X-Request-ID": name.replace("'", "")},
    ):
        for path in (f"{API}/me", "/access/v1/evaluation", "/opa/v1/data", "/", "/scim/v2/Users"):
            w.send(c, "GET", path, headers=headers)
            w.send(c, "POST", path, headers=headers, content=b"{}")
    for path, data in (
        ("/sign-in", {"link": f"{secret}z"}),
        ("/vote", {"link": f"{secret}z", "verdict": "approve"}),
        (
            "/oauth/token",
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "subject_token": f"{secret}z",
                "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            },
        ),
    ):
        w.send(c, "POST", path, data=data)
    w.send(c, "POST", f"{API}/sign-in", json={"link": f"{secret}z", "token_name": "x"})
    w.send(
        c,
        "POST",
        f"{API}/policies/source/webhook",
        headers={"X-Gitlab-Token": f"{secret}z"},
        json={"ref": "refs/heads/main"},
    )
    w.send(c, "POST", f"/kubernetes/v1/admit/workloads/{secret[:150]}", content=b"{}")


def _fail_inside(w: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that nobody foresaw, while a secret is in a local variable of every frame."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("It broke.")

    with monkeypatch.context() as patched, w.client() as c:
        patched.setattr(people, "list_people", broken)
        answer = w.send(c, "GET", f"{API}/people", headers=_bearer(w.secrets["made token"]))
        assert answer.status_code == 500


def _written(w: Watched) -> Iterator[tuple[str, str]]:
    """(where, text) of every value of every table, and of every file of the state folder."""
    with w.world.rt.database.reading() as tx:
        for table in t.metadata.sorted_tables:
            for row in tx.all(sa.select(table)):
                for column, value in row.items():
                    if (table.name, column) in MEANT or value is None:
                        continue
                    text = (
                        json.dumps(value)
                        if isinstance(value, JSON_TYPES)
                        else (
                            bytes(value).decode("latin-1")
                            if isinstance(value, (bytes, memoryview))
                            else str(value)
                        )
                    )
                    yield f"table {table.name}.{column}", text
    state = Path(w.world.rt.settings.state_dir)
    for file in sorted(p for p in state.rglob("*") if p.is_file()):
        yield f"file {file.relative_to(state)}", file.read_bytes().decode("latin-1")


def needles(secret: str) -> set[str]:
    """The secret, and the part of it that is the secret: the last 43 characters of ours."""
    return {secret, secret[-43:]} if len(secret) > 60 else {secret}


@pytest.mark.slow
@pytest.mark.slow
@spec("AU-3", "ID-6")
def test_no_secret_is_anywhere_but_where_it_was_handed_out(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _hand_out(watched)
    assert len(watched.secrets) > 18
    _misplace(watched)
    _fail_inside(watched, monkeypatch)
    policy_source.step(watched.world.rt)
    watched.world.settle()
    out, err = capfd.readouterr()
    assert "It broke." in err  # the log is what was looked at
    places = [*watched.answers, *_written(watched), ("log", out), ("log", err)]
    assert len(places) > 1500
    leaks = {
        (name, where)
        for where, text in places
        for name, secret in watched.secrets.items()
        for needle in needles(secret)
        if needle in text
    }
    assert leaks == set()
