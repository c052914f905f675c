"""A served Charter beside a real OpenID provider, and a browser that walks between the two.

The provider is npm's oidc-provider (`tools/peers/oidc`). Three clients of it are three providers
to Charter, because policy is kept by provider: `corp` makes accounts and maps groups, `mail` links
verified addresses, `closed` does neither.
"""

from __future__ import annotations

import dataclasses
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import pytest
import sqlalchemy as sa
from joserfc import jwt
from joserfc.jwk import RSAKey

from charter import clock
from charter.core.audit.event import ActorRef
from charter.server import build_app
from charter.services import identity, policy_bundles
from charter.services.runtime import Caller
from charter.settings import OidcProviderSettings
from charter.store import tables as t
from charter.wiring import sign_in_providers
from tests.conftest import fresh_world
from tests.peers import free_port, oidc_provider, running_oidc_provider, why_no_oidc_provider
from tests.portal.instance import serving
from tests.support import BRIEF, Clock, World

SECRET: Final = "a secret with odd characters: +/%&="
_FACTORS: Final = {"acr": ["phr"], "amr": ["mfa", "pwd+otp"]}


def policy(**changes: Any) -> dict[str, Any]:
    """What policy says of one provider."""
    return {
        "create_people": False,
        "link_by_verified_email": False,
        "allowed_groups": [],
        "second_factor": _FACTORS,
        "groups": {},
        **changes,
    }


POLICY: Final = {
    "default": policy(),
    "providers": {
        "corp": policy(
            create_people=True,
            groups={
                "payments-dev": {
                    "teams": ["payments"],
                    "roles": [{"role": "developer", "team": "payments"}],
                },
                "everybody": {"teams": [], "roles": [{"role": "read-only"}]},
                "operators": {"teams": [], "roles": [{"role": "platform-admin"}]},
                "watchers": {"teams": [], "roles": [{"role": "security-admin"}]},
                "ghosts": {"teams": ["ghosts"], "roles": [{"role": "developer", "team": "ghosts"}]},
            },
        ),
        "mail": policy(link_by_verified_email=True),
        "club": policy(create_people=True, allowed_groups=["members"]),
    },
}


@cache
def signing_key(name: str = "first") -> RSAKey:
    """A provider's key; two names are two keys."""
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"})


class Ahead(Clock):
    """The real clock, and as far ahead of it as a test wants."""

    ahead = timedelta()

    def __call__(self) -> datetime:
        return clock.now() + self.ahead

    def advance(self, **span: float) -> None:
        self.ahead += timedelta(**span)


@dataclass
class Provider:
    """The running provider, and what an administrator of it can do."""

    port: int
    folder: Path
    clients: list[dict[str, Any]]
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: tuple[str, ...] = ("first",)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        found = oidc_provider()
        assert found is not None
        configuration = self.folder / "provider.json"
        keys = [signing_key(name).as_dict(private=True) for name in self.keys]
        document = {
            "port": self.port,
            "jwks": {"keys": keys},
            "clients": self.clients,
            "accounts": self.accounts,
        }
        configuration.write_text(json.dumps(document))
        log = self.folder / "provider.log"
        self._stack.enter_context(running_oidc_provider(found, configuration, self.port, log))

    def stop(self) -> None:
        self._stack.close()

    def account(self, login: str, **claims: Any) -> None:
        self.accounts[login] = claims
        httpx2.put(f"{self.issuer}/control/accounts", json=self.accounts).raise_for_status()

    def report(self, **login: Any) -> None:
        """How the next logins are reported: acr, amr, ts."""
        httpx2.put(f"{self.issuer}/control/login", json=login).raise_for_status()


class Browser:
    """Cookies, and redirects that are followed from one site to the other."""

    def __init__(self, charter: str) -> None:
        self.charter = charter
        self.http = httpx2.Client(timeout=30, trust_env=False)
        self.seen: list[str] = []

    def go(self, url: str, *, stop_at: str | None = None) -> httpx2.Response:
        """Open an address and follow where it leads, up to an address that holds `stop_at`."""
        return self._follow(self.http.get(urljoin(self.charter, url)), stop_at)

    def send(self, url: str, fields: Mapping[str, str], *, stop_at: str | None = None) -> Any:
        """Send a form and follow."""
        return self._follow(self.http.post(urljoin(self.charter, url), data=fields), stop_at)

    def _follow(self, response: httpx2.Response, stop_at: str | None) -> httpx2.Response:
        for _ in range(12):
            self.seen.append(str(response.url))
            if not response.is_redirect:
                return response
            target = urljoin(str(response.url), response.headers["location"])
            if stop_at is not None and stop_at in target:
                self.seen.append(target)
                return response
            response = self.http.get(target)
        raise AssertionError("too many redirects")

    def login(
        self, who: str, name: str = "corp", *, query: str = "", stop_at: str | None = None
    ) -> httpx2.Response:
        """From Charter's button through the provider's form and back."""
        page = self.go(f"/sign-in/oidc/{name}/start{query}", stop_at=stop_at)
        return self.fill_in(page, who, stop_at=stop_at)

    def fill_in(
        self, page: httpx2.Response, who: str, *, stop_at: str | None = None
    ) -> httpx2.Response:
        """The provider's login form, where it is shown."""
        action = re.search(r'action="(/interaction/[^"]+)"', page.text)
        if action is None:
            return page
        url = urljoin(str(page.url), action[1])
        return self.send(url, {"login": who, "do": "login"}, stop_at=stop_at)

    def callback(self, who: str, name: str = "corp", *, query: str = "") -> str:
        """The address with which the provider would send this browser back; not opened."""
        self.login(who, name, query=query, stop_at="/callback?")
        assert "/callback?" in self.seen[-1], self.seen
        return self.seen[-1]

    def forget_provider(self) -> None:
        """Lose what the provider remembers this browser by."""
        for cookie in list(self.http.cookies.jar):
            if not cookie.name.startswith("charter_"):
                self.http.cookies.jar.clear(cookie.domain, cookie.path, cookie.name)

    @property
    def session(self) -> str | None:
        return self.cookie("charter_session")

    def cookie(self, name: str) -> str | None:
        return self.http.cookies.get(name)


