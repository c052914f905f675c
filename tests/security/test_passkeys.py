"""Attacks on passkeys and on the renewal of sessions: each ends in the same refusal."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import sqlalchemy as sa

from charter.core.kernel.errors import (
    CharterError,
    ForbiddenError,
    UnauthenticatedError,
)
from charter.services import (
    agents,
    identity,
    overview,
    passkey_sign_in,
    passkeys,
    people,
    sessions,
)
from charter.store import tables as t
from tests.api.stage import AGENT
from tests.authenticator import Authenticator, text
from tests.passkeys import COOKIE, in_browser, sign_in, with_passkey
from tests.spec import spec
from tests.support import World

_PLACES = itertools.cycle(range(1, 250))


def refused(world: World, answer: str, cookie: str = COOKIE) -> CharterError:
    place = f"198.51.100.{next(_PLACES)}"  # each from another address, or guessing slows down
    with pytest.raises(UnauthenticatedError) as refusal:
        passkey_sign_in.sign_in(world.rt, cookie, answer, place)
    assert refusal.value.code == "passkey-refused"
    return refusal.value


def trail(world: World, action: str) -> int:
    with world.rt.database.reading() as tx:
        pending = tx.all(sa.select(t.audit_pending))
    return sum(action in str(dict(row)) for row in pending)


TURNED: tuple[dict[str, Any], ...] = (
    {"origin": "http://localhost:8471"},
    {"origin": "https://charter.example.org"},
    {"origin": "http://localhost.evil.example:8470"},
    {"rp_id": "evil.example"},
    {"type": "webauthn.create"},
    {"challenge": text(b"0" * 32)},
    {"user_id": None},
    {"user_id": "per_somebody_else"},
)


@spec("ID-3")
def test_an_answer_to_another_page_or_question_is_refused(world: World) -> None:
    device, _ = with_passkey(world, "dana")
    for turned in TURNED:
        options = passkey_sign_in.begin_sign_in(world.rt, COOKIE)
        refused(world, device.get(options, **turned))
    sign_in(world, device)


@spec("ID-3")
def test_an_answer_counts_once_and_only_in_the_browser_that_was_asked(world: World) -> None:
    device, _ = with_passkey(world, "dana")
    options = passkey_sign_in.begin_sign_in(world.rt, COOKIE)
    answer = device.get(options)
    passkey_sign_in.sign_in(world.rt, COOKIE, answer)
    refused(world, answer)
    refused(world, device.get(options))  # nor another answer to the same question
    taken = device.get(passkey_sign_in.begin_sign_in(world.rt, "the attacker's"))
    refused(world, taken)
    refused(world, taken, "the attacker's")  # the wrong browser has used it up
    late = device.get(passkey_sign_in.begin_sign_in(world.rt, COOKIE))
    world.clock.advance(seconds=300)
    refused(world, late)


@spec("ID-3", "ID-4")
def test_a_user_who_was_not_verified_is_refused(world: World) -> None:
    device, _ = with_passkey(world, "dana")
    device.verifies = False
    refused(world, device.get(passkey_sign_in.begin_sign_in(world.rt, COOKIE)))
    caller, _ = in_browser(world, "lee")
    with pytest.raises(UnauthenticatedError):
        passkeys.add(world.rt, caller, "x", device.create(passkeys.begin_adding(world.rt, caller)))
    assert passkeys.list_passkeys(world.rt, caller) == []


@spec("ID-3")
def test_a_signature_of_another_key_is_refused_whatever_it_claims(world: World) -> None:
    device, _ = with_passkey(world, "dana")
    otto, _ = with_passkey(world, "otto")
    for thief, victim in ((otto, device), (device, otto)):
        answer = json.loads(thief.get(passkey_sign_in.begin_sign_in(world.rt, COOKIE)))
        stolen = text(victim.passkeys[-1].credential_id)
        answer |= {"id": stolen, "rawId": stolen}
        answer["response"]["userHandle"] = text(victim.passkeys[-1].user_id.encode())
        refused(world, json.dumps(answer))
    assert trail(world, "passkey.refused") == 2


@spec("ID-3")
def test_a_removed_passkey_and_a_deactivated_person_are_refused(world: World) -> None:
    device, passkey = with_passkey(world, "dana")
    passkeys.remove(world.rt, sign_in(world, device), passkey, last=True)
    refused(world, device.get(passkey_sign_in.begin_sign_in(world.rt, COOKIE)))
    otto, _ = with_passkey(world, "otto")
    people.deactivate(world.rt, world.admin, "otto")
    refused(world, otto.get(passkey_sign_in.begin_sign_in(world.rt, COOKIE)))


@spec("ID-3")
def test_a_copy_of_a_passkey_is_found_by_its_counter_and_its_owner_told(world: World) -> None:
    device, _ = with_passkey(world, "dana")
    sign_in(world, device)
    sign_in(world, device)
    refused(world, device.get(passkey_sign_in.begin_sign_in(world.rt, COOKIE), count=2))
    told = [n["message"] for n in overview.notices(world.rt, world.caller("dana"))["items"]]
    assert any("there may be a copy" in message for message in told)
    assert trail(world, "passkey.copied") == 1
    sign_in(world, device)  # the true one, which is ahead, still works
    plain = Authenticator(counts=False)
    with_passkey(world, "lee", plain)
    sign_in(world, plain)
    sign_in(world, plain)  # most authenticators count nothing


@spec("ID-3", "ID-5")
def test_guessing_at_the_door_is_slowed_down_for_the_guesser_alone(world: World) -> None:
    device, _ = with_passkey(world, "dana")
    codes = []
    for _ in range(60):
        options = passkey_sign_in.begin_sign_in(world.rt, COOKIE)
        answer = device.get(options, rp_id="evil.example")
        try:
            passkey_sign_in.sign_in(world.rt, COOKIE, answer, "203.0.113.9")
        except CharterError as error:
            codes.append(error.code)
    assert (codes[0], codes[-1]) == ("passkey-refused", "too-many-attempts")
    assert sign_in(world, device).id == world.caller("dana").id  # from another address


NO_ANSWERS = (
    "",
    "x",
    "[]",
    "{}",
    '{"response": {}}',
    '{"response": {"clientDataJSON": 7}}',
    '{"response": {"clientDataJSON": "e30"}}',
    '{"response": {"clientDataJSON": "W10"}}',
    "[" * 20_000,
    '{"response": {"clientDataJSON": "' + "A" * 40_000 + '"}}',
)


@spec("ID-3")
def test_what_is_no_answer_at_all_is_refused(world: World) -> None:
    caller, _ = in_browser(world, "dana")
    for answer in NO_ANSWERS:
        refused(world, answer)
        with pytest.raises(UnauthenticatedError):
            passkeys.add(world.rt, caller, "x", answer)
        with pytest.raises(UnauthenticatedError):
            passkey_sign_in.step_up(world.rt, caller, answer)


@spec("ID-3")
def test_a_known_challenge_with_a_broken_answer_is_used_up(world: World) -> None:
    device, _ = with_passkey(world, "dana")
    options = passkey_sign_in.begin_sign_in(world.rt, COOKIE)
    good = device.get(options)
    for part in ("signature", "authenticatorData"):
        broken = json.loads(good)
        broken["response"][part] = 5
        refused(world, json.dumps(broken))
    refused(world, good)


@spec("ID-4")
def test_a_question_of_one_purpose_is_not_answered_for_another(world: World) -> None:
    device, _ = with_passkey(world, "dana")
    caller, _ = in_browser(world, "dana")
    for_step_up = device.get(passkey_sign_in.begin_step_up(world.rt, caller))
    refused(world, for_step_up)
    for_sign_in = device.get(passkey_sign_in.begin_sign_in(world.rt, COOKIE))
    with pytest.raises(UnauthenticatedError):
        passkey_sign_in.step_up(world.rt, caller, for_sign_in)
    other, _ = in_browser(world, "dana")
    for_other = device.get(passkey_sign_in.begin_step_up(world.rt, other))
    with pytest.raises(UnauthenticatedError):  # another session of the same person
        passkey_sign_in.step_up(world.rt, caller, for_other)


@spec("ID-4")
def test_nobody_steps_up_with_somebody_elses_proof(world: World) -> None:
    with_passkey(world, "dana")
    otto, _ = with_passkey(world, "otto")
    caller, secret = in_browser(world, "dana")
    for user in (None, otto.passkeys[-1].user_id, caller.id):
        options = passkey_sign_in.begin_step_up(world.rt, caller)
        with pytest.raises(UnauthenticatedError):
            passkey_sign_in.step_up(world.rt, caller, otto.get(options, user_id=user))
    link = people.sign_in_link(world.rt, world.admin, "otto")["url"]
    with pytest.raises(UnauthenticatedError):
        sessions.step_up_by_link(world.rt, caller, link)
    identity.exchange_link(world.rt, link)  # its owner can still use it
    session = identity.authenticate_session(world.rt, secret).person.session
    assert session is not None
    assert not session.mfa


@spec("ID-4")
def test_what_was_copied_before_a_step_up_is_worth_nothing_after_it(world: World) -> None:
    """Session fixation: neither the old secret nor the old form token gains by the proof."""
    device, _ = with_passkey(world, "dana")
    caller, stolen = in_browser(world, "dana")
    racing = device.get(passkey_sign_in.begin_step_up(world.rt, caller))
    answer = device.get(passkey_sign_in.begin_step_up(world.rt, caller))
    passkey_sign_in.step_up(world.rt, caller, answer)
    with pytest.raises(UnauthenticatedError):
        identity.authenticate_session(world.rt, stolen)
    with pytest.raises(UnauthenticatedError):  # a caller that was read before the renewal
        passkey_sign_in.step_up(world.rt, caller, racing)


@spec("ID-4")
def test_a_stale_or_weak_session_adds_no_passkey(world: World) -> None:
    """Or whoever finds an open session would make themselves a key to everything."""
    caller, _ = in_browser(world, "otto")
    early = passkeys.begin_adding(world.rt, caller)
    world.clock.advance(minutes=61)
    with pytest.raises(ForbiddenError):
        passkeys.begin_adding(world.rt, caller)
    with pytest.raises(CharterError):
        passkeys.add(world.rt, caller, "x", Authenticator().create(early))
    with_passkey(world, "dana")
    weak, _ = in_browser(world, "dana")
    with pytest.raises(ForbiddenError) as refusal:
        passkeys.begin_adding(world.rt, weak)
    assert refusal.value.code == "step-up-required"


@spec("ID-3")
def test_a_passkey_of_somebody_is_not_taken_over_by_adding_it_again(world: World) -> None:
    device, _ = with_passkey(world, "dana")
    otto, _ = in_browser(world, "otto")
    thief = Authenticator()
    options = passkeys.begin_adding(world.rt, otto)
    answer = thief.create(options, credential_id=device.passkeys[-1].credential_id)
    with pytest.raises(CharterError) as refusal:
        passkeys.add(world.rt, otto, "x", answer)
    assert refusal.value.code == "conflict"
    assert sign_in(world, device).id == world.caller("dana").id


@spec("ID-3", "ID-7")
def test_an_agent_touches_no_session_or_passkey_of_its_sponsor(world: World) -> None:
    made = agents.create(world.rt, world.caller("dana"), dict(AGENT))
    agent = identity.authenticate_bearer(world.rt, made["credential"]["token"])
    dana, _ = in_browser(world, "dana")
    assert sessions.list_sessions(world.rt, agent) == []
    assert passkeys.list_passkeys(world.rt, agent) == []
    for act in (
        lambda: sessions.end(world.rt, agent, dana.credential_id),
        lambda: sessions.end_others(world.rt, agent),
        lambda: sessions.end_all(world.rt, agent, "dana"),
        lambda: sessions.hand_over(world.rt, agent),
        lambda: passkeys.begin_adding(world.rt, agent),
    ):
        with pytest.raises(CharterError):
            act()
    assert len(sessions.list_sessions(world.rt, dana)) == 1
