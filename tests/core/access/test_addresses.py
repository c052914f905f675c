"""Whose address a request has, and what a network is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.access.addresses import (
    FORWARDED,
    X_FORWARDED_FOR,
    client_address,
    parse_address,
    parse_network,
    parse_networks,
    within,
)
from tests.spec import spec

PROXIES = parse_networks("10.0.0.0/24, 2001:db8:f::/48")
PROXY = "10.0.0.1"


def client(peer: str | None, *values: str, header: str = X_FORWARDED_FOR) -> str | None:
    found = client_address(peer, header, values, PROXIES)
    return None if found is None else str(found)


@spec("ID-5")
@pytest.mark.parametrize(
    ("peer", "values", "expected"),
    [
        # No proxy: the header is the stranger's own word.
        ("192.0.2.7", (), "192.0.2.7"),
        ("192.0.2.7", ("198.51.100.1",), "192.0.2.7"),
        ("::ffff:192.0.2.7", (), "192.0.2.7"),
        # Through one proxy, and through two.
        (PROXY, ("198.51.100.1",), "198.51.100.1"),
        (PROXY, ("198.51.100.1, 10.0.0.2",), "198.51.100.1"),
        (PROXY, ("198.51.100.1", "10.0.0.2"), "198.51.100.1"),
        (PROXY, ("198.51.100.1, 2001:db8:f::9",), "198.51.100.1"),
        ("2001:db8:f::1", ("198.51.100.1",), "198.51.100.1"),
        ("::ffff:10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        # What the client itself wrote stands to the left.
        (PROXY, ("10.0.0.9, 198.51.100.1",), "198.51.100.1"),
        (PROXY, ("127.0.0.1", "198.51.100.1"), "198.51.100.1"),
        (PROXY, ("garbage, 198.51.100.1",), "198.51.100.1"),
        # Spellings.
        (PROXY, ("198.51.100.1:4711",), "198.51.100.1"),
        (PROXY, ("2001:DB8::7",), "2001:db8::7"),
        (PROXY, ("[2001:db8::7]",), "2001:db8::7"),
        (PROXY, ("[2001:db8::7]:443",), "2001:db8::7"),
        (PROXY, ("::ffff:198.51.100.1",), "198.51.100.1"),
        (PROXY, ("[::ffff:198.51.100.1]:1",), "198.51.100.1"),
        # Nobody can say.
        (None, (), None),
        ("testclient", ("198.51.100.1",), None),
        (PROXY, (), None),
        (PROXY, ("",), None),
        (PROXY, ("10.0.0.2",), None),
        (PROXY, ("unknown",), None),
        (PROXY, ("198.51.100.1, unknown",), None),
        (PROXY, ("198.51.100.1,",), None),
        (PROXY, ("198.51.100.1, 10.0.0.2.3",), None),
        (PROXY, ("010.0.0.9",), None),
        (PROXY, ("198.51.100.1:port",), None),
        (PROXY, ("[198.51.100.1]",), None),
        (PROXY, ("[2001:db8::7",), None),
        (PROXY, ("[2001:db8::7]x",), None),
        (PROXY, ("fe80::1%eth0",), None),
        (PROXY, ("198.51.100.1\x00",), None),
        (PROXY, ("0x7f.1",), None),
        (PROXY, ("2130706433",), None),
        (PROXY, ("\u0661.1.1.1",), None),
    ],
)
def test_x_forwarded_for(peer: str | None, values: tuple[str, ...], expected: str | None) -> None:
    assert client(peer, *values) == expected


@spec("ID-5")
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("for=198.51.100.1",), "198.51.100.1"),
        (("For=198.51.100.1;proto=https;by=10.0.0.1",), "198.51.100.1"),
        (('for="198.51.100.1:80"',), "198.51.100.1"),
        (('proto=http; for="[2001:db8::7]:_x"',), "2001:db8::7"),
        (("for=198.51.100.1, for=10.0.0.2",), "198.51.100.1"),
        (("for=10.0.0.9", "for=198.51.100.1"), "198.51.100.1"),
        (('for=203.0.113.9, for="198.51.100.1"',), "198.51.100.1"),
        # A comma inside a quoted text ends no element.
        (('for=198.51.100.1;host="a,for=10.9.9.9"',), "198.51.100.1"),
        (('for="198\\.51.100.1"',), "198.51.100.1"),
        # Nobody can say.
        (("for=unknown",), None),
        (("for=_hidden",), None),
        (("proto=https",), None),
        (("for=203.0.113.9, proto=https",), None),
        (("for=203.0.113.9;for=198.51.100.1",), None),
        (('for="198.51.100.1',), None),
        (("for=203.0.113.9 for=198.51.100.1",), None),
        (("for=198.51.100.1;",), None),
        (("for=198.51.100.1,",), None),
        (("198.51.100.1",), None),
        (('x="for=203.0.113.9, for=198.51.100.1',), None),
    ],
)
def test_forwarded(values: tuple[str, ...], expected: str | None) -> None:
    assert client(PROXY, *values, header=FORWARDED) == expected


def test_only_the_chosen_header_is_read() -> None:
    assert client(PROXY, "for=198.51.100.1") is None
    assert client(PROXY, "198.51.100.1", header=FORWARDED) is None


@spec("ID-5")
@given(st.lists(st.text(max_size=30), max_size=4), st.sampled_from([X_FORWARDED_FOR, FORWARDED]))
def test_whatever_a_client_sends_before_its_proxy_it_is_itself_or_nobody(
    sent: list[str], header: str
) -> None:
    added = "198.51.100.1" if header == X_FORWARDED_FOR else "for=198.51.100.1"
    nobody = {None} if header == FORWARDED else set()  # RFC 7239: one quote spoils the header
    for values in ((*sent, added), (", ".join((*sent, added)),)):
        assert client(PROXY, *values, header=header) in {"198.51.100.1"} | nobody


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1/8", "192.0.2.7", "10.0.0.0/33", "::ffff:10.0.0.0/104", "x/8", "", "10.0.0.0/-1"],
)
def test_a_network_that_would_not_mean_what_it_says_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|is no network"):
        parse_network(text)


def test_lists_of_networks() -> None:
    assert [str(n) for n in parse_networks("192.0.2.7, 2001:db8::1,10.0.0.0/8,")] == [
        "192.0.2.7/32",
        "2001:db8::1/128",
        "10.0.0.0/8",
    ]
    assert parse_networks("") == ()
    with pytest.raises(ValueError, match=r"'10.0.0.1/8' is no network"):
        parse_networks("10.0.0.1/8")


def test_the_two_families_hold_each_other_never() -> None:
    everything4, everything6 = parse_networks("0.0.0.0/0"), parse_networks("::/0")
    four, six = parse_address("192.0.2.7"), parse_address("2001:db8::7")
    assert four is not None
    assert six is not None
    assert within(four, everything4)
    assert not within(four, everything6)
    assert within(six, everything6)
    assert not within(six, everything4)
