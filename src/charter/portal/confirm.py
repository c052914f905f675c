"""What a page shows when only a fresh proof of identity is missing, and what it holds meanwhile.

A form that was refused for this reason is not lost: its address and fields go through the
confirmation as one hidden text and come back out of it as the same form, sent with the renewed
session's token. They only ever travel in forms of this portal that carry that token, so no other
site can have a form sent this way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import Request

from charter.core.access.passkeys import NoRelyingParty
from charter.core.access.sign_in_attempt import own_path
from charter.services import passkey_challenges, single_sign_on
from charter.services.runtime import Caller, Runtime

CODE: Final = "step-up-required"
_NOT_HELD: Final = frozenset({"_csrf"})


@dataclass(frozen=True, slots=True)
class Held:
    """A form that waits for a confirmation."""

    action: str
    fields: Mapping[str, str]

    def as_text(self) -> str:
        """For a hidden field."""
        return json.dumps({"action": self.action, "fields": dict(self.fields)})


def read_held(text: str) -> Held | None:
    """The form in a hidden field; None where there is none, or it is not one of this portal."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    action, fields = document.get("action"), document.get("fields")
    if not isinstance(action, str) or own_path(action) != action or not isinstance(fields, dict):
        return None
    if not all(isinstance(value, str) for value in fields.values()):
        return None
    return Held(action, {name: fields[name] for name in fields if name not in _NOT_HELD})


def refused(
    request: Request, rt: Runtime, caller: Caller, form: Mapping[str, str]
) -> dict[str, Any]:
    """What the page needs after a refusal: the form that was sent, or the page that was asked."""
    if request.method in {"GET", "HEAD"}:
        query = f"?{request.url.query}" if request.url.query else ""
        return values(request, rt, caller, own_path(request.url.path + query), None)
    fields = {name: value for name, value in form.items() if name not in _NOT_HELD}
    back = came_from(request, "referer")
    return values(request, rt, caller, back, Held(request.url.path, fields))


def values(
    request: Request, rt: Runtime, caller: Caller, next_path: str, held: Held | None
) -> dict[str, Any]:
    """What the page shows: by which ways this person can confirm that it is them, here."""
    session = caller.person.session
    has_passkey = session is not None and session.has_passkey
    return {
        "next": next_path,
        "held": "" if held is None else held.as_text(),
        "passkeys": passkey_place(request, rt),
        "has_passkey": has_passkey,
        "ways": single_sign_on.ways(rt),
        "shown": session,
    }


def passkey_place(request: Request, rt: Runtime) -> dict[str, Any]:
    """Whether passkeys work on this page; else where they do, or why they cannot at all."""
    party = passkey_challenges.party(rt)
    if isinstance(party, NoRelyingParty):
        return {"here": False, "at": None, "why": party.why, "fix": party.fix}
    return {"here": request.url.hostname == party.id, "at": party.origin, "why": None, "fix": None}


def came_from(request: Request, header: str) -> str:
    """The path of the portal's page that the request came from."""
    parts = urlsplit(request.headers.get(header, ""))
    if parts.netloc != request.headers.get("host"):
        return "/"
    return own_path(parts.path + (f"?{parts.query}" if parts.query else ""))
