"""An agent that speaks for itself: it has a key, makes proofs, and exchanges what it was given."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey
from starlette.testclient import TestClient

from charter.core.agents.proofs import thumbprint, token_hash
from charter.services import agents
from charter.services.token_exchange import ACCESS_TOKEN, GRANT
from tests.support import World

ASKED: dict[str, Any] = {
    "name": "fixer",
    "task": "Mend the flaky test.",
    "repositories": ["git.example.org/payments/api"],
    "tier": "sandboxed",
    "minutes": 60,
}


def sponsored(world: World, who: str = "dana", **fields: object) -> dict[str, Any]:
    """An agent of `who`, as `agents.create` answers."""
    return agents.create(world.rt, world.caller(who), {**ASKED, **fields})


@dataclass
class Key:
    """A key of an agent's own."""

    algorithm: str = "Ed25519"
    private: Any = field(default=None)

    def __post_init__(self) -> None:
        if self.private is None:
            made = ECKey.generate_key("P-256") if self.algorithm == "ES256" else None
            self.private = made or OKPKey.generate_key("Ed25519")

    @property
    def public(self) -> dict[str, Any]:
        return {k: v for k, v in self.private.as_dict(private=False).items() if k != "kid"}

    @property
    def thumbprint(self) -> str:
        return str(thumbprint(self.public))

    def proof(
        self,
        world: World,
        method: str,
        path: str,
        *,
        token: str | None = None,
        header: dict[str, Any] | None = None,
        **claims: object,
    ) -> str:
        """A proof for one request; `header` and `claims` make it another one."""
        said: dict[str, Any] = {
            "jti": secrets.token_urlsafe(12),
            "htm": method,
            "htu": f"{world.rt.settings.url}{path}",
            "iat": int(world.rt.now().timestamp()),
        }
        if token is not None:
            said["ath"] = token_hash(token)
        said |= claims
        head = {"alg": self.algorithm, "typ": "dpop+jwt", "jwk": self.public, **(header or {})}
        return str(
            jwt.encode(
                head,
                {k: v for k, v in said.items() if v is not None},
                self.private,
                algorithms=[head["alg"]],
            )
        )


def with_proof(
    http: TestClient, world: World, key: Key, token: str, method: str, path: str, **parts: Any
) -> Any:
    """The answer to a request with a bound credential and a fresh proof."""
    proof = key.proof(world, method, path.split("?", maxsplit=1)[0], token=token)
    headers = {"Authorization": f"DPoP {token}", "DPoP": proof, **parts.pop("headers", {})}
    return http.request(method, path, headers=headers, **parts)


def exchange(
    http: TestClient, token: str, *, proof: str | None = None, **fields: str | None
) -> Any:
    """The answer of the token endpoint."""
    form = {
        "grant_type": GRANT,
        "subject_token": token,
        "subject_token_type": ACCESS_TOKEN,
        **fields,
    }
    headers = {} if proof is None else {"DPoP": proof}
    sent = {name: value for name, value in form.items() if value is not None}
    return http.post("/oauth/token", data=sent, headers=headers)


def bound(http: TestClient, world: World, key: Key, token: str, **fields: str | None) -> str:
    """A credential that is bound to `key`, for the token that somebody holds."""
    answer = exchange(http, token, proof=key.proof(world, "POST", "/oauth/token"), **fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])
