"""Reading an AdmissionReview (admission.k8s.io/v1) strictly.

What comes here decides what may run in a cluster, so nothing is guessed: a key that stands twice,
a number that is none, a nesting without end or a field of the wrong type refuses the review as a
whole. The refusal carries the review's `uid` where it could be read, because the API server shows a
denial only when it recognises the answer as one to its question.

Source: Spec PC-8; Kubernetes, `admission.k8s.io/v1` AdmissionReview.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from charter.core.kernel.errors import InvalidInputError

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
MAX_DEPTH: Final = 60  # the decision document around it has a few levels more, and reads 64
OPERATIONS: Final = ("CREATE", "UPDATE", "DELETE", "CONNECT")
_MAX_INTEGER: Final = 2**53
_MAX_NAME: Final = 253
_MAX_USERNAME: Final = 253
_MOST_GROUPS: Final = 1_000
_UID: Final = re.compile(r"[!-~]{1,128}")
_UID_ANYWHERE: Final = re.compile(rb'"request"\s*:\s*\{\s*"uid"\s*:\s*"([!#-\[\]-~]{1,128})"')
_KIND_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_PATH_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]*")


class MalformedReviewError(InvalidInputError):
    """The body is no admission review; `uid` is its uid where that could be read."""

    code = "admission-review-malformed"

    def __init__(self, what: str, uid: str | None) -> None:
        super().__init__(
            f"This is not an admission review that can be judged: {what}.",
            fix="Let the API server send AdmissionReview of admission.k8s.io/v1 "
            "(admissionReviewVersions of the webhook).",
        )
        self.uid = uid


@dataclass(frozen=True, slots=True)
class Review:
    """One request of a review; `request` is all of it, as it was sent."""

    uid: str
    group: str
    kind: str
    subresource: str
    operation: str
    namespace: str
    name: str
    username: str
    groups: tuple[str, ...]
    extra: Mapping[str, tuple[str, ...]]
    object: Mapping[str, Any] | None
    old_object: Mapping[str, Any] | None
    dry_run: bool
    request: Mapping[str, Any]


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:_MAX_NAME]!r} stands twice in one object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _whole(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > _MAX_INTEGER:  # noqa: PLR2004 — digits of 2^53 and a sign
        raise ValueError("a whole number is larger than 2^53")
    return int(text)


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _check(value: object, depth: int) -> None:
    """Refuses a nesting beyond the bound, and text that is no Unicode."""
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for key, inner in value.items():
            key.encode()
            _check(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, depth + 1)


def read_json(body: bytes) -> Any:
    """The JSON document in `body`; raises `ValueError` with the reason."""
    try:
        document = json.loads(
            body.decode(),
            object_pairs_hook=_unrepeated,
            parse_float=_finite,
            parse_int=_whole,
            parse_constant=_constant,
        )
        _check(document, 0)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except UnicodeError:
        raise ValueError("a text is not valid Unicode") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg}, line {error.lineno})") from None
    return document


class _Fields:
    """The fields of one object, each with its type or a refusal."""

    def __init__(self, value: object, where: str, uid: str | None) -> None:
        self._where, self.uid = where, uid
        if not isinstance(value, dict):
            raise self.wrong("", "is not an object")
        self._value: dict[str, Any] = value

    def wrong(self, key: str, what: str) -> MalformedReviewError:
        where = ".".join(part for part in (self._where, key) if part) or "the body"
        return MalformedReviewError(f"{where} {what}", self.uid)

    def text(self, key: str, *, shape: re.Pattern[str] | None = None, longest: int = 253) -> str:
        """The text under `key`; absent or null is the empty one."""
        value = self._value.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(key, "is not a text")
        if len(value) > longest or (value and not value.isprintable()):
            raise self.wrong(key, "is too long, or holds a control character")
        if value and shape is not None and shape.fullmatch(value) is None:
            raise self.wrong(key, "has a form that no API object has")
        return value

    def inner(self, key: str) -> _Fields:
        return _Fields(self._value.get(key), f"{self._where}.{key}".strip("."), self.uid)

    def object(self, key: str) -> dict[str, Any] | None:
        value = self._value.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(key, "is neither an object nor null")
        return value

    def flag(self, key: str) -> bool:
        value = self._value.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "is not true or false")
        return bool(value)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._value.get(key)
        if value is None:
            return ()
        if (
            not isinstance(value, list)
            or len(value) > _MOST_GROUPS
            or not all(isinstance(one, str) for one in value)
        ):
            raise self.wrong(key, f"is not a list of at most {_MOST_GROUPS} texts")
        return tuple(value)


def readable_uid(body: bytes) -> str | None:
    """The uid of a review that cannot be read as a whole, where it stands in the usual place."""
    found = _UID_ANYWHERE.search(body[:4096])
    return None if found is None else found.group(1).decode()


def read_review(body: bytes) -> Review:
    """The review in `body`; raises `MalformedReviewError` for anything else."""
    try:
        document = read_json(body)
    except ValueError as error:
        raise MalformedReviewError(str(error), readable_uid(body)) from None
    request = document.get("request") if isinstance(document, dict) else None
    uid = request.get("uid") if isinstance(request, dict) else None
    uid = uid if isinstance(uid, str) and _UID.fullmatch(uid) else None
    outer = _Fields(document, "", uid)
    if outer.text("kind") != KIND or outer.text("apiVersion") != API_VERSION:
        raise MalformedReviewError(f"it is not {KIND} of {API_VERSION}", uid)
    fields = outer.inner("request")
    if uid is None:
        raise fields.wrong("uid", "is missing or no uid")
    return _review(fields, uid, dict(request or {}))


def _review(fields: _Fields, uid: str, request: dict[str, Any]) -> Review:
    kind = fields.inner("kind")
    operation = fields.text("operation")
    if operation not in OPERATIONS:
        raise fields.wrong("operation", f"is not one of {', '.join(OPERATIONS)}")
    name = kind.text("kind", shape=_KIND_NAME)
    if not name:
        raise kind.wrong("kind", "is missing")
    user = fields.inner("userInfo")
    username = user.text("username", longest=_MAX_USERNAME)
    if not username:
        raise user.wrong("username", "is missing")
    review = Review(
        uid=uid,
        group=kind.text("group"),
        kind=name,
        subresource=fields.text("subResource"),
        operation=operation,
        namespace=fields.text("namespace", shape=_PATH_NAME, longest=63),
        name=fields.text("name", shape=_PATH_NAME, longest=_MAX_NAME),
        username=username,
        groups=user.texts("groups"),
        extra=_extra(user),
        object=fields.object("object"),
        old_object=fields.object("oldObject"),
        dry_run=fields.flag("dryRun"),
        request=request,
    )
    if operation in ("CREATE", "UPDATE") and review.object is None:
        raise fields.wrong("object", f"is missing, and a {operation} has one")
    _metadata(fields, review)
    return review


def _extra(user: _Fields) -> dict[str, tuple[str, ...]]:
    found = user.object("extra")
    if found is None:
        return {}
    inner = user.inner("extra")
    return {key: inner.texts(key) for key in found}


def _metadata(fields: _Fields, review: Review) -> None:
    """Labels and annotations are maps of text to text, in both objects, or nothing may be said."""
    for key, value in (("object", review.object), ("oldObject", review.old_object)):
        if value is None or value.get("metadata") is None:
            continue
        metadata = fields.inner(key).inner("metadata")
        metadata.text("name", shape=_PATH_NAME)
        metadata.text("generateName", shape=_PATH_NAME)
        for name in ("labels", "annotations"):
            entries = metadata.object(name) or {}
            if not all(isinstance(entry, str) for entry in entries.values()):
                raise metadata.wrong(name, "is not a map of text to text")
