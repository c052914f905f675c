"""A directory that provisions, for tests: its token, and requests in the shapes of the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI
from starlette.testclient import TestClient

from charter.api.app import build_api
from charter.services import scim
from tests.support import World

USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass
class Directory:
    """A directory with a client that shows its token."""

    client: TestClient
    secret: str
    token_id: str

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer to one request below /scim/v2."""
        content = {} if body is None else {"json": body}
        sent = {"Content-Type": "application/scim+json; charset=utf-8"} if body else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(method, f"/scim/v2{path}", headers=sent, **content)

    def ok(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The document of an answer that must be a yes."""
        answer = self.send(method, path, body, **headers)
        assert answer.status_code < 300, answer.text
        assert answer.status_code == 204 or answer.headers["content-type"] == (
            "application/scim+json"
        )
        return answer.json() if answer.content else None

    def user(self, user_name: str, **more: Any) -> dict[str, Any]:
        """A new user."""
        made: dict[str, Any] = self.ok(
            "POST", "/Users", {"schemas": [USER], "userName": user_name, "active": True, **more}
        )
        return made

    def group(self, name: str, *members: str) -> dict[str, Any]:
        """A new group."""
        body = {
            "schemas": [GROUP],
            "displayName": name,
            "members": [{"value": member} for member in members],
        }
        made: dict[str, Any] = self.ok("POST", "/Groups", body)
        return made

    def patch(self, path: str, *operations: dict[str, Any], **headers: str) -> Any:
        """The answer to a PATCH."""
        body = {"schemas": [PATCH], "Operations": list(operations)}
        return self.send("PATCH", path, body, **headers)

    def names(self, filter_: str, kind: str = "Users") -> list[str]:
        """The names of what a filter finds."""
        answer = self.client.get(f"/scim/v2/{kind}", params={"filter": filter_})
        assert answer.status_code == 200, answer.text
        key = "userName" if kind == "Users" else "displayName"
        return sorted(each[key] for each in answer.json()["Resources"])


def connect(world: World, name: str = "okta", app: FastAPI | None = None) -> Directory:
    """A directory of this name; `app` is the world's API, where there is one already."""
    made = scim.create_token(world.rt, world.admin, name=name, directory=name, days=30)
    client = TestClient(
        app or build_api(world.rt),
        headers={"Authorization": f"Bearer {made['secret']}"},
        raise_server_exceptions=False,
    )
    return Directory(client, made["secret"], made["id"])
