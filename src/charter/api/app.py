"""The application: API under /api/v1, the portal at /, health and metrics beside them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, PlainTextResponse

from charter import __version__
from charter.api import (
    absences,
    access,
    access_reviews,
    agent_definitions,
    agents,
    approvals,
    audit,
    authzen,
    break_glass,
    decisions,
    enforcement_points,
    exemptions,
    governance,
    grants,
    impact,
    introspection,
    keys,
    kubernetes,
    metrics,
    notifications,
    oauth,
    opa,
    overview,
    passkeys,
    people,
    playground,
    policies,
    policy_changes,
    problems,
    production,
    quotas,
    roles,
    scim,
    scim_protocol,
    sessions,
    sign_in,
    templates,
    workspaces,
)
from charter.api.headers import SecurityHeaders
from charter.api.limits import RequestLimits
from charter.core.kernel.errors import CharterError
from charter.services.kubernetes import AdmissionDesk
from charter.services.runtime import Runtime

PREFIX = "/api/v1"
_ROUTERS = (
    sign_in.router,
    sessions.router,
    passkeys.router,
    people.router,
    scim.router,
    roles.router,
    access.router,
    access_reviews.router,
    templates.router,
    workspaces.router,
    agents.router,
    agent_definitions.router,
    keys.router,
    approvals.router,
    production.router,
    quotas.router,
    break_glass.router,
    grants.router,
    absences.router,
    policy_changes.router,
    policies.router,
    playground.router,
    impact.router,
    decisions.router,
    exemptions.router,
    governance.router,
    enforcement_points.router,
    audit.router,
    overview.router,
    notifications.router,
)
# Whoever holds a one-time link, and a forge that signs what it sends.
_WITHOUT_CALLER = {
    f"{PREFIX}/sign-in",
    f"{PREFIX}/sign-in/providers",
    f"{PREFIX}/policies/source/webhook",
}


def build_api(rt: Runtime) -> FastAPI:
    """The API on this runtime, without the portal."""
    app = FastAPI(
        title="Charter",
        version=__version__,
        description="Governance for cloud development environments. Send a personal token or an "
        "agent's credential as a bearer token. Refusals are problem documents with a code and the "
        "next step.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.runtime = rt
    problems.install(app)
    for router in _ROUTERS:
        app.include_router(router, prefix=PREFIX)
    app.include_router(metrics.router)
    app.include_router(opa.router)
    app.include_router(authzen.router)
    app.include_router(introspection.router)
    app.include_router(oauth.router)
    app.include_router(scim_protocol.router)
    app.state.admission = AdmissionDesk(rt)
    app.include_router(kubernetes.router)
    _health(app, rt)
    app.add_middleware(SecurityHeaders, private=PREFIX)
    app.add_middleware(
        RequestLimits,
        max_body_bytes=rt.settings.max_body_bytes,
        larger={kubernetes.PREFIX: rt.settings.max_admission_bytes},
        shapes={scim_protocol.PREFIX: scim_protocol.bounded},
    )
    app.openapi = lambda: _openapi(app, rt)  # type: ignore[method-assign]  # FastAPI's own hook
    return app


def _health(app: FastAPI, rt: Runtime) -> None:
    @app.get("/healthz", include_in_schema=False)
    def healthz() -> PlainTextResponse:
        """The process answers."""
        return PlainTextResponse("ok\n")

    @app.get("/readyz", include_in_schema=False)
    def readyz() -> JSONResponse:
        """Database and policy are there, so requests can be decided."""
        checks: dict[str, str] = {}
        try:
            with rt.database.reading() as tx:
                tx.one(sa.select(sa.literal(1)))
                checks["database"] = "ok"
                rt.policy.active(tx)
                # A last good bundle decides safely, so the replica stays in service, and says so.
                trouble = rt.policy.trouble(tx)
                checks["policy"] = trouble[0].message if trouble else "ok"
        except CharterError as error:
            checks["failing"] = error.message
        return JSONResponse(checks, status_code=503 if "failing" in checks else 200)


def _openapi(app: FastAPI, rt: Runtime) -> dict[str, Any]:
    """The document with the two ways to sign in and the shape of every refusal."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        components = document.setdefault("components", {})
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "session": {"type": "apiKey", "in": "cookie", "name": rt.settings.session_cookie},
        }
        schemas = components.setdefault("schemas", {})
        schemas["Problem"] = problems.Problem.model_json_schema()
        for path, operations in document["paths"].items():
            for operation in operations.values():
                if path not in _WITHOUT_CALLER:
                    operation["security"] = [{"bearer": []}, {"session": []}]
        app.openapi_schema = document
    return app.openapi_schema
