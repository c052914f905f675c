"""Token exchange (RFC 8693): what somebody holds, for a credential with which an agent acts.

The request names the agent as the client (`client_id`) and shows on whose behalf it is to act: a
personal token or session of its sponsor; its own credential, to carry on; or the credential of the
agent that it works for. What comes back is bound to this instance as its audience, says in `act`
who acts for whom, and is never wider than any of them. RFC 9449 binds it to a key: with a proof in
the DPoP header, or with the key's thumbprint in `dpop_jkt`.

Refusals are told in the words of RFC 6749 §5.2; `ExchangeError` carries them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from charter.core.access.permissions import Permission
from charter.core.agents.proofs import ALGORITHMS, THUMBPRINT
from charter.core.kernel.errors import (
    CharterError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    TooManyError,
    UnavailableError,
)
from charter.services import agent_credentials, identity, networks, proofs, secrets
from charter.services import agent_records as records
from charter.services.access import carry_out
from charter.services.agent_credentials import INVALID_SCOPE, Wanted
from charter.services.agent_identity import (
    SUPERSEDED,
    audience,
    check_live,
    lock_agent,
    recognise,
)
from charter.services.attempts import Door
from charter.services.decisions import Answer
from charter.services.proofs import Shown
from charter.services.runtime import Caller, Runtime
from charter.services.subjects import load_agent
from charter.store.unit_of_work import Tx

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a type
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
_KNOWN: Final = frozenset(
    {
        "grant_type",
        "client_id",
        "subject_token",
        "subject_token_type",
        "requested_token_type",
        "audience",
        "resource",
        "scope",
        "dpop_jkt",
    }
)
_LARGEST: Final = 8192


class ExchangeError(Exception):
    """A refusal as RFC 6749 §5.2 has it."""

    def __init__(
        self,
        error: str,
        description: str,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class _Asked:
    """The request, checked as far as it can be without looking anything up."""

    client: str | None
    token: str
    scope: frozenset[str] | None
    thumbprint: str | None


def metadata(rt: Runtime) -> dict[str, Any]:
    """What this authorization server does (RFC 8414)."""
    url = rt.settings.url
    return {
        "issuer": url,
        "token_endpoint": f"{url}/oauth/token",
        "jwks_uri": f"{url}/oauth/jwks",
        "grant_types_supported": [GRANT],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
        "scopes_supported": [permission.value for permission in Permission],
        "service_documentation": f"{url}/api/v1/openapi.json",
    }


def exchange(
    rt: Runtime, form: Mapping[str, str], shown: Shown, ip: str | None = None
) -> dict[str, Any]:
    """The answer of the token endpoint to this form; raises `ExchangeError`."""
    asked = _read(rt, form)
    key: str | None = None
    try:
        if shown.proof is not None:
            # Used up, whatever becomes of the request. It goes with no credential in the header.
            with rt.database.unit_of_work() as tx:
                key = proofs.verified(rt, tx, shown, token=None)
        made = _exchanged(rt, asked, key, ip)
    except CharterError as error:
        if error.code == SUPERSEDED:
            agent_credentials.report_reuse(rt, asked.token, key)
        raise _as_oauth(error) from error
    return {
        "access_token": made["token"],
        "issued_token_type": ACCESS_TOKEN,
        "token_type": made["token_type"],
        "expires_in": made["expires_in"],
        "scope": " ".join(made["scope"]),
    }


def _read(rt: Runtime, form: Mapping[str, str]) -> _Asked:
    if form.get("grant_type") != GRANT:
        raise ExchangeError("unsupported_grant_type", f"The grant type is {GRANT}.")
    if "actor_token" in form:
        raise ExchangeError(
            "invalid_request",
            "The acting agent is named by client_id and proves its key; send no actor_token.",
        )
    unknown = sorted(set(form) - _KNOWN)
    if unknown:
        raise ExchangeError("invalid_request", f"Unknown parameter: {unknown[0][:60]!r}.")
    if form.get("subject_token_type") not in (ACCESS_TOKEN, JWT):
        raise ExchangeError("invalid_request", f"subject_token_type has to be {ACCESS_TOKEN}.")
    if form.get("requested_token_type", ACCESS_TOKEN) not in (ACCESS_TOKEN, JWT):
        raise ExchangeError("invalid_request", f"requested_token_type can be {ACCESS_TOKEN} only.")
    for target in ("audience", "resource"):
        if form.get(target, audience(rt)) not in (audience(rt), rt.settings.url):
            raise ExchangeError(
                "invalid_target", f"Credentials are issued for {audience(rt)} and nothing else."
            )
    thumbprint = form.get("dpop_jkt")
    if thumbprint is not None and not THUMBPRINT.match(thumbprint):
        raise ExchangeError("invalid_request", "dpop_jkt is no SHA-256 thumbprint of a key.")
    token = form.get("subject_token", "")
    if not 0 < len(token) <= _LARGEST or not token.isascii():
        raise ExchangeError("invalid_request", "The subject_token is missing or unusable.")
    return _Asked(form.get("client_id"), token, _scope(form.get("scope")), thumbprint)


def _scope(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    names = frozenset(text.split(" "))
    unknown = sorted(names - {permission.value for permission in Permission})
    if unknown:
        raise ExchangeError("invalid_scope", f"There is no permission {unknown[0][:60]!r}.")
    return names


def _exchanged(rt: Runtime, asked: _Asked, key: str | None, ip: str | None) -> dict[str, Any]:
    bearer = secrets.parse(asked.token)
    if bearer is None:
        return _for_agent(rt, asked, key, ip)
    if bearer.kind == "ses":
        person = identity.authenticate_session(rt, asked.token, ip)
    else:
        person = identity.authenticate_bearer(rt, asked.token, ip)
    if asked.client is None:
        raise InvalidInputError(
            "The request does not say which agent is to act.", fix="Name it by client_id."
        )
    client = asked.client
    if None not in (key, asked.thumbprint) and key != asked.thumbprint:
        raise proofs.refused("dpop_jkt names another key than the one that signed the proof.")

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        agent = agent_credentials.of_sponsor(tx, person, records.find(tx, person, client))
        wanted = Wanted(key or asked.thumbprint, asked.scope, asked.scope is not None)
        return _timed(tx, agent_credentials.hand_out(rt, tx, person, agent, answer, wanted))

    return carry_out(
        rt,
        lambda tx: agent_credentials.question(tx, person, records.find(tx, person, client)),
        act,
    )


def _timed(tx: Tx, made: dict[str, Any]) -> dict[str, Any]:
    return {**made, "expires_in": int((made["expires_at"] - tx.now).total_seconds())}


def _for_agent(rt: Runtime, asked: _Asked, key: str | None, ip: str | None) -> dict[str, Any]:
    """With an agent's own credential: the next one for itself, or one for its sub-agent."""
    with identity.guarded(rt, Door.BEARER, ip), rt.database.reading() as tx:
        found = recognise(rt, tx, asked.token)
        why = networks.admit(rt, tx, found.agent, found.row["id"], ip)
    caller = Caller(found.agent, "agent", found.row["id"], ip=ip, key=key, networks=why)
    own = asked.client in (None, caller.id)
    wanted = Wanted(key if own else asked.thumbprint, asked.scope, asked.scope is not None)

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        if own:
            if asked.thumbprint not in (None, key):
                raise proofs.refused("dpop_jkt names another key than the one that was proved.")
            return _timed(tx, agent_credentials.renew(rt, tx, caller, answer, wanted))
        return _timed(tx, _for_sub_agent(rt, tx, caller, asked, answer, wanted))

    return carry_out(rt, lambda tx: agent_credentials.question(tx, caller, caller.id), act)


