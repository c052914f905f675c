"""What a sponsor loses, their running agents lose with the next request, at every replica."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx2

from charter.services import roles
from tests.agents import sponsored
from tests.api.served import served
from tests.spec import spec
from tests.support import World

API = "/api/v1"
BOX = {
    "name": "box",
    "template": "python",
    "size": "agent",
    "egress_allowlist": ["git.example.org"],
}


@spec("ID-7")
def test_losing_a_role_or_the_account_is_felt_at_once_everywhere(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    """Two replicas over real HTTP: the order is given at one, the agent works at the other."""
    world.clock.follow = True
    world.sign_in_again()
    with (
        served(world) as first,
        served(world, public_url=first.rt.settings.url) as second,
    ):
        made = sponsored(first, minutes=60)
        token = made["credential"]["token"]
        where = f"http://127.0.0.1:{second.rt.settings.port}"
        held = roles.list_bindings(first.rt, first.admin, person="dana")["items"]
        with (
            _client(first.rt.settings.url, first.tokens["admin"]) as admin,
            _client(where, token) as agent,
        ):
            preview = agent.post(f"{API}/workspaces/preview", json=BOX)
            assert preview.json()["decision"]["effect"] in {"allow", "warn"}, preview.text

            began = time.perf_counter()
            assert admin.delete(f"{API}/role-bindings/{held[0]['id']}").status_code == 204
            refused = agent.post(f"{API}/workspaces", json=BOX)
            narrowed = time.perf_counter() - began
            assert refused.status_code == 403
            assert "sponsor" in refused.json()["detail"] or "dana" in refused.json()["detail"]
            assert agent.get(f"{API}/me").json()["permissions"] == []

            began = time.perf_counter()
            assert admin.post(f"{API}/people/dana/deactivate", json={}).status_code == 200
            assert agent.get(f"{API}/me").status_code == 401
            ended = time.perf_counter() - began
    record_property("narrowed_ms", round(narrowed * 1000))
    record_property("ended_ms", round(ended * 1000))
    assert max(narrowed, ended) < 1


def _client(url: str, token: str) -> Any:
    return httpx2.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30
    )
