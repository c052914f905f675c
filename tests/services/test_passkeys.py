"""Passkeys and sessions: adding, using and removing them, and renewing a session by a proof."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from charter.core.access.passkeys import NoRelyingParty, RelyingParty, copied, relying_party
from charter.core.kernel.errors import (
    CharterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.services import (
    identity,
    overview,
    passkey_sign_in,
    passkeys,
    people,
    roles,
    sessions,
    tokens,
)
from charter.services.bootstrap import recover_admin
from charter.store import tables as t
from tests.authenticator import Authenticator
from tests.passkeys import in_browser, sign_in, with_passkey
from tests.spec import spec
from tests.support import World


def messages(world: World, handle: str) -> list[str]:
    return [n["message"] for n in overview.notices(world.rt, world.caller(handle))["items"]]


@pytest.mark.parametrize(
    ("public_url", "host", "found"),
    [
        (None, "127.0.0.1", ("localhost", "http://localhost:8470")),
        (None, "::", ("localhost", "http://localhost:8470")),
        (None, "::1", ("localhost", "http://localhost:8470")),
        (None, "localhost", ("localhost", "http://localhost:8470")),
        (None, "10.0.0.7", "belong to a name"),
        (None, "charter.example.org", "over https only"),
        ("https://charter.example.org/", "::", ("charter.example.org",)),
        ("https://Charter.example.org:8443", "x", ("charter.example.org",)),
        ("http://charter.example.org", "::", "over https only"),
        ("https://192.0.2.1", "::", "belong to a name"),
        ("https://[2001:db8::1]", "::", "belong to a name"),
        ("http://localhost:9000", "::", ("localhost", "http://localhost:9000")),
    ],
)
@spec("ID-3")
def test_passkeys_are_made_for_a_name_over_https_or_localhost(public_url, host, found) -> None:
    party = relying_party(public_url, host, 8470)
    if isinstance(found, str):
        assert isinstance(party, NoRelyingParty)
        assert found in party.why
        assert "CHARTER_PUBLIC_URL" in party.fix
    else:
        assert isinstance(party, RelyingParty)
        assert party.id == found[0]
        assert party.origin == (found[1] if len(found) > 1 else party.origin)


def test_origins_are_spelt_as_browsers_spell_them() -> None:
    assert relying_party("https://a.example:443/x", "h", 1) == RelyingParty(
        "a.example", "https://a.example"
    )
    assert relying_party("https://a.example:8443", "h", 1) == RelyingParty(
        "a.example", "https://a.example:8443"
    )


def test_a_counter_that_stands_still_means_a_copy() -> None:
    assert [copied(s, n) for s, n in ((0, 0), (0, 1), (5, 6), (5, 5), (5, 4), (5, 0))] == [
        False, False, False, True, True, True,
    ]  # fmt: skip


@spec("ID-3", "ID-4")
def test_a_passkey_opens_a_session_with_two_factors_and_no_user_name(world: World) -> None:
    caller, _ = in_browser(world, "dana")
    device = Authenticator()
    options = passkeys.begin_adding(world.rt, caller)
    assert options["rp"]["id"] == "localhost"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["authenticatorSelection"]["residentKey"] == "preferred"
    assert options["user"]["name"] == "dana"
    made = passkeys.add(world.rt, caller, "laptop", device.create(options))
    assert [p["name"] for p in passkeys.list_passkeys(world.rt, caller)] == ["laptop"]
    assert "A passkey was added to your account: laptop." in messages(world, "dana")
    asked = passkey_sign_in.begin_sign_in(world.rt, "cookie")
    assert asked.get("allowCredentials") in (None, [])
    assert asked["userVerification"] == "required"
    signed_in = sign_in(world, device)
    session = signed_in.person.session
    assert signed_in.id == world.caller("dana").id
    assert session is not None
    assert (session.method, session.mfa, session.has_passkey) == ("passkey", True, True)
    assert passkeys.list_passkeys(world.rt, caller)[0]["last_used_at"] == world.clock()
    again = passkeys.begin_adding(world.rt, signed_in)
    assert len(again["excludeCredentials"]) == 1
    passkeys.rename(world.rt, signed_in, made["id"], "work laptop")
    assert [p["name"] for p in passkeys.list_passkeys(world.rt, caller)] == ["work laptop"]


@spec("ID-3")
def test_an_instance_at_an_address_says_that_passkeys_cannot_work(world: World) -> None:
    caller, _ = in_browser(world, "dana")
    there = world.rt.settings.model_copy(update={"public_url": "https://192.0.2.1"})
    with pytest.raises(UnavailableError) as refusal:
        passkeys.begin_adding(replace(world.rt, settings=there), caller)
    assert refusal.value.code == "no-passkeys-here"
    assert "192.0.2.1" in refusal.value.message


@spec("ID-3")
def test_the_last_passkey_goes_only_when_told_so_and_ends_what_it_opened(world: World) -> None:
    device, first = with_passkey(world, "dana")
    opened = sign_in(world, device)
    phone = Authenticator()
    answer = phone.create(passkeys.begin_adding(world.rt, opened))
    second = passkeys.add(world.rt, opened, "phone", answer)["id"]
    mine = sign_in(world, phone)
    passkeys.remove(world.rt, mine, second)
    with pytest.raises(ConflictError) as refusal:
        passkeys.remove(world.rt, mine, first)
    assert refusal.value.code == "last-passkey"
    keeper, _ = in_browser(world, "dana")
    with pytest.raises(ForbiddenError):  # one factor is not enough to take the other away
        passkeys.remove(world.rt, keeper, first, last=True)
    passkeys.remove(world.rt, mine, first, last=True)
    assert passkeys.list_passkeys(world.rt, keeper) == []
    assert "A passkey was removed from your account: laptop." in messages(world, "dana")
    with pytest.raises(UnauthenticatedError):
        sign_in(world, device)


@spec("ID-3")
def test_removing_a_passkey_ends_the_sessions_that_it_opened(world: World) -> None:
    device, first = with_passkey(world, "dana")
    options = passkey_sign_in.begin_sign_in(world.rt, "b")
    secret = passkey_sign_in.sign_in(world.rt, "b", device.get(options))["secret"]
    other = sign_in(world, device)
    passkeys.remove(world.rt, other, first, last=True)
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_session(world.rt, secret)


@spec("ID-3", "ID-4")
def test_who_manages_people_removes_a_lost_passkey_and_nobody_else_does(world: World) -> None:
    _, passkey = with_passkey(world, "dana")
    for handle in ("otto", "lee", "sam"):
        caller, _ = in_browser(world, handle)
        with pytest.raises(NotFoundError):
            passkeys.remove(world.rt, caller, passkey, last=True)
        with pytest.raises(CharterError):
            passkeys.list_passkeys(world.rt, caller, "dana")
    admin, _ = in_browser(world, "admin")
    assert len(passkeys.list_passkeys(world.rt, admin, "dana")) == 1
    passkeys.remove(world.rt, admin, passkey, last=True)
    assert any("by admin" in message for message in messages(world, "dana"))


@spec("ID-3")
def test_one_sees_and_ends_ones_own_sessions(world: World) -> None:
    first, first_secret = in_browser(world, "dana")
    second, second_secret = in_browser(world, "dana")
    third, _ = in_browser(world, "dana")
    seen = sessions.list_sessions(world.rt, first)
    assert [s["id"] for s in seen if s["current"]] == [first.credential_id]
    assert len(seen) == 3
    assert (seen[0]["ip"], seen[0]["user_agent"]) == ("192.0.2.7", "Firefox on Linux")
    sessions.end(world.rt, first, third.credential_id)
    with pytest.raises(NotFoundError):  # decided by admins' permission: admins see that it is gone
        sessions.end(world.rt, world.admin, third.credential_id)
    assert sessions.end_others(world.rt, first) == 1
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_session(world.rt, second_secret)
    assert identity.authenticate_session(world.rt, first_secret).id == second.id


@spec("ID-3", "ID-9")
def test_admins_end_sessions_of_others_at_once_and_nobody_else_does(world: World) -> None:
    dana, secret = in_browser(world, "dana")
    for handle in ("otto", "lee", "ria"):
        caller, _ = in_browser(world, handle)
        for session in (dana.credential_id, "ses_" + "0" * 26):  # as if there were no difference
            with pytest.raises(ForbiddenError):
                sessions.end(world.rt, caller, session)
        with pytest.raises(CharterError):
            sessions.list_sessions(world.rt, caller, "dana")
    world.clock.advance(hours=2)  # stopping harm does not wait for a fresh proof
    sam = world.caller("sam")
    assert sessions.list_sessions(world.rt, sam, "dana") == []  # idle for too long already
    world.clock.advance(hours=-1)
    sessions.end(world.rt, sam, dana.credential_id)
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_session(world.rt, secret)
    assert "sam ended a session of yours." in messages(world, "dana")
    _, secret = in_browser(world, "dana")
    ended = sessions.end_all(world.rt, sam, "dana")
    assert ended == {"sessions": 1, "tokens": 1}
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_session(world.rt, secret)
    with pytest.raises(UnauthenticatedError):
        world.caller("dana")


# --- step-up ----------------------------------------------------------------------------------
def bind(world: World, caller) -> None:
    roles.bind_role(
        world.rt, caller, person="otto", role="read-only", scope_kind="team", scope="search"
    )


def refused(world: World, caller) -> str:
    with pytest.raises(ForbiddenError) as refusal:
        bind(world, caller)
    assert refusal.value.code == "step-up-required"
    assert "confirm" in refusal.value.fix.lower()
    return refusal.value.message


@spec("ID-4")
def test_a_stale_session_steps_up_by_link_and_changes_its_secrets(world: World) -> None:
    caller, secret = in_browser(world, "admin")
    bind(world, caller)
    world.clock.advance(minutes=61)
    stale = identity.authenticate_session(world.rt, secret)
    assert "no older than 60 minutes" in refused(world, stale)
    with world.rt.database.unit_of_work() as tx:
        link = people.make_link(world.rt, tx, stale.id, made_by="test")["url"]
    renewed = sessions.step_up_by_link(world.rt, stale, link)
    assert renewed["secret"] != secret
    assert renewed["csrf_token"] != stale.csrf_token
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_session(world.rt, secret)
    fresh = identity.authenticate_session(world.rt, renewed["secret"])
    assert fresh.credential_id == stale.credential_id
    bind(world, fresh)


@spec("ID-4")
def test_whoever_has_a_passkey_shows_it(world: World) -> None:
    device, _ = with_passkey(world, "admin")
    caller, secret = in_browser(world, "admin")
    assert "second factor" in refused(world, caller)
    options = passkey_sign_in.begin_step_up(world.rt, caller)
    assert len(options["allowCredentials"]) == 1
    renewed = passkey_sign_in.step_up(world.rt, caller, device.get(options, user_id=None))
    strong = identity.authenticate_session(world.rt, renewed["secret"])
    assert strong.person.session is not None
    assert strong.person.session.mfa
    bind(world, strong)
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_session(world.rt, secret)
    world.clock.advance(minutes=61)
    stale = identity.authenticate_session(world.rt, renewed["secret"])
    assert "second factor" not in refused(world, stale)


@spec("ID-4")
def test_a_token_is_as_fresh_as_its_owner_was(world: World) -> None:
    device, _ = with_passkey(world, "admin")
    weak = world.caller("admin")  # from before there was a passkey
    assert "second factor" in refused(world, weak)
    strong = sign_in(world, device)
    secret = tokens.create_token(world.rt, strong, "console", 1)["secret"]
    bind(world, identity.authenticate_bearer(world.rt, secret))
    world.clock.advance(minutes=61)
    token = identity.authenticate_bearer(world.rt, secret)
    refused(world, token)
    again = tokens.create_token(world.rt, token, "another", 1)["secret"]
    refused(world, identity.authenticate_bearer(world.rt, again))  # a token makes none fresher


@spec("ID-4")
def test_a_link_for_oneself_hands_on_the_proof_and_nothing_more(world: World) -> None:
    device, _ = with_passkey(world, "admin")
    strong = sign_in(world, device)
    link, proved_at = sessions.hand_over(world.rt, strong)["url"], world.clock()
    world.clock.advance(minutes=14)
    made = identity.exchange_link_for_token(world.rt, link, "console")
    token = identity.authenticate_bearer(world.rt, made["secret"])
    shown = token.person.session
    assert shown is not None
    assert (shown.method, shown.mfa) == ("passkey", True)
    assert shown.authenticated_at == proved_at
    bind(world, token)
    with pytest.raises(ForbiddenError):  # a token opens no other door
        sessions.hand_over(world.rt, token)
    world.clock.advance(minutes=47)
    refused(world, identity.authenticate_bearer(world.rt, made["secret"]))
    with pytest.raises(ForbiddenError):
        sessions.hand_over(world.rt, strong)


@spec("ID-4")
def test_stopping_harm_is_never_asked_for_a_proof(world: World) -> None:
    world.clock.advance(hours=3)
    admin = world.admin
    dana, _ = in_browser(world, "dana")
    sessions.end(world.rt, admin, dana.credential_id)
    refused(world, admin)


@spec("ID-3", "ID-4")
def test_an_administrator_who_lost_everything_comes_back_at_the_machine(world: World) -> None:
    device, _ = with_passkey(world, "admin")
    world.clock.advance(hours=5)
    for nobody in ("dana", "sam", "nobody"):
        with pytest.raises(NotFoundError):
            recover_admin(world.rt, nobody, forget_passkeys=True)
    made = recover_admin(world.rt, "admin", forget_passkeys=False)
    secret = identity.exchange_link(world.rt, made["url"])["secret"]
    assert "second factor" in refused(world, identity.authenticate_session(world.rt, secret))
    made = recover_admin(world.rt, "admin", forget_passkeys=True)
    assert made["passkeys_removed"] == 1
    secret = identity.exchange_link(world.rt, made["url"])["secret"]
    back = identity.authenticate_session(world.rt, secret)
    bind(world, back)
    told = [n["message"] for n in overview.notices(world.rt, back)["items"]]
    assert any("your passkeys were removed (1)" in message for message in told)
    with pytest.raises(UnauthenticatedError):
        sign_in(world, device)


def test_challenges_that_ran_out_are_swept(world: World) -> None:
    for _ in range(3):
        passkey_sign_in.begin_sign_in(world.rt, "x")
    world.clock.advance(seconds=301)
    passkey_sign_in.begin_sign_in(world.rt, "x")
    with world.rt.database.reading() as tx:
        assert len(tx.all(sa.select(t.passkey_challenges))) == 1
