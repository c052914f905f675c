"""Tokens that a provider signed: which of them are believed.

The algorithms are listed here and nowhere else: asymmetric signatures only. `none` is not among
them, and neither are the HMACs, with which anybody could sign who knows the provider's public key
if it were taken for the secret. The key is chosen by its id among the provider's keys of the type
that the algorithm needs; nothing that stands in the token (`jwk`, `jku`, `x5u`) leads to a key.

Sources: OpenID Connect Core 1.0 §3.1.3.7, Back-Channel Logout 1.0 §2.6, RFC 8725.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from charter.core.kernel.errors import UnauthenticatedError

if TYPE_CHECKING:
    from joserfc.jwk import Key

_KEY_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("Ed25519", "EdDSA"), "OKP"),
}
ALGORITHMS: Final = tuple(_KEY_TYPES)
LEEWAY_SECONDS: Final = 60  # how far two clocks may be apart
_LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_LOGOUT_SECONDS: Final = 600  # a logout that arrives later than this was held back by somebody
_LONGEST_TEXT: Final = 255  # of a subject (Core §2) and of the ids beside it


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a provider says of somebody who signed in. `claims` holds all of it."""

    subject: str
    provider_subject: str
    sid: str | None
    issued_at: datetime
    authenticated_at: datetime | None
    acr: str | None
    amr: tuple[str, ...]
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """What a logout token says: of whom, or of which session at the provider."""

    jti: str
    subject: str | None
    sid: str | None
    issued_at: datetime
    expires_at: datetime


def refused(why: str) -> UnauthenticatedError:
    """The refusal of a token."""
    return UnauthenticatedError(
        f"What the provider sent is not valid: {why}.",
        fix="Sign in again; if it happens again, an administrator compares the provider's settings"
        " with Charter's.",
        code="provider-token-invalid",
    )


def importable(documents: Iterable[Any]) -> list[Key]:
    """The keys of a key set that can check a signature; others are left out."""
    from joserfc.errors import JoseError  # noqa: PLC0415 — JOSE loads when somebody signs in
    from joserfc.jwk import JWKRegistry  # noqa: PLC0415

    keys = []
    for document in documents:
        if not isinstance(document, dict) or document.get("use", "sig") != "sig":
            continue
        if document.get("kty") not in set(_KEY_TYPES.values()):
            continue
        try:
            keys.append(JWKRegistry.import_key(document))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return keys


def choose(keys: Sequence[Key], kid: object, algorithm: object) -> Key | None:
    """The key that a token's header names; without a name, the only one that fits."""
    fitting = [
        key
        for key in keys
        if key.key_type == _KEY_TYPES.get(str(algorithm))
        and key.get("alg") in {None, algorithm}
        and (kid is None or key.kid == kid)
    ]
    return fitting[0] if len(fitting) == 1 else None


