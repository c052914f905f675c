"""An OpenID provider: what it says about itself, its keys, and the exchange of a code.

Everything but the issuer is discovered. What was learnt is kept for an hour, so that a key that the
provider withdraws is not believed for longer; a token with an unknown key id has the keys fetched
anew, at most every half minute, so that a new key is known at once and a made-up id asks for
nothing. A provider that did not answer is left alone for some seconds.

The redirect address is one for each provider, and the issuer that comes back with the browser
is compared (RFC 9207), so that the answer of one provider is never taken for another's.

Sources: OpenID Connect Core and Discovery 1.0, RFC 6749, 7636, 9207. Spec ID-3.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, urlencode, urlsplit

from charter.adapters.identity import tokens
from charter.adapters.identity.fetch import Fetcher, trustworthy
from charter.core.access.sign_in_attempt import Attempt
from charter.core.kernel.errors import CharterError, ForbiddenError, UnavailableError

if TYPE_CHECKING:
    from joserfc.jwk import Key

_KEPT: Final = timedelta(hours=1)
_BETWEEN_KEY_FETCHES: Final = timedelta(seconds=30)
_BETWEEN_LOOKS: Final = timedelta(seconds=5)
_BETWEEN_FAILURES: Final = timedelta(seconds=5)
_OK: Final = 200
_FROM_USERINFO: Final = ("email", "preferred_username", "name")


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """What an operator says of a provider; `settings.OidcProviderSettings` explains each."""

    name: str
    issuer: str
    client_id: str
    label: str
    client_secret_file: Path | None = None
    scopes: str = "openid profile email"
    acr_values: str = ""
    subject_claim: str = "sub"
    groups_claim: str = "groups"


@dataclass(frozen=True, slots=True)
class ProviderState:
    """How a provider stands, for people who operate Charter."""

    name: str
    label: str
    issuer: str
    usable: bool
    message: str
    signing_keys: int
    ends_sessions: bool


@dataclass(frozen=True, slots=True)
class _Known:
    """What was learnt from the provider, and when."""

    metadata: Mapping[str, Any]
    keys: Sequence[Key]
    learnt_at: datetime
    keys_at: datetime


@dataclass
class OidcProvider:
    """One provider. `now` is the clock; tests give their own."""

    config: ProviderConfig
    redirect_uri: str
    now: Callable[[], datetime]
    _known: _Known | None = field(default=None, init=False)
    _failed: tuple[datetime, UnavailableError] | None = field(default=None, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    def __post_init__(self) -> None:
        """Nothing is asked before somebody signs in: a provider that is down stops no start."""
        self._fetcher = Fetcher(self.config.label, self.config.issuer)

    def close(self) -> None:
        """Give the connections back."""
        self._fetcher.close()

    # --- what the browser is sent away with and comes back with ---------------------------
    def authorization_url(self, attempt: Attempt, max_age_seconds: int) -> str:
        """Where the browser goes to sign in."""
        asked = {
            "response_type": "code",
            "client_id": self.config.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.config.scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
            # An age is always asked for: with it, the provider must say when it last saw a proof.
            "max_age": "0" if attempt.fresh else str(max_age_seconds),
        }
        if attempt.fresh:
            asked["prompt"] = "login"
        if self.config.acr_values:
            asked["acr_values"] = self.config.acr_values
        return _with_query(self._endpoint("authorization_endpoint"), asked)

    def check_issuer(self, given: str | None) -> None:
        """Refuse an answer that another provider sent (RFC 9207)."""
        promised = self._learnt().metadata.get("authorization_response_iss_parameter_supported")
        if given != self.config.issuer and (given is not None or promised is True):
            raise ForbiddenError(
                f"The answer does not come from {self.config.label}, so it was not used.",
                fix="Sign in again from Charter's own page.",
                code="provider-mixed-up",
            )

    def exchange(self, code: str, attempt: Attempt) -> tokens.SignedIn:
        """Who signed in, for the code that the browser brought back."""
        answer = self._fetcher.post(
            self._endpoint("token_endpoint"),
            *self._authenticated(
                {
                    "grant_type": "authorization_code",
                    "code": code,
                    "redirect_uri": self.redirect_uri,
                    "code_verifier": attempt.verifier,
                }
            ),
        )
        id_token = answer.body.get("id_token")
        if answer.status != _OK or not isinstance(id_token, str):
            why = answer.body.get("error")
            if why in {"invalid_client", "unauthorized_client"}:
                raise self._fetcher.unavailable("it does not accept Charter's client secret")
            raise tokens.refused("the code was used already, has expired or is not ours")
        access_token = answer.body.get("access_token")
        access_token = access_token if isinstance(access_token, str) else None
        header, claims = tokens.opened(id_token, self._key)
        found = tokens.signed_in(
            header,
            claims,
            issuer=self.config.issuer,
            client_id=self.config.client_id,
            nonce=attempt.nonce,
            subject_claim=self.config.subject_claim,
            access_token=access_token,
            now=self.now(),
        )
        return self._completed(found, access_token)

    def logged_out(self, logout_token: str) -> tokens.LoggedOut:
        """What a logout token says; raises when it is not to be believed."""
        header, claims = tokens.opened(logout_token, self._key)
        return tokens.logged_out(
            header,
            claims,
            issuer=self.config.issuer,
            client_id=self.config.client_id,
            now=self.now(),
        )

    def logout_url(self, back_to: str) -> str | None:
        """Where a browser ends the session at the provider; None where it offers no such thing."""
        try:
            endpoint = self._learnt().metadata.get("end_session_endpoint")
        except UnavailableError:
            return None
        if not isinstance(endpoint, str) or not trustworthy(endpoint):
            return None
        asked = {"client_id": self.config.client_id, "post_logout_redirect_uri": back_to}
        return _with_query(endpoint, asked)

    def state(self) -> ProviderState:
        """How the provider stands at this moment: what was learnt earlier does not count."""
        config = self.config
        try:
            known = self._learnt(_BETWEEN_LOOKS)
            self._secret()
        except CharterError as error:
            return ProviderState(
                config.name, config.label, config.issuer, False, error.message, 0, False
            )
        count = len(known.keys)
        return ProviderState(
            config.name,
            config.label,
            config.issuer,
            True,
            f"{config.issuer} answers, with {count} signing key{'' if count == 1 else 's'}",
            len(known.keys),
            known.metadata.get("backchannel_logout_supported") is True,
        )

    # --- parts ----------------------------------------------------------------------------
    def _completed(self, found: tokens.SignedIn, access_token: str | None) -> tokens.SignedIn:
        """With what only the userinfo endpoint tells; how strongly somebody signed in never is."""
        endpoint = self._learnt().metadata.get("userinfo_endpoint")
        wanted = {*_FROM_USERINFO, self.config.groups_claim}
        if access_token is None or not isinstance(endpoint, str) or wanted <= set(found.claims):
            return found
        answer = self._fetcher.get(endpoint, {"Authorization": f"Bearer {access_token}"})
        if answer.status != _OK:
            return found
        if answer.body.get("sub") != found.provider_subject:  # Core §5.3.2: somebody else's
            raise tokens.refused("its two answers are about different people")
        return replace(found, claims={**answer.body, **found.claims})

    def _authenticated(self, fields: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Headers and fields with which Charter proves to be the client (RFC 6749 §2.3.1)."""
        secret = self._secret()
        if secret is None:
            return {}, {**fields, "client_id": self.config.client_id}
        methods = self._learnt().metadata.get("token_endpoint_auth_methods_supported")
        if isinstance(methods, list) and "client_secret_basic" not in methods:
            proof = {"client_id": self.config.client_id, "client_secret": secret}
            return {}, {**fields, **proof}
        pair = f"{quote_plus(self.config.client_id)}:{quote_plus(secret)}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}, fields

    def _secret(self) -> str | None:
        if self.config.client_secret_file is None:
            return None
        try:
            secret = self.config.client_secret_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self._fetcher.unavailable("its client secret cannot be read") from error
        if not secret:
            raise self._fetcher.unavailable("its client secret is empty")
        return secret

    def _endpoint(self, name: str) -> str:
        found = self._learnt().metadata.get(name)
        if not isinstance(found, str) or not trustworthy(found):
            raise self._fetcher.unavailable(f"its discovery document names no usable {name}")
        return found

    def _key(self, kid: object, algorithm: object) -> Key:
        known = self._learnt()
        key = tokens.choose(known.keys, kid, algorithm)
        if key is None:
            with self._lock:
                known = self._learnt()
                if not _within(_BETWEEN_KEY_FETCHES, known.keys_at, self.now()):
                    known = replace(known, keys=self._keys(known.metadata), keys_at=self.now())
                    self._known = known
            key = tokens.choose(known.keys, kid, algorithm)
        if key is None:
            raise tokens.refused("it is signed with a key that the provider does not publish")
        return key

    def _learnt(self, kept: timedelta = _KEPT) -> _Known:
        """What is known of the provider, learnt anew when it is older than `kept`."""
        with self._lock:
            now = self.now()
            if self._known is not None and _within(kept, self._known.learnt_at, now):
                return self._known
            if self._failed is not None and _within(_BETWEEN_FAILURES, self._failed[0], now):
                raise self._failed[1]
            try:
                metadata = self._discovered()
                self._known = _Known(metadata, self._keys(metadata), now, now)
            except UnavailableError as error:
                self._failed = (now, error)
                raise
            self._failed = None
            return self._known

    def _discovered(self) -> Mapping[str, Any]:
        issuer = self.config.issuer
        answer = self._fetcher.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if answer.status != _OK or not answer.body:
            raise self._fetcher.unavailable("it has no discovery document")
        if answer.body.get("issuer") != issuer:
            raise self._fetcher.unavailable(
                "its discovery document is another issuer's; CHARTER_OIDC must name the issuer"
                " exactly as the provider does"
            )
        return answer.body

    def _keys(self, metadata: Mapping[str, Any]) -> Sequence[Key]:
        address = metadata.get("jwks_uri")
        if not isinstance(address, str):
            raise self._fetcher.unavailable("it publishes no keys")
        listed = self._fetcher.get(address).body.get("keys")
        keys = tokens.importable(listed if isinstance(listed, list) else [])
        if not keys:
            raise self._fetcher.unavailable("it publishes no key that can check a signature")
        return keys


def _within(span: timedelta, since: datetime, now: datetime) -> bool:
    """Whether less than `span` has passed; never when the clock was put back meanwhile."""
    return timedelta(0) <= now - since < span


def _with_query(url: str, fields: Mapping[str, str]) -> str:
    separator = "&" if urlsplit(url).query else "?"
    return f"{url}{separator}{urlencode(fields)}"