def _for_sub_agent(
    rt: Runtime, tx: Tx, caller: Caller, asked: _Asked, answer: Answer, wanted: Wanted
) -> dict[str, Any]:
    """A credential for an agent that works for the caller, whose own must be alive and proved."""
    parent = recognise(rt, tx, asked.token, lock=True)
    agent_credentials.check_usable(rt, tx, parent.row, parent.agent, caller.key)
    check_live(rt, tx, parent.agent)
    child = load_agent(tx, str(asked.client))
    if child is None or child.parent is None or child.parent.id != caller.id:
        raise _not_yours()
    if not rt.policy.active(tx).data.agents.sub_agents:
        raise ForbiddenError(
            "Policy does not let agents have agents of their own.",
            fix="The sponsor can run an agent of their own for this: charter agent create.",
            code="no-sub-agents",
        )
    lock_agent(tx, child.id)
    child = load_agent(tx, child.id) or child
    if parent.agent.scope is not None:
        # What the parent's credential was narrowed to bounds whatever comes from it.
        scope = frozenset(p.value for p in parent.agent.scope)
        wanted = agent_credentials.within(wanted, scope)
    return agent_credentials.hand_out(rt, tx, caller, child, answer, wanted)


def _not_yours() -> NotFoundError:
    return NotFoundError(
        "There is no such agent, or it does not work for the one whose credential is shown.",
        fix="Check client_id.",
    )


def _as_oauth(error: CharterError) -> ExchangeError:
    said = f"{error.message} {error.fix}"
    if isinstance(error, UnavailableError | TooManyError):
        return ExchangeError("temporarily_unavailable", said, error.status, error.headers)
    if error.code in (proofs.INVALID, proofs.REQUIRED):
        return ExchangeError("invalid_dpop_proof", said)
    if error.code == INVALID_SCOPE:
        return ExchangeError("invalid_scope", said)
    # Whatever is wrong with the subject_token is an invalid request (RFC 8693 §2.2.2).
    return ExchangeError("invalid_request", said)
