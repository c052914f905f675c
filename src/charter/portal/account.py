"""One's account: passkeys, sessions, personal tokens, notices, and a link for another device."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.portal import forms
from charter.portal.confirm import passkey_place
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import overview, passkeys, sessions, tokens

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])


@router.get("/account")
def show_account(visit: Signed) -> Response:
    """The page."""
    rt, caller = visit.rt, visit.caller
    with rt.database.reading() as tx:
        step_up = rt.policy.active(tx).data.step_up
    return visit.page(
        "account.html",
        {
            "passkeys": passkeys.list_passkeys(rt, caller),
            "place": passkey_place(visit.request, rt),
            "sessions": sessions.list_sessions(rt, caller),
            "tokens": tokens.list_tokens(rt, caller),
            "notices": overview.notices(rt, caller, limit=10)["items"],
            "shown": caller.person.session,
            "freshness": min((each.max_age_seconds for each in step_up.values()), default=None),
        },
    )


@router.post("/account/link")
def hand_over(visit: Signed) -> Response:
    """A link for another device or a command line, shown once."""
    made = sessions.hand_over(visit.rt, visit.caller)
    place = passkey_place(visit.request, visit.rt)
    named = None if place["here"] or place["at"] is None else place["at"]
    return visit.page("account_link.html", {"made": made, "named": named})


@router.post("/account/tokens")
def create_token(visit: Signed) -> Response:
    """A personal token; its secret is shown on the page that answers, once."""
    form = forms.read(forms.TokenForm, visit.form)
    made = tokens.create_token(visit.rt, visit.caller, form.name, form.days)
    return visit.page("account_token.html", {"made": made})


@router.post("/account/tokens/{token}/revoke")
def revoke_token(visit: Signed, token: str) -> Response:
    """End a token."""
    tokens.revoke_token(visit.rt, visit.caller, token)
    return visit.redirect("/account#tokens", "The token is revoked.")


@router.post("/account/notices/{notice}/read")
def read_notice(visit: Signed, notice: str) -> Response:
    """Mark a notice as read."""
    overview.read_notice(visit.rt, visit.caller, notice)
    return visit.redirect("/account#notices")
