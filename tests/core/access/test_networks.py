"""Which lists are about whom, and what is no list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from charter.adapters.rego.load import shipped_bundle
from charter.core.access.networks import NetworkLists
from charter.core.kernel.decision import Mode
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.data import PolicyData
from tests.spec import spec

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
OFFICE, VPN, DATA_CENTRE = "192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32"


def read(networks: object, **documents: Any) -> NetworkLists:
    data: dict[str, Any] = {**shipped_bundle().settings(), **documents}
    access = {**data["access"], "networks": networks}
    return PolicyData.from_documents({**data, "access": access}).networks


def lists(**given: Any) -> dict[str, Any]:
    return {"organisation": [], "kinds": {}, "roles": {}, **given}


def refuses(found: NetworkLists, ip: str | None, kind: str = "human", *roles: str) -> bool:
    return found.refuses(ip, kind, set(roles), "per_dana", NOW)


def test_the_shipped_lists_let_everybody_in() -> None:
    found = PolicyData.from_bundle(shipped_bundle()).networks
    for kind in ("human", "agent", "service"):
        assert not refuses(found, "203.0.113.9", kind)
        assert not refuses(found, None, kind)


@spec("ID-5")
def test_a_request_must_be_inside_every_list_about_its_subject() -> None:
    found = read(
        lists(
            organisation=[OFFICE, VPN, DATA_CENTRE],
            kinds={"agent": [DATA_CENTRE], "human": [], "service": [DATA_CENTRE]},
            roles={"platform-admin": [VPN], "own/release-manager": [VPN]},
        )
    )
    assert refuses(found, "192.0.2.7", "human", "release-manager")
    assert not refuses(found, "192.0.2.7", "human", "developer")
    assert refuses(found, "203.0.113.9", "human", "developer")
    assert refuses(found, "192.0.2.7", "human", "developer", "platform-admin")
    assert not refuses(found, "10.1.2.3", "human", "developer", "platform-admin")
    assert refuses(found, "10.1.2.3", "agent", "agent")
    assert not refuses(found, "2001:db8::7", "agent", "agent")
    assert refuses(found, "192.0.2.7", "service")
    assert found.closed_to("192.0.2.7", "human", {"platform-admin"}) == ("roles.platform-admin",)
    assert found.closed_to("203.0.113.9", "agent", {"agent"}) == ("organisation", "kinds.agent")


@spec("ID-5")
@pytest.mark.parametrize("ip", [None, "", "garbage", "192.0.2.7:80", "192.0.2.07"])
def test_from_nobody_knows_where_nobody_gets_in(ip: str | None) -> None:
    assert refuses(read(lists(organisation=["0.0.0.0/0", "::/0"])), ip)


def test_an_ipv4_address_inside_ipv6_is_the_ipv4_address() -> None:
    found = read(lists(organisation=[OFFICE]))
    assert not refuses(found, "::ffff:192.0.2.7")
    assert refuses(read(lists(organisation=["::/0"])), "::ffff:192.0.2.7")


def test_a_plain_list_is_about_people() -> None:
    found = read([OFFICE])
    assert refuses(found, "203.0.113.9")
    assert not refuses(found, "192.0.2.7")
    assert not refuses(found, "203.0.113.9", "agent", "agent")


def test_the_rules_mode_and_exemptions_count_at_the_door_too() -> None:
    office = lists(organisation=[OFFICE])
    for mode in Mode:
        rules = {"rules": {"access/network-not-allowed": mode.value}}
        found = read(office, enforcement=rules)
        assert refuses(found, "203.0.113.9") is (mode is Mode.ENFORCE), mode
    exemption = {
        "rule": "access/network-not-allowed",
        "owner": "sam",
        "reason": "On a journey.",
        "scope": {"subject": "per_dana"},
        "expires_at": "2026-03-02T10:00:00Z",
    }
    found = read(office, exemptions={"exemptions": [exemption]})
    assert not refuses(found, "203.0.113.9")
    assert found.refuses("203.0.113.9", "human", set(), "per_otto", NOW)
    later = NOW + timedelta(hours=1)
    assert found.refuses("203.0.113.9", "human", set(), "per_dana", later)
    narrower = {**exemption, "scope": {"subject": "per_dana", "team": "team_1"}}
    found = read(office, exemptions={"exemptions": [narrower]})
    assert refuses(found, "203.0.113.9")  # there is no team yet at the door


@pytest.mark.parametrize(
    ("networks", "problem"),
    [
        (lists(organisation=["192.0.2.7"]), "must be in CIDR notation"),
        (lists(organisation=["192.0.2.7/24"]), "is no network"),
        (lists(organisation=["office"]), "must be in CIDR notation"),
        (lists(kinds={"humans": [OFFICE]}), "data.access.networks.kinds.humans"),
        (lists(roles={"platfrom-admin": [VPN]}), "data.access.networks.roles.platfrom-admin"),
        (lists(everybody=[OFFICE]), "data.access.networks.everybody is not a known entry"),
        ({"organisation": [OFFICE]}, "data.access.networks.kinds is missing"),
        ([7], "data.access.networks must be a list of texts"),
        ("10.0.0.0/8", "data.access.networks must be an object"),
    ],
)
def test_a_list_that_would_keep_nobody_out_is_refused(networks: object, problem: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read(networks)
    assert problem in refused.value.message
