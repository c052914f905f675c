"""What one line of the audit trail says, and the exact bytes that are sealed for it.

An audit event answers: who did what to which thing, when, with which outcome, and why. It becomes
a *leaf*: canonical JSON that is stored as bytes and never made again, because the tree over all
leaves commits to those bytes for ever.

"For ever" is at odds with a person's right to be forgotten, so a leaf holds no personal data. It
names people by opaque ids, and what is personal (a name, an address, a prompt) goes to a side store
that can be erased. The leaf keeps only a *commitment* to it: SHA-256 over a random salt and the
canonical form of the personal data. While the side row exists, anybody can check that it is what
was sealed; once row and salt are deleted, the commitment says nothing (without the salt nobody can
try likely names against it), and every proof over the log still holds.

Source: Spec AU-1, AU-3.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from charter.core.kernel.canonical import canonical_json, rfc3339
from charter.core.kernel.errors import InvalidInputError

SCHEMA: Final = "charter.audit/1"  # stands in every leaf, so that a later form can be told apart
MAX_LEAF_BYTES: Final = (
    65_535  # an entry of an exported bundle has a 16-bit length (C2SP tlog-tiles)
)
SALT_BYTES: Final = (
    32  # fixed, so that salt ‖ data can be cut in one way only; 256 bits: no guessing
)

_MAX_NAME_CHARACTERS: Final = (
    256  # ids and codes are short; a longer one is data in the wrong place
)
_MAX_PRIVATE_DEPTH: Final = 16  # deep enough for any record, shallow enough for every JSON reader
_WORDS: Final = re.compile(r"[a-z][a-z0-9_-]*(?:\.[a-z][a-z0-9_-]*)*")
_WORDED: Final = frozenset({"actor.kind", "action", "resource_kind"})
_PEOPLE: Final = frozenset({"actor.id", "actor.sponsor_id"})

Scalar = str | int | bool | None  # no floats: they have no one spelling across languages


class Outcome(StrEnum):
    """What came of it. The first three are decisions; the last two are what was carried out."""

    ALLOWED = "allowed"
    DENIED = "denied"
    APPROVAL_REQUIRED = "approval-required"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ActorRef:
    """Who acted, by opaque ids: never a name or an address.

    `kind` is `human`, `agent` or `system`. An agent carries the id of the person it acts for
    (`sponsor_id`). `credential_id` is the session or token that was shown, so that a stolen one can
    be followed through the trail.
    """

    kind: str
    id: str
    sponsor_id: str | None = None
    credential_id: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened.

    `facts` are short values that explain it and hold no personal data (sizes, tiers, counts);
    `private` is the personal part, which goes to the deletable side store. `reason_codes` are the
    ids of the rules that spoke.
    """

    id: str
    at: datetime
    actor: ActorRef
    action: str
    resource_kind: str
    resource_id: str
    outcome: Outcome
    decision_id: str | None = None
    reason_codes: tuple[str, ...] = ()
    facts: Mapping[str, Scalar] = field(default_factory=dict)
    private: Mapping[str, object] | None = None


def leaf(event: AuditEvent, salt: bytes) -> bytes:
    """The bytes to seal for `event`; at most 65,535 of them.

    `salt` is 32 random bytes, used when the event has private data and to be stored beside it; an
    event without private data ignores it. Raises InvalidInputError for an event that cannot be
    sealed: it names the part that is wrong, and nothing is cut short in silence.
    """
    _check(event)
    document: dict[str, object] = {
        "schema": SCHEMA,
        "id": event.id,
        "at": rfc3339(event.at),
        "actor": {
            "kind": event.actor.kind,
            "id": event.actor.id,
            "sponsor_id": event.actor.sponsor_id,
            "credential_id": event.actor.credential_id,
        },
        "action": event.action,
        "resource": {"kind": event.resource_kind, "id": event.resource_id},
        "outcome": event.outcome.value,
        "decision_id": event.decision_id,
        "reason_codes": list(event.reason_codes),
        "facts": dict(event.facts),
        "private": None if event.private is None else commitment(event.private, salt),
    }
    sealed = canonical_json(document).encode()
    if len(sealed) > MAX_LEAF_BYTES:
        raise InvalidInputError(
            f"The audit event {event.id} ({event.action}) takes {len(sealed)} bytes; "
            f"one event may take {MAX_LEAF_BYTES}.",
            fix="Record a digest or a count in place of the large fact.",
            code="audit-event-too-large",
        )
    return sealed


