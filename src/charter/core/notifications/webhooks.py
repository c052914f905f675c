"""What a webhook is sent: its signature, and the bodies for chats and for programs.

The signature follows the Standard Webhooks convention: an HMAC-SHA256 over the message's id, the
time at which it was sent and the body, so that a receiver can tell that it is ours, that nobody
changed it, and that it is no replay of an older one. A receiver refuses a time that is further away
than five minutes, and remembers ids for as long.

Whatever people wrote goes into a chat as plain text, never as markup: a justification must not ring
a whole channel.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from charter.core.notifications.text import clean

REPLAY_WINDOW_SECONDS: Final = 300
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 — the convention's mark, no secret
_LONGEST_TEXT: Final = 2900  # what a chat takes in one block
_LONGEST_TITLE: Final = 140
_MOST_FACTS: Final = 10


def signature(secret: str, message_id: str, at: datetime, body: bytes) -> str:
    """The value of the header `webhook-signature`.

    The key is what stands after `whsec_`, base64-decoded; a secret without that mark counts as it
    is.
    """
    signed = b".".join((message_id.encode(), str(int(at.timestamp())).encode(), body))
    mac = hmac.digest(_key(secret), signed, "sha256")
    return f"v1,{base64.b64encode(mac).decode()}"


def _key(secret: str) -> bytes:
    if secret.startswith(SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except ValueError:
            pass
    return secret.encode()


def new_secret(randomness: bytes) -> str:
    """A secret in the convention's spelling."""
    return SECRET_PREFIX + base64.b64encode(randomness).decode()


def chat_body(
    title: str, lines: Sequence[str], facts: Sequence[tuple[str, str]], url: str, button: str
) -> dict[str, Any]:
    """A Block Kit message; `url` needs a sign-in and gives nobody any power."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(title, _LONGEST_TITLE)},
    ]
    if lines:
        blocks.append({"type": "section", "text": _plain("\n".join(lines), _LONGEST_TEXT)})
    if facts:
        said = [_plain(f"{name}: {value}", _LONGEST_TEXT // 2) for name, value in facts]
        blocks.append({"type": "section", "fields": said[:_MOST_FACTS]})
    blocks.append(
        {
            "type": "actions",
            "elements": [{"type": "button", "text": _plain(button, 70), "url": url}],
        }
    )
    return {"text": _escaped(clean(title)), "blocks": blocks}


def _plain(text: str, longest: int) -> dict[str, Any]:
    kept = clean(text, lines=True)
    if len(kept) > longest:
        kept = kept[: longest - 1] + "…"
    return {"type": "plain_text", "text": kept or "(nothing)", "emoji": False}


def _escaped(text: str) -> str:
    """Without what a chat would read as a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def event_body(
    *,
    delivery_id: str,
    kind: str,
    at: datetime,
    organisation: str,
    message: str,
    url: str,
    resource: tuple[str, str] | None,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The document for programs."""
    return {
        "id": delivery_id,
        "type": kind,
        "timestamp": at.isoformat(),
        "data": {
            "organisation": organisation,
            "message": clean(message, lines=True),
            "url": url,
            "resource": None if resource is None else {"kind": resource[0], "id": resource[1]},
            **facts,
        },
    }
