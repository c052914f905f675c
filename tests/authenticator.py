"""An authenticator in software: it makes passkeys and answers challenges as real ones do.

Not an imitation of the server's part: keys, signatures and encodings are real (ES256, CBOR), so
what the server verifies is what it would verify of a phone. Tests turn single parts of an answer.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from cbor2 import dumps
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

_PRESENT, _VERIFIED, _ATTESTED = 0x01, 0x04, 0x40


def text(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def data(written: str) -> bytes:
    """The other way round."""
    return base64.urlsafe_b64decode(written + "===")


@dataclass
class Passkey:
    """One key pair, kept with the account that it is for."""

    rp_id: str
    user_id: str
    credential_id: bytes = field(default_factory=lambda: os.urandom(16))
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    count: int = 0

    def public_key(self) -> bytes:
        """As COSE writes it."""
        numbers = self.key.public_key().public_numbers()
        return dumps(
            {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)},
            canonical=True,
        )


@dataclass
class Authenticator:
    """Somebody's device. `origin` is what the browser says it shows; `verifies` its user."""

    origin: str = "http://localhost:8470"
    verifies: bool = True
    counts: bool = True
    passkeys: list[Passkey] = field(default_factory=list)

    def create(self, options: dict[str, Any], **turned: Any) -> str:
        """The answer to `navigator.credentials.create`."""
        passkey = Passkey(options["rp"]["id"], data(options["user"]["id"]).decode())
        passkey.credential_id = turned.get("credential_id", passkey.credential_id)
        self.passkeys.append(passkey)
        client = self._client("webauthn.create", options["challenge"], turned)
        attested = (
            bytes(16)
            + len(passkey.credential_id).to_bytes(2)
            + passkey.credential_id
            + passkey.public_key()
        )
        auth = self._data(turned.get("rp_id", passkey.rp_id), _ATTESTED, 0) + attested
        statement = dumps({"fmt": "none", "attStmt": {}, "authData": auth}, canonical=True)
        return self._answer(
            passkey,
            clientDataJSON=text(client),
            attestationObject=text(statement),
            transports=["internal"],
        )

    def get(self, options: dict[str, Any], passkey: Passkey | None = None, **turned: Any) -> str:
        """The answer to `navigator.credentials.get`, with the newest passkey or this one."""
        passkey = passkey or self.passkeys[-1]
        if self.counts:
            passkey.count += 1
        client = self._client("webauthn.get", options["challenge"], turned)
        auth = self._data(turned.get("rp_id", passkey.rp_id), 0, turned.get("count", passkey.count))
        signed = auth + hashlib.sha256(client).digest()
        handle = turned.get("user_id", passkey.user_id)
        return self._answer(
            passkey,
            clientDataJSON=text(client),
            authenticatorData=text(auth),
            signature=text(passkey.key.sign(signed, ec.ECDSA(hashes.SHA256()))),
            **({} if handle is None else {"userHandle": text(handle.encode())}),
        )

    def _client(self, kind: str, challenge: str, turned: dict[str, Any]) -> bytes:
        return json.dumps(
            {
                "type": turned.get("type", kind),
                "challenge": turned.get("challenge", challenge),
                "origin": turned.get("origin", self.origin),
                "crossOrigin": False,
            }
        ).encode()

    def _data(self, rp_id: str, flags: int, count: int) -> bytes:
        flags |= _PRESENT | (_VERIFIED if self.verifies else 0)
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + count.to_bytes(4)

    def _answer(self, passkey: Passkey, **response: Any) -> str:
        return json.dumps(
            {
                "id": text(passkey.credential_id),
                "rawId": text(passkey.credential_id),
                "type": "public-key",
                "response": response,
                "clientExtensionResults": {},
            }
        )
