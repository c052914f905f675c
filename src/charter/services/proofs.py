"""Proofs of possession that come with requests: verified, and each of them taken once.

The signature is checked with the key that the proof itself carries; what makes that key *the*
agent's is that the credential names its thumbprint. A proof is remembered in the database for as
long as it could be shown again, so that a copy is refused at every replica.

Source: RFC 9449.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from charter.core.agents.proofs import (
    ALGORITHMS,
    PROOF_TYPE,
    Expected,
    thumbprint,
    wrong_with,
)
from charter.core.kernel.errors import UnauthenticatedError
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx

INVALID: Final = "invalid-proof"
REQUIRED: Final = "proof-required"
_LARGEST: Final = 4096
_FIX: Final = (
    "Send a fresh proof in the DPoP header for each request: signed by the agent's key, with jti, "
    "htm, htu, iat and ath (docs/guide/agent-builder.md)."
)


@dataclass(frozen=True, slots=True)
class Shown:
    """How a credential was shown: the scheme, the request, and what stood in the DPoP header.

    `path` is the address's path as it was sent. `proof` is None without the header, and the empty
    text where it came more than once, which is no proof at all.
    """

    scheme: str
    method: str
    path: str
    proof: str | None


def refused(what: str, code: str = INVALID) -> UnauthenticatedError:
    """The refusal of a proof."""
    return UnauthenticatedError(what, fix=_FIX, code=code)


def verified(rt: Runtime, tx: Tx, shown: Shown, *, token: str | None) -> str:
    """The thumbprint of the key that signed the proof; raises where it is none for this request.

    `tx` is written to: the proof counts once. Let it be committed whatever becomes of the request.
    """
    limits = rt.policy.active(tx).data.agents
    header, claims = _opened(shown.proof)
    jwk = header.get("jwk")
    key = thumbprint(jwk) if isinstance(jwk, Mapping) else None
    if key is None:
        raise refused("The proof carries no public key of a kind that is accepted here.")
    places = (rt.settings.url, f"http://{rt.settings.host}:{rt.settings.port}")
    expected = Expected(
        method=shown.method,
        urls=tuple(f"{place}{shown.path}" for place in places),
        token=token,
        now=tx.now,
        window_seconds=limits.proof_window_seconds,
        ahead_seconds=limits.proof_ahead_seconds,
    )
    wrong = wrong_with(claims, expected)
    if wrong is not None:
        raise refused(wrong)
    # It is refused by its age once it is older than the window; until then by this row.
    kept = limits.proof_window_seconds + limits.proof_ahead_seconds + 1
    if not tx.insert_new(
        t.shown_proofs,
        digest=hashlib.sha256(f"{key}.{claims['jti']}".encode()).digest(),
        expires_at=tx.now + timedelta(seconds=kept),
    ):
        raise refused("This proof was used already; each counts once.")
    return key


def _opened(proof: str | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims of a proof whose signature is that of the key in its header."""
    if proof is None:
        raise refused(
            "This credential is bound to a key, and the request carries no proof of it.", REQUIRED
        )
    if not proof or len(proof) > _LARGEST or not proof.isascii():
        raise refused("The DPoP header holds no proof, or more than one.")
    from joserfc import jwk, jws, jwt  # noqa: PLC0415 — loading JOSE takes time
    from joserfc.errors import JoseError  # noqa: PLC0415

    try:
        carried = jws.extract_compact(proof.encode()).headers()
        if carried.get("typ") != PROOF_TYPE or carried.get("alg") not in ALGORITHMS:
            raise refused("The proof is of another type, or signed in a way that is not accepted.")
        given = carried.get("jwk")
        if not isinstance(given, dict) or thumbprint(given) is None:
            raise refused("The proof carries no public key of a kind that is accepted here.")
        opened = jwt.decode(proof, jwk.import_key(given), algorithms=[str(carried["alg"])])
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise refused("The proof's signature is not that of the key it carries.") from error
    return opened.header, opened.claims


def forget_old(rt: Runtime) -> int:
    """Delete proofs that are too old to be shown again; answers how many."""
    with rt.database.unit_of_work() as tx:
        c = t.shown_proofs.c
        old = t.shown_proofs.delete().where(c.expires_at < tx.now - timedelta(seconds=1))
        return tx.conn.execute(old).rowcount
