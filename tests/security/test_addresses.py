"""Nobody chooses the address that they are taken for."""

from __future__ import annotations

import httpx2
import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from charter.settings import Settings
from charter.store import tables as t
from tests.api.served import served
from tests.spec import spec
from tests.support import World


def _seen(world: World, **headers: str) -> str | None:
    """The address in the facts of a decision that a request with these headers leads to."""
    here = f"http://127.0.0.1:{world.rt.settings.port}"
    with httpx2.Client(base_url=here, trust_env=False) as http:
        answer = http.post(
            "/api/v1/tokens",
            json={"name": "x", "days": 1},
            headers={"Authorization": f"Bearer {world.tokens['dana']}", **headers},
        )
    assert answer.status_code == 201, answer.text
    with world.rt.database.reading() as tx:
        c = t.decisions.c
        facts = sa.select(sa.cast(c.facts, sa.dialects.postgresql.JSONB)).order_by(c.id.desc())
        found = tx.conn.execute(facts.limit(1)).scalar_one()
    ip = found["document"]["subject"].get("ip")
    return None if ip is None else str(ip)


@spec("ID-5")
def test_a_stranger_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the server underneath would read by itself must not matter.
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    world.clock.follow = True
    world.sign_in_again()
    with served(world, public_url="https://charter.example.org") as seen:
        for headers in (
            {},
            {"X-Forwarded-For": "10.0.0.9"},
            {"Forwarded": "for=10.0.0.9"},
            {"X-Real-IP": "10.0.0.9", "True-Client-IP": "10.0.0.9", "CF-Connecting-IP": "10.0.0.9"},
        ):
            assert _seen(seen, **headers) == "127.0.0.1", headers


@spec("ID-5")
def test_a_trusted_proxy_is_believed_about_its_own_header(world: World) -> None:
    world.clock.follow = True
    world.sign_in_again()
    with served(world, trusted_proxies="127.0.0.1") as seen:
        assert _seen(seen, **{"X-Forwarded-For": "10.0.0.9, 198.51.100.7"}) == "198.51.100.7"
        assert _seen(seen, Forwarded="for=10.0.0.9") is None
        assert _seen(seen) is None
    with served(world, trusted_proxies="127.0.0.0/8", forwarded_header="Forwarded") as seen:
        assert _seen(seen, Forwarded='for="[2001:db8::7]:80"') == "2001:db8::7"
        assert _seen(seen, **{"X-Forwarded-For": "10.0.0.9"}) is None


@pytest.mark.parametrize("proxies", ["10.0.0.1/8", "proxy.example.org", "*", "::ffff:10.0.0.0/104"])
def test_a_proxy_that_cannot_be_named_stops_the_start(proxies: str) -> None:
    with pytest.raises(ValidationError):
        Settings(trusted_proxies=proxies)
