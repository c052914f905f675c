"""The portal's router: every page and the static files, to be mounted at the root."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from charter.core.kernel.errors import NotFoundError
from charter.portal import (
    absences,
    access,
    access_reviews,
    account,
    agent_definitions,
    agents,
    approvals,
    assets,
    audit,
    break_glass,
    command_line,
    decisions,
    exemptions,
    governance,
    grants,
    identity,
    impact,
    keys,
    notifications,
    overview,
    passkeys,
    people,
    playground,
    policies,
    policy_changes,
    production,
    quotas,
    roles,
    scim,
    sessions,
    single_sign_on,
    votes,
    workspaces,
)
from charter.portal.visit import PortalRoute, refusal
from charter.services.runtime import Runtime

_FOR_EVER: Final = "public, max-age=31536000, immutable"  # the address changes with the content

_static = APIRouter(route_class=PortalRoute)


@_static.get("/static/{digest}/{name:path}")
def static_file(digest: str, name: str) -> Response:
    """A static file; only under the digest of this release, so that no cache mixes two of them."""
    asset = assets.ASSETS.get(name)
    if asset is None or digest != assets.DIGEST:
        raise NotFoundError("There is no such file.", fix="Reload the page.", code="no-such-page")
    return Response(
        asset.content, media_type=asset.media_type, headers={"Cache-Control": _FOR_EVER}
    )


def build_router(runtime_of: Callable[[Request], Runtime]) -> APIRouter:
    """All routes of the portal; `runtime_of` gives the runtime that a request is served with."""

    def bind(request: Request) -> None:
        request.state.portal_runtime = runtime_of(request)

    router = APIRouter(dependencies=[Depends(bind)], include_in_schema=False)
    for part in (
        _static,
        identity.open_router,
        single_sign_on.open_router,
        passkeys.open_router,
        command_line.open_router,
        command_line.router,
        identity.router,
        account.router,
        passkeys.router,
        sessions.router,
        votes.open_router,
        overview.router,
        workspaces.router,
        grants.router,
        absences.router,
        approvals.router,
        agent_definitions.router,
        agents.router,
        production.router,
        quotas.router,
        break_glass.router,
        governance.router,
        policy_changes.router,
        impact.router,
        playground.router,
        exemptions.router,
        policies.router,
        decisions.router,
        audit.router,
        access.router,
        scim.router,
        people.router,
        access_reviews.router,
        roles.router,
        notifications.router,
        keys.router,
    ):
        router.include_router(part)
    return router


def no_such_page(request: Request, runtime: Runtime) -> Response:
    """The page for an address that nothing answers to; the application calls it for browsers."""
    request.state.portal_runtime = runtime
    return refusal(
        request,
        NotFoundError(
            "There is no such page.", fix="Start from the overview.", code="no-such-page"
        ),
    )
