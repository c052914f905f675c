"""What looks like a secret of ours is taken out, and nothing else."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.kernel.errors import NotFoundError
from charter.core.kernel.identifiers import make_id
from charter.core.kernel.masking import masked
from charter.services import secrets
from tests.spec import spec

SIGNED = (
    "eyJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiJwZXJfMSIsImp0aSI6ImNyZCJ9.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
)


@spec("AU-3")
@pytest.mark.parametrize("kind", sorted(secrets.KINDS))
def test_every_kind_of_secret_is_known(kind: str) -> None:
    text, _ = secrets.make(kind, make_id("token", 1, os.urandom(10)), os.urandom)
    said = masked(f"Before, {text}, and after.")
    assert text[-43:] not in said
    assert said.startswith(f"Before, {text[:-44]}_(secret)")
    assert said.endswith(", and after.")
    assert text[-43:] not in str(NotFoundError(f"There is no person {text!r}.", fix=text))


def test_a_signed_credential_is_known() -> None:
    assert masked(f"Bearer {SIGNED}") == "Bearer eyJhbGciOiJ_(secret)"


@given(st.text())
def test_other_texts_stay(text: str) -> None:
    assert masked(text) == text or "charter_" in text or "cep_" in text or "eyJ" in text


def test_names_that_begin_alike_stay() -> None:
    for text in ("charter_admission_undecided", "cep_", "eyJ", "charter_pat_0000"):
        assert masked(text) == text
