"""Keys and secrets of notifications: what signs links, and what seals addresses and secrets.

Both keys come from one key file, each for its own purpose. A chat's address is a secret (whoever
knows it may write there), so addresses are sealed like secrets are; or the record names a file in a
folder that the operator set, and its content is read whenever it is needed.
"""

from __future__ import annotations

import hmac
import re
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from charter.core.kernel.errors import InvalidInputError, UnavailableError
from charter.services.runtime import Runtime

_NONCE_BYTES: Final = 12
_LONGEST: Final = 4096
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _derived(rt: Runtime, purpose: str) -> bytes:
    seed = rt.keys.notifications.private_bytes_raw()
    return hmac.digest(seed, f"charter {purpose} v1".encode(), "sha256")


def link_key(rt: Runtime) -> bytes:
    """The key that signs approval links."""
    return _derived(rt, "approval links")


def seal(rt: Runtime, text: str, what: str) -> bytes:
    """`text`, readable only with this instance's key and only as `what`."""
    nonce = rt.randomness(_NONCE_BYTES)
    sealed = AESGCM(_derived(rt, "channel secrets")).encrypt(nonce, text.encode(), what.encode())
    return nonce + sealed


def unseal(rt: Runtime, sealed: bytes, what: str) -> str:
    """What was sealed; raises `UnavailableError` when this instance's key is another one."""
    key = AESGCM(_derived(rt, "channel secrets"))
    try:
        opened = key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], what.encode())
    except InvalidTag as error:
        raise UnavailableError(
            "The secrets of this channel were sealed with another key.",
            fix="Bring back keys/notifications.key, or add the channel again.",
            code="sealed-elsewhere",
        ) from error
    return opened.decode()


def check_file(rt: Runtime, name: str) -> None:
    """Raise unless `name` is a file that may be referred to and can be read."""
    if rt.settings.notification_secrets_dir is None:
        raise InvalidInputError(
            "This server has no folder for secrets.",
            fix="Set CHARTER_NOTIFICATION_SECRETS_DIR, or bring the secret itself.",
            code="no-secrets-folder",
        )
    if not _FILE.fullmatch(name):
        raise InvalidInputError(
            "This is not the name of a file.",
            fix="Give the name alone, without a folder.",
            code="secret-file",
        )
    from_file(rt, name)


def from_file(rt: Runtime, name: str) -> str:
    """The content of a file in the folder of secrets, without blanks around it."""
    folder = rt.settings.notification_secrets_dir
    try:
        if folder is None or not _FILE.fullmatch(name):
            raise FileNotFoundError
        path = (folder / name).resolve(strict=True)
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise FileNotFoundError
        with path.open(encoding="utf-8") as file:
            text = file.read(_LONGEST).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError(
            f"The secret {name} cannot be read.",
            fix="Look whether it lies in CHARTER_NOTIFICATION_SECRETS_DIR and may be read.",
            code="secret-file",
        ) from error
    if not text:
        raise UnavailableError(
            f"The secret {name} is empty.", fix="Write it into the file.", code="secret-file"
        )
    return text
