"""Signing in from a command line, and personal tokens."""

from __future__ import annotations

from fastapi import APIRouter, Response

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, AddressDep, CallerDep, RuntimeDep
from charter.services import identity, overview, single_sign_on, tokens

router = APIRouter(tags=["identity"], responses=PROBLEMS)


@router.post("/sign-in", status_code=201)
def sign_in(rt: RuntimeDep, address: AddressDep, body: s.SignInIn) -> s.TokenOut:
    """Use a one-time link up for a personal token that lives as long as a session."""
    made = identity.exchange_link_for_token(
        rt, body.link, body.token_name, address, verifier=body.verifier
    )
    return s.TokenOut(**made)


@router.get("/sign-in/providers")
def providers(rt: RuntimeDep) -> s.Page[s.WayOut]:
    """The OpenID providers that people may sign in with, in a browser."""
    return s.Page[s.WayOut](items=[s.WayOut(**way) for way in single_sign_on.ways(rt)])


@router.get("/sign-in/providers/state")
def provider_states(rt: RuntimeDep, caller: CallerDep) -> s.Page[s.ProviderStateOut]:
    """How each provider stands, for operators."""
    found = single_sign_on.states(rt, caller)
    return s.Page[s.ProviderStateOut](items=[s.ProviderStateOut(**each) for each in found])


@router.post("/sign-out", status_code=204)
def sign_out(rt: RuntimeDep, caller: CallerDep) -> Response:
    """End the session or token that this request shows."""
    identity.end_session(rt, caller)
    return Response(status_code=204)


@router.get("/me")
def me(rt: RuntimeDep, caller: CallerDep) -> s.MeOut:
    """Who you are, and what you may do somewhere, at this moment."""
    return s.MeOut(**overview.me(rt, caller))


@router.get("/tokens")
def list_tokens(rt: RuntimeDep, caller: CallerDep) -> s.Page[s.TokenOut]:
    """Your live personal tokens."""
    return s.Page[s.TokenOut](
        items=[s.TokenOut(**token) for token in tokens.list_tokens(rt, caller)]
    )


@router.post("/tokens", status_code=201)
def create_token(rt: RuntimeDep, caller: CallerDep, body: s.TokenIn) -> s.TokenOut:
    """A new personal token; its secret is in this answer and never again."""
    return s.TokenOut(**tokens.create_token(rt, caller, body.name, body.days))


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(rt: RuntimeDep, caller: CallerDep, token_id: str) -> Response:
    """End one of your tokens."""
    tokens.revoke_token(rt, caller, token_id)
    return Response(status_code=204)
