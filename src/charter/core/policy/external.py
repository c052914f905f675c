"""Documents from outside: a decision document that an external enforcement point brings.

A Kubernetes cluster, an OPA or an AuthZEN client asks Charter about somebody else's request, in its
own words. Before anything is decided, its document is brought into one form: plain JSON of bounded
size and depth whose numbers and texts every engine reads alike, with the four parts that policy
expects. Two facts are Charter's and never the caller's: the time (`context.now`) and who asked
(`context.enforcement_point`). What the point says about the subject is a *claim*; the names of the
claimed facts stand in `subject.claimed`, so that a rule can tell them from what Charter knows.

Source: Spec PC-2, PC-12.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from charter.core.kernel.canonical import canonical_json, rfc3339
from charter.core.kernel.errors import InvalidInputError
from charter.core.kernel.masking import masked

MAX_DOCUMENT_BYTES: Final = 1_048_576  # one Kubernetes admission review fits; etcd takes no more
MAX_DEPTH: Final = 64  # half of what the engines read, and far beyond any real object
_MAX_INTEGER: Final = 2**53  # beyond it engines round, and a rounded limit is no limit
_MAX_NAME_CHARACTERS: Final = 253  # the longest name that Kubernetes gives to anything
_PARTS: Final = ("subject", "action", "resource", "context")
_CHARTERS_OWN: Final = frozenset({"claimed"})
_IDENTITY: Final = frozenset({"id", "kind"})


def _refuse(what: str) -> InvalidInputError:
    return InvalidInputError(
        f"The decision document cannot be used: {what}.",
        fix="Send an object with subject, action, resource and context as plain JSON; "
        "docs/reference/policy-input.md describes it.",
        code="external-document",
    )


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise _refuse("a text holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refuse("a text holds half a character (a lone surrogate)") from None


def _plain(value: object, depth: int) -> Any:
    """A copy of `value`, checked; refuses what is not JSON or not the same in every engine."""
    if depth > MAX_DEPTH:
        raise _refuse(f"it is nested deeper than {MAX_DEPTH} levels")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_text(value)
        return value
    if isinstance(value, int):
        if abs(value) > _MAX_INTEGER:
            raise _refuse("a whole number is larger than 2^53, which engines would round")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refuse("a number is not finite")
        return value
    if isinstance(value, Mapping):
        return _plain_object(value, depth)
    if isinstance(value, (list, tuple)):
        return [_plain(inner, depth + 1) for inner in value]
    raise _refuse("it holds something that is not JSON")


def _plain_object(value: Mapping[Any, object], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if not isinstance(key, str):
            raise _refuse("an object has a key that is not text")
        _check_text(key)
        found[key] = _plain(inner, depth + 1)
    return found


def _name(part: Mapping[str, Any], key: str, where: str) -> None:
    """A name may be missing (an invariant then refuses); it may not be something else."""
    value = part.get(key)
    if value is None:
        return
    if not isinstance(value, str) or not value or len(value) > _MAX_NAME_CHARACTERS:
        raise _refuse(f"{where}.{key} is not a text of 1 to {_MAX_NAME_CHARACTERS} characters")


def external_document(
    document: object,
    *,
    point: Mapping[str, str],
    now: datetime,
    max_bytes: int = MAX_DOCUMENT_BYTES,
) -> dict[str, Any]:
    """`document` in the one form: bounded, its four parts there, time and point set by Charter.

    `point` is what policy may know of the enforcement point. Raises `InvalidInputError` with the
    code `external-document`.
    """
    if not isinstance(document, Mapping):
        raise _refuse("it is not an object")
    found = _plain_object(document, 0)
    text = canonical_json(found)
    if (clean := masked(text)) != text:  # what is kept with decisions holds no credential
        found = json.loads(clean)
    for part in _PARTS:
        if found.get(part) is None:
            found[part] = {}
        if not isinstance(found[part], dict):
            raise _refuse(f"{part} is not an object")
    for part, key in (
        ("subject", "id"),
        ("subject", "kind"),
        ("subject", "handle"),
        ("action", "name"),
        ("resource", "kind"),
        ("resource", "id"),
    ):
        _name(found[part], key, part)
    subject = found["subject"]
    subject.pop("networks", None)  # that allowlists do not count is nobody's claim to make
    subject["claimed"] = sorted(set(subject) - _IDENTITY - _CHARTERS_OWN)
    found["context"]["now"] = rfc3339(now)
    found["context"]["enforcement_point"] = dict(point)
    size = len(canonical_json(found).encode())
    if size > max_bytes:
        raise _refuse(f"it takes {size} bytes, and {max_bytes} are read")
    return found


def with_true_facts(claims: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The subject part with what Charter knows in place of what was claimed.

    Claims about things that Charter does not know (an address, a device) stay, and stay marked.
    """
    claimed = [name for name in claims["claimed"] if name not in facts]
    return {**claims, **facts, "claimed": claimed}