def opened(
    token: str, key_for: Callable[[object, object], Key]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims of a token whose signature holds; `key_for` finds a key by id and name."""
    from joserfc import jwt  # noqa: PLC0415 — as above
    from joserfc.errors import JoseError  # noqa: PLC0415

    try:
        found = jwt.decode(
            token,
            lambda of: key_for(of.headers().get("kid"), of.headers().get("alg")),
            algorithms=ALGORITHMS,
        )
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise refused("its signature does not hold") from error
    return found.header, found.claims


def signed_in(
    header: Mapping[str, Any],
    claims: Mapping[str, Any],
    *,
    issuer: str,
    client_id: str,
    nonce: str,
    subject_claim: str,
    access_token: str | None,
    now: datetime,
) -> SignedIn:
    """What an ID token says, if it was made for this client and this attempt."""
    _registered(claims, issuer, client_id, now, essential=("exp", "iat", "sub"))
    if header.get("typ") not in {None, "JWT"}:
        raise refused("it is no ID token")
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise refused("it belongs to another attempt to sign in")
    audience = claims["aud"]
    if "azp" in claims or (isinstance(audience, list) and len(audience) > 1):
        _expect(claims.get("azp") == client_id, "it was issued to another client")
    if access_token is not None and "at_hash" in claims:
        expected = _half_hash(access_token, str(header["alg"]))
        _expect(claims["at_hash"] == expected, "it belongs to another access token")
    auth_time = claims.get("auth_time")
    amr = claims.get("amr", [])
    acr = claims.get("acr")
    return SignedIn(
        subject=_text(claims, subject_claim),
        provider_subject=_text(claims, "sub"),
        sid=_text(claims, "sid") if "sid" in claims else None,
        issued_at=_moment(claims["iat"]),
        authenticated_at=None if auth_time is None else _moment(auth_time),
        acr=acr if isinstance(acr, str) else None,
        amr=tuple(each for each in amr if isinstance(each, str)) if isinstance(amr, list) else (),
        claims=claims,
    )


def logged_out(
    header: Mapping[str, Any],
    claims: Mapping[str, Any],
    *,
    issuer: str,
    client_id: str,
    now: datetime,
) -> LoggedOut:
    """What a logout token says, if it is one, was made for this client, and is new."""
    _registered(claims, issuer, client_id, now, essential=("iat", "jti"))
    if header.get("typ") not in {None, "JWT", "logout+jwt"}:
        raise refused("it is no logout token")
    events = claims.get("events")
    _expect(
        isinstance(events, dict) and isinstance(events.get(_LOGOUT_EVENT), dict),
        "it is no logout token",
    )
    _expect("nonce" not in claims, "an ID token is no logout token")
    issued_at = _moment(claims["iat"])
    _expect((now - issued_at).total_seconds() <= _LOGOUT_SECONDS, "it is too old")
    subject = _text(claims, "sub") if "sub" in claims else None
    sid = _text(claims, "sid") if "sid" in claims else None
    _expect(subject is not None or sid is not None, "it names nobody")
    return LoggedOut(
        jti=_text(claims, "jti"),
        subject=subject,
        sid=sid,
        issued_at=issued_at,
        # A replay is recognised for as long as the token would be taken.
        expires_at=datetime.fromtimestamp(
            issued_at.timestamp() + _LOGOUT_SECONDS + LEEWAY_SECONDS, UTC
        ),
    )


def _registered(
    claims: Mapping[str, Any],
    issuer: str,
    client_id: str,
    now: datetime,
    *,
    essential: tuple[str, ...],
) -> None:
    from joserfc import jwt  # noqa: PLC0415 — as above
    from joserfc.errors import JoseError  # noqa: PLC0415
    from joserfc.jwt import ClaimsOption  # noqa: PLC0415

    wanted: dict[str, ClaimsOption] = {name: {"essential": True} for name in essential}
    wanted["iss"] = {"essential": True, "value": issuer}
    wanted["aud"] = {"essential": True, "value": client_id}
    registry = jwt.JWTClaimsRegistry(int(now.timestamp()), LEEWAY_SECONDS, **wanted)
    try:
        registry.validate(dict(claims))
    except JoseError as error:
        claim = getattr(error, "claim", None)
        raise refused(f"{claim} does not fit" if claim else "its claims do not fit") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise refused("its claims cannot be read") from error


def _expect(holds: bool, why: str) -> None:
    if not holds:
        raise refused(why)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TEXT or "\x00" in value:
        raise refused(f"its claim {name} is missing or no text")
    return value


def _moment(value: object) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refused("it holds a time that is no number")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise refused("it holds a time that cannot be") from error


def _half_hash(access_token: str, algorithm: str) -> str:
    """`at_hash` (Core §3.1.3.6): the left half of the hash that the signature uses."""
    size = algorithm[-3:] if algorithm[-3:].isdigit() and algorithm[:2] != "Ed" else "512"
    digest = hashlib.new(f"sha{size}", access_token.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