def commitment(private: Mapping[str, object], salt: bytes) -> str:
    """`sha256:` and the digest of `salt` followed by the canonical form of `private`."""
    if len(salt) != SALT_BYTES:
        raise InvalidInputError(
            f"A salt of {len(salt)} bytes was given for personal data; it takes {SALT_BYTES}.",
            fix=f"Draw {SALT_BYTES} random bytes for each event and store them beside its data.",
            code="audit-salt",
        )
    return "sha256:" + hashlib.sha256(salt + private_payload(private).encode()).hexdigest()


def private_payload(private: Mapping[str, object]) -> str:
    """The canonical text of personal data, as it is committed to and stored."""
    _check_private(private, "private", 0)
    return canonical_json(dict(private))


def verify_commitment(sealed: bytes, salt: bytes, private: Mapping[str, object]) -> bool:
    """Whether `private` (with its `salt`) is what the leaf `sealed` commits to.

    False for a leaf without a commitment and for anything that is not a leaf.
    """
    try:
        document = json.loads(sealed)
        expected = commitment(private, salt)
    except (ValueError, RecursionError, InvalidInputError):
        return False
    found = document.get("private") if isinstance(document, dict) else None
    return isinstance(found, str) and hmac.compare_digest(found.encode(), expected.encode())


def _check(event: AuditEvent) -> None:
    actor = event.actor
    required = {
        "id": event.id,
        "actor.id": actor.id,
        "resource_id": event.resource_id,
        "actor.kind": actor.kind,
        "action": event.action,
        "resource_kind": event.resource_kind,
    }
    optional = {
        "actor.sponsor_id": actor.sponsor_id,
        "actor.credential_id": actor.credential_id,
        "decision_id": event.decision_id,
    }
    names = required | {where: value for where, value in optional.items() if value is not None}
    for where, value in names.items():
        _name(where, value)
        if where in _WORDED and _WORDS.fullmatch(value) is None:
            raise _unfit(where, "is not made of lower-case words joined by dots")
        if where in _PEOPLE and "@" in value:
            raise _unfit(where, "looks like an address, which is personal data")
    for code in event.reason_codes:
        _name("reason_codes", code)
    if event.at.tzinfo is None:
        raise _unfit("at", "carries no time zone")
    for key, fact in event.facts.items():
        _check_fact(key, fact)


def _check_fact(key: str, fact: object) -> None:
    _name("facts", key)
    where = f"facts.{key}"
    if isinstance(fact, str):
        _encodable(where, fact)
    elif fact is not None and not isinstance(fact, int):
        raise _unfit(where, f"is a {type(fact).__name__}, not text, a whole number or yes/no")


def _name(where: str, value: str) -> None:
    if not value or len(value) > _MAX_NAME_CHARACTERS:
        raise _unfit(where, f"is not between 1 and {_MAX_NAME_CHARACTERS} characters long")
    if not value.isprintable():
        raise _unfit(where, "holds a character that cannot be printed")


def _check_private(value: object, where: str, depth: int) -> None:
    """Holds personal data to what storage keeps unchanged, or its commitment would not verify."""
    if depth > _MAX_PRIVATE_DEPTH:
        raise _unfit(where, f"is nested deeper than {_MAX_PRIVATE_DEPTH} levels")
    if value is None or isinstance(value, int):
        return
    if isinstance(value, str):
        _encodable(where, value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise _unfit(where, "has a key that is not text")
            _encodable(where, key)
            _check_private(inner, f"{where}.{key}"[:_MAX_NAME_CHARACTERS], depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check_private(inner, where, depth + 1)
    else:
        raise _unfit(where, f"is a {type(value).__name__}, which has no one spelling in JSON")


def _encodable(where: str, value: str) -> None:
    if "\x00" in value:
        raise _unfit(where, "holds a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _unfit(where, "holds half a character (a lone surrogate)") from None


def _unfit(where: str, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"The audit event cannot be recorded: {where} {why}.",
        fix="Correct the event where it is made; an action without a record is not carried out.",
        code="audit-event-unfit",
    )
