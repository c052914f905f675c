"""Passkeys on the wire: what a browser is asked for, and what it answers, verified (WebAuthn).

Everything that a browser sends is untrusted text. It becomes a `NewPasskey` or a `Shown` only when
the signature, the challenge, the origin, the relying party and the user's verification all hold;
whatever else happens is a `RefusedError` with a reason for the trail, never for the page.

The counter is not judged here: the caller has to tell a copied key from a forged answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    base64url_to_bytes,
    options_to_json_dict,
    parse_authentication_credential_json,
)
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from charter.core.access.passkeys import RelyingParty

LONGEST_ANSWER: Final = 32_768  # an answer takes one or two kilobytes
_LONGEST_ID: Final = 1023  # of a credential, by the specification
_TRANSPORTS: Final = {transport.value: transport for transport in AuthenticatorTransport}


class RefusedError(Exception):
    """The browser's answer proves nothing; the text says why, for the trail."""


@dataclass(frozen=True, slots=True)
class Known:
    """A passkey that the browser may or must not use."""

    credential_id: bytes
    transports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """A passkey that was just made, with its user verified."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    aaguid: str
    backed_up: bool
    transports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A passkey that was just used, with its user verified."""

    sign_count: int
    backed_up: bool


def creation_options(
    party: RelyingParty,
    *,
    organisation: str,
    user_id: str,
    handle: str,
    challenge: bytes,
    seconds: int,
    existing: Sequence[Known],
) -> dict[str, Any]:
    """What the browser needs to make a passkey: the user verified, the account kept in the key."""
    options = generate_registration_options(
        rp_id=party.id,
        rp_name=f"Charter {organisation}",
        user_id=user_id.encode(),
        user_name=handle,
        challenge=challenge,
        timeout=seconds * 1000,
        attestation=AttestationConveyancePreference.NONE,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[_descriptor(each) for each in existing],
    )
    return options_to_json_dict(options)


def request_options(
    party: RelyingParty, *, challenge: bytes, seconds: int, allowed: Sequence[Known] = ()
) -> dict[str, Any]:
    """What the browser needs to show a passkey; with none `allowed`, any of its own."""
    options = generate_authentication_options(
        rp_id=party.id,
        challenge=challenge,
        timeout=seconds * 1000,
        allow_credentials=[_descriptor(each) for each in allowed],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json_dict(options)


def _descriptor(known: Known) -> PublicKeyCredentialDescriptor:
    transports = [_TRANSPORTS[name] for name in known.transports if name in _TRANSPORTS]
    return PublicKeyCredentialDescriptor(known.credential_id, transports=transports or None)


def verify_creation(party: RelyingParty, answer: str, challenge: bytes) -> NewPasskey:
    """The passkey in the browser's answer; raises `RefusedError`."""
    document = _document(answer)
    try:
        made = verify_registration_response(
            credential=document,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=True,
        )
    except Exception as error:  # the library raises whatever its parsers do
        raise RefusedError(str(error)) from error
    if len(made.credential_id) > _LONGEST_ID:
        raise RefusedError("the credential id is too long")
    given = document["response"].get("transports")
    names = given if isinstance(given, list) else []
    return NewPasskey(
        credential_id=made.credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        aaguid=made.aaguid,
        backed_up=made.credential_backed_up,
        transports=tuple(name for name in _TRANSPORTS if name in names),
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """What an answer says of itself before anything is verified: which key, and whose."""

    credential_id: bytes
    user_id: str | None


def claim_of(answer: str) -> Claim:
    """Which passkey the answer claims to be made with; raises `RefusedError`."""
    try:
        credential = parse_authentication_credential_json(_document(answer))
        handle = credential.response.user_handle
        return Claim(credential.raw_id, None if handle is None else handle.decode())
    except RefusedError:
        raise
    except Exception as error:
        raise RefusedError(str(error)) from error


def verify_use(party: RelyingParty, answer: str, challenge: bytes, public_key: bytes) -> Shown:
    """That the holder of the key made this answer now; raises `RefusedError`."""
    try:
        used = verify_authentication_response(
            credential=_document(answer),
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=public_key,
            credential_current_sign_count=0,  # judged by the caller
            require_user_verification=True,
        )
    except RefusedError:
        raise
    except Exception as error:
        raise RefusedError(str(error)) from error
    return Shown(used.new_sign_count, used.credential_backed_up)


def challenge_in(answer: str) -> bytes:
    """The challenge that the answer says it answers, to find it by; raises `RefusedError`."""
    document = _document(answer)
    try:
        data = json.loads(base64url_to_bytes(document["response"]["clientDataJSON"]))
        challenge = data["challenge"]
        if not isinstance(challenge, str):
            raise RefusedError("the client data hold no challenge")
        return base64url_to_bytes(challenge)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RefusedError("the client data cannot be read") from error


def _document(answer: str) -> dict[str, Any]:
    if not answer or len(answer) > LONGEST_ANSWER:
        raise RefusedError("there is no answer, or it is too long")
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise RefusedError("the answer is no JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("response"), dict):
        raise RefusedError("the answer is no credential")
    return document