@dataclass
class Sso:
    """Charter, served, and the provider."""

    world: World
    provider: Provider
    browsers: list[Browser] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.world.rt.settings.url

    def browser(self) -> Browser:
        """A new one, which is closed at the end."""
        self.browsers.append(Browser(self.url))
        return self.browsers[-1]

    def caller(self, browser: Browser) -> Caller:
        """Who is signed in in this browser; raises when nobody is."""
        return identity.authenticate_session(self.world.rt, browser.session or "")

    def handle(self, browser: Browser) -> str:
        """Whose session this is."""
        return self.caller(browser).person.handle

    def logout_claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good logout token for corp; None leaves one out."""
        at = int(self.world.clock().timestamp())
        found = {
            "iss": self.provider.issuer,
            "aud": "corp",
            "iat": at,
            "exp": at + 120,
            "jti": uuid.uuid4().hex,
            "sub": "victim",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            **changes,
        }
        return {name: value for name, value in found.items() if value is not None}

    def log_out(self, who: str) -> None:
        """The provider says that all sessions of this account are over."""
        token = signed(self.logout_claims(sub=who), signing_key(self.provider.keys[0]))
        address = f"{self.url}/sign-in/oidc/corp/logout"
        httpx2.post(address, data={"logout_token": token}).raise_for_status()

    def events(self, action: str) -> list[dict[str, Any]]:
        """The events of that action, oldest first."""
        with self.world.rt.database.reading() as tx:
            query = sa.select(t.audit_pending.c.leaf).order_by(t.audit_pending.c.event_id)
            leaves = [json.loads(bytes(row["leaf"])) for row in tx.all(query)]
        return [leaf for leaf in leaves if leaf["action"] == action]


def signed(claims: dict[str, Any], key: Any = None, **header: Any) -> str:
    """A token that the provider could have signed."""
    key = key or signing_key("first")
    said = {"alg": "RS256", "kid": key.kid, "typ": "logout+jwt", **header}
    return jwt.encode(said, claims, key, algorithms=["RS256", "HS256"])


def put_policy(world: World, document: Mapping[str, Any]) -> None:
    """Put the starter's rules with this document in force."""
    bundle = BRIEF.with_files({"data/single_sign_on.json": json.dumps(document)})
    with world.rt.database.unit_of_work() as tx:
        policy_bundles.store_bundle(tx, bundle, loaded_by="test", note_text="For a test.")
        policy_bundles.put_in_force(
            world.rt,
            tx,
            bundle.digest,
            kind=policy_bundles.Kind.BOOTSTRAP,
            by=ActorRef("system", "test"),
            why="For a test.",
        )


def _clients(charter: str) -> list[dict[str, Any]]:
    secrets: dict[str, dict[str, Any]] = {
        "corp": {"client_secret": SECRET},
        "mail": {"token_endpoint_auth_method": "none"},
        "closed": {"token_endpoint_auth_method": "none"},
        "club": {"token_endpoint_auth_method": "none"},
    }
    return [
        {
            "client_id": name,
            "redirect_uris": [f"{charter}/sign-in/oidc/{name}/callback"],
            "post_logout_redirect_uris": [f"{charter}/sign-in"],
            "backchannel_logout_uri": f"{charter}/sign-in/oidc/{name}/logout",
            "backchannel_logout_session_required": True,
            "require_auth_time": False,
            **secret,
        }
        for name, secret in secrets.items()
    ]


@contextmanager
def running_sso(postgres_url: str, folder: Path) -> Iterator[Sso]:
    """Both, on ports of this machine."""
    if oidc_provider() is None:
        pytest.skip(why_no_oidc_provider())
    now = Ahead()
    with ExitStack() as stack:
        world = stack.enter_context(fresh_world(postgres_url, folder / "state", now))
        world.cast()
        put_policy(world, POLICY)
        port = free_port()
        charter = f"http://127.0.0.1:{port}"
        provider = Provider(free_port(), folder, _clients(charter))
        (folder / "secret").write_text(SECRET + "\n")
        providers = {
            name: OidcProviderSettings(
                issuer=provider.issuer,
                client_id=name,
                client_secret_file=folder / "secret" if name == "corp" else None,
                label=name.title(),
                scopes="openid profile email groups",
                acr_values="phr" if name == "corp" else "",
            )
            for name in ("corp", "mail", "closed", "club")
        }
        settings = world.rt.settings.model_copy(update={"port": port, "oidc": providers})
        world.rt = dataclasses.replace(
            world.rt, settings=settings, sign_in_providers=sign_in_providers(settings, now)
        )
        for each in world.rt.sign_in_providers.values():
            stack.callback(each.close)
        provider.start()
        stack.callback(provider.stop)
        stack.enter_context(serving(build_app(world.rt), port))
        sso = Sso(world, provider)
        try:
            yield sso
        finally:
            for browser in sso.browsers:
                browser.http.close()


def parameters(url: str) -> dict[str, str]:
    """The query of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
