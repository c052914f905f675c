"""An admission review is read whole, or refused with its uid where that can be read."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.kubernetes.review import MAX_DEPTH, MalformedReviewError, read_review
from tests.core.kubernetes.reviews import body, pod, review
from tests.spec import spec as proves

UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


def changed(**request: Any) -> bytes:
    return body(**request)


def nested(depth: int) -> bytes:
    inner = "[" * depth + "]" * depth
    return body().replace(b'"dryRun": false', f'"dryRun": false, "x": {inner}'.encode())


def metadata(**entries: Any) -> bytes:
    return body(pod(**entries))


REFUSED = {
    "empty": b"",
    "no JSON": b"{",
    "not an object": b"[]",
    "null": b"null",
    "no UTF-8": b'{"kind": "\xff"}',
    "no request": b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}',
    "request is a list": json.dumps(review() | {"request": []}).encode(),
    "another kind": json.dumps(review() | {"kind": "TokenReview"}).encode(),
    "another version": json.dumps(review() | {"apiVersion": "admission.k8s.io/v1beta1"}).encode(),
    "kind is a number": json.dumps(review() | {"kind": 1}).encode(),
    "a key twice": body().replace(b'"dryRun": false', b'"dryRun": false, "dryRun": true'),
    "NaN": body().replace(b'"dryRun": false', b'"dryRun": NaN'),
    "infinity": body().replace(b'"dryRun": false', b'"x": 1e999'),
    "a huge number": body().replace(b'"dryRun": false', b'"x": 9007199254740993'),
    "thousands of digits": body().replace(b'"dryRun": false', b'"x": ' + b"9" * 5000),
    "deep": nested(MAX_DEPTH + 5),
    "very deep": nested(100_000),
    "half a character": body().replace(b'"tools"', b'"\\ud800"'),
    "no uid": changed(uid=None),
    "an empty uid": changed(uid=""),
    "a uid that is no text": changed(uid=7),
    "a uid with spaces": changed(uid="a b"),
    "no operation": changed(operation=None),
    "an unknown operation": changed(operation="PATCH"),
    "an operation that is a list": changed(operation=["CREATE"]),
    "no user": changed(userInfo=None),
    "no username": changed(userInfo={}),
    "a username that is an object": changed(userInfo={"username": {}}),
    "groups that are a text": changed(userInfo={"username": "dana", "groups": "system:masters"}),
    "extra with a text": changed(userInfo={"username": "dana", "extra": {"a": "b"}}),
    "no kind": changed(kind=None),
    "a kind with a slash": changed(kind={"kind": "../Pod"}),
    "dryRun is a text": changed(dryRun="false"),
    "no object": changed(object=None),
    "an object that is a text": changed(object="pod"),
    "an old object that is a list": changed(oldObject=[]),
    "labels with a number": metadata(labels={"a": 1}),
    "labels that are a list": metadata(labels=["a"]),
    "annotations with null": metadata(annotations={"a": None}),
    "a name with a control character": metadata(name="a\u0007"),
    "a namespace with a slash": changed(namespace="a/b"),
}  # fmt: skip


@proves("PC-8")
@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
def test_what_is_refused(sent: bytes) -> None:
    with pytest.raises(MalformedReviewError) as refused:
        read_review(sent)
    assert refused.value.message.startswith("This is not an admission review that can be judged")
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 600


def test_the_uid_comes_back_where_it_can_be_read() -> None:
    for name in ("a key twice", "deep", "no user", "another version", "half a character", "NaN"):
        with pytest.raises(MalformedReviewError) as refused:
            read_review(REFUSED[name])
        assert refused.value.uid == UID, name
    with pytest.raises(MalformedReviewError) as refused:
        read_review(REFUSED["no JSON"])
    assert refused.value.uid is None


@proves("PC-8")
def test_what_is_read() -> None:
    found = read_review(body(pod()))
    assert (found.uid, found.group, found.kind, found.operation) == (UID, "", "Pod", "CREATE")
    assert (found.namespace, found.name, found.username) == ("team-a", "api", "dana@example.org")
    assert found.request == json.loads(body(pod()))["request"]
    assert not found.dry_run
    assert read_review(nested(MAX_DEPTH - 5)).uid == UID


def test_a_deletion_has_no_object() -> None:
    found = read_review(body(operation="DELETE", object=None, oldObject=pod()))
    assert found.object is None
    assert found.old_object is not None


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(sent: bytes) -> None:
    with pytest.raises(MalformedReviewError):
        read_review(sent)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip


@given(st.sampled_from(sorted(review()["request"])), JSON)
def test_any_field_may_be_anything(field: str, value: Any) -> None:
    with contextlib.suppress(MalformedReviewError):
        read_review(body(**{field: value}))
