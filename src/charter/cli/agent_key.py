"""An agent's own key, and the credentials that are bound to it.

Where policy asks that an agent prove its key, a credential out of `CHARTER_TOKEN` only serves to be
exchanged for one that is bound to the key of the account that runs here. The command line does that
by itself when the server asks for it, keeps what it got beside the key, and renews it in time. Both
files are their owner's alone; another account of the machine cannot use the credential without the
key, and neither can whoever reads a log in which it appears.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from charter import clock
from charter.cli.errors import CommandError, ExitCode
from charter.cli.profile import path as profile_path
from charter.core.agents.proofs import thumbprint, token_hash

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a type
REQUIRED: Final = "proof-required"
TOKEN_PATH: Final = "/oauth/token"  # noqa: S105  an address
_SPARE: Final = 3  # renewed when less than a third of its life is left
_OTHERS: Final = 0o077

Post = Callable[[str, Mapping[str, str], Mapping[str, str]], tuple[int, Any]]
"""Sends a form to a path with headers; answers status and document."""


@dataclass(frozen=True, slots=True)
class Held:
    """A bound credential, and the fingerprint of what it was first exchanged for."""

    token: str
    origin: str
    got_at: float
    expires_at: float

    def lasting(self, now: float) -> bool:
        """Whether it need not be renewed yet."""
        return self.expires_at - now > (self.expires_at - self.got_at) / _SPARE


def claims_of(token: str | None) -> dict[str, Any] | None:
    """What stands in an agent's credential, unverified; None for any other kind of token."""
    parts = (token or "").split(".")
    if len(parts) != 3:  # noqa: PLR2004 — header, payload, signature
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("client_id"), str) else None


class AgentKey:
    """What one agent has at one server: the key, and the credential that is bound to it."""

    def __init__(self, url: str, token: str, claims: Mapping[str, Any]) -> None:
        self._url = url
        self._token = token
        self._bound_to = (claims.get("cnf") or {}).get("jkt")
        name = hashlib.sha256(f"{url} {claims['client_id']}".encode()).hexdigest()[:32]
        self._file = _folder() / f"{name}.json"
        self._origin = hashlib.sha256(token.encode()).hexdigest()

    def headers(self, method: str, url: str, post: Post) -> dict[str, str]:
        """How this request shows the credential; renews it when it is due."""
        held = self._held()
        if held is not None and not held.lasting(clock.now().timestamp()):
            held = self._exchanged(held.token, post) or held
        if held is not None:
            return self._shown(held.token, method, url)
        if self._bound_to is not None and self._bound_to == own_thumbprint(make=False):
            return self._shown(self._token, method, url)
        return {"Authorization": f"Bearer {self._token}"}

    def exchange(self, post: Post) -> bool:
        """Exchange the credential of the environment for a bound one; False where that is refused.

        Another process of the same account may have done so meanwhile; then its result is used.
        """
        return self._exchanged(self._token, post) is not None

    def _shown(self, token: str, method: str, url: str) -> dict[str, str]:
        proof = make_proof(method, url.split("?", maxsplit=1)[0], token)
        return {"Authorization": f"DPoP {token}", "DPoP": proof}

    def _held(self) -> Held | None:
        found = _read(self._file)
        if found is None or found.get("origin") != self._origin:
            return None
        held = Held(found["token"], found["origin"], found["got_at"], found["expires_at"])
        return held if held.expires_at > clock.now().timestamp() else None

    def _exchanged(self, token: str, post: Post) -> Held | None:
        with _lock(self._file):
            held = self._held()
            if held is not None and held.token != token:
                return held
            form = {
                "grant_type": GRANT,
                "subject_token": token,
                "subject_token_type": ACCESS_TOKEN,
            }
            own_thumbprint(make=True)
            proof = make_proof("POST", f"{self._url}{TOKEN_PATH}", None)
            status, answer = post(TOKEN_PATH, form, {"DPoP": proof})
            if status != 200 or not isinstance(answer, dict):  # noqa: PLR2004 — OK
                return None
            now = clock.now().timestamp()
            held = Held(answer["access_token"], self._origin, now, now + answer["expires_in"])
            _write(
                self._file,
                {
                    "token": held.token,
                    "origin": held.origin,
                    "got_at": held.got_at,
                    "expires_at": held.expires_at,
                },
            )
            return held


# --- the key ------------------------------------------------------------------------------------
def _folder() -> Path:
    return profile_path().parent / "agents"


def _key_file() -> Path:
    return _folder() / "key.json"


def own_thumbprint(*, make: bool) -> str | None:
    """The thumbprint of this account's key; `make` makes one where there is none."""
    jwk = _read(_key_file())
    if jwk is None and make:
        with _lock(_key_file()):
            jwk = _read(_key_file())
            if jwk is None:
                from joserfc.jwk import OKPKey  # noqa: PLC0415 — most commands need none

                jwk = dict(OKPKey.generate_key("Ed25519").as_dict(private=True))
                _write(_key_file(), jwk)
    if jwk is None:
        return None
    return thumbprint({name: value for name, value in jwk.items() if name != "d"})


def make_proof(method: str, url: str, token: str | None) -> str:
    """A proof of this account's key for one request (RFC 9449)."""
    from joserfc import jwt  # noqa: PLC0415 — see above
    from joserfc.jwk import OKPKey  # noqa: PLC0415

    private = OKPKey.import_key(_read(_key_file()) or {})
    public = {
        name: value for name, value in private.as_dict(private=False).items() if name != "kid"
    }
    claims: dict[str, Any] = {
        "jti": secrets.token_urlsafe(16),
        "htm": method,
        "htu": url,
        "iat": int(clock.now().timestamp()),
    }
    if token is not None:
        claims["ath"] = token_hash(token)
    header = {"alg": "Ed25519", "typ": "dpop+jwt", "jwk": public}
    return jwt.encode(header, claims, private, algorithms=["Ed25519"])


# --- files --------------------------------------------------------------------------------------
def _read(file: Path) -> dict[str, Any] | None:
    try:
        with file.open(encoding="utf-8") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            found = json.load(stream)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unusable(file, str(error)) from error
    if mode & _OTHERS:
        raise _unusable(file, f"others may read it (mode {mode & 0o777:04o})")
    return found if isinstance(found, dict) else None


def _write(file: Path, document: Mapping[str, Any]) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(document, stream)
        temporary.replace(file)
    except OSError as error:
        raise _unusable(file, error.strerror or str(error)) from error


@contextmanager
def _lock(file: Path) -> Iterator[None]:
    """One process of this account at a time: two exchanges would end each other's credential."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(file, error.strerror or str(error)) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _unusable(file: Path, why: str) -> CommandError:
    return CommandError(
        f"The agent's key or credential in {file} cannot be used: {why}.",
        fix="Make the folder writable for this account alone, or point XDG_CONFIG_HOME at one that"
        " is.",
        code="agent-key-unusable",
        exit_code=ExitCode.NOT_SIGNED_IN,
    )
