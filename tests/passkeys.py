"""People with sessions and passkeys, as tests of both need them."""

from __future__ import annotations

from charter.services import identity, passkey_sign_in, passkeys, people
from charter.services.runtime import Caller
from tests.authenticator import Authenticator
from tests.support import World

COOKIE = "of this browser"


def in_browser(world: World, handle: str) -> tuple[Caller, str]:
    """Somebody who signed in by a fresh link, and their session's secret."""
    with world.rt.database.unit_of_work() as tx:
        row = tx.one(people.sa.select(people.t.people).where(people.t.people.c.handle == handle))
        assert row is not None
        link = people.make_link(world.rt, tx, row["id"], made_by="test")["url"]
    secret = identity.exchange_link(world.rt, link, "192.0.2.7", "Firefox on Linux")["secret"]
    return identity.authenticate_session(world.rt, secret), secret


def with_passkey(
    world: World, handle: str, device: Authenticator | None = None, name: str = "laptop"
) -> tuple[Authenticator, str]:
    """Somebody's device with a passkey for their account, and the passkey's id."""
    device = device or Authenticator()
    caller, _ = in_browser(world, handle)
    answer = device.create(passkeys.begin_adding(world.rt, caller))
    return device, str(passkeys.add(world.rt, caller, name, answer)["id"])


def sign_in(world: World, device: Authenticator, cookie: str = COOKIE) -> Caller:
    """Whoever the device's newest passkey belongs to, signed in by it."""
    options = passkey_sign_in.begin_sign_in(world.rt, cookie)
    session = passkey_sign_in.sign_in(world.rt, cookie, device.get(options), "192.0.2.8")
    return identity.authenticate_session(world.rt, session["secret"])
