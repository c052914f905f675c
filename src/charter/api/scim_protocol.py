"""SCIM 2.0 at /scim/v2: where a directory creates, changes and ends accounts and teams.

These doors speak RFC 7644 and nothing of Charter's own: resources, filters, PATCH, entity tags and
errors in SCIM's shapes. They open to provisioning tokens only, whatever is asked for; a token of a
person, an agent or an enforcement point is nobody here, and so is a session cookie.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from scim2_models import (
    Context,
    Error,
    InvalidFilterException,
    InvalidSyntaxException,
    ListResponse,
    NotFoundException,
    NotImplementedException,
    ResourceType,
    Schema,
    SCIMException,
    SearchRequest,
    ServiceProviderConfig,
)

from charter.adapters.identity.scim import (
    MEDIA_TYPE,
    MOST_RESULTS,
    TOLERANT,
    Group,
    Person,
    provider,
)
from charter.api.deps import RuntimeDep, address_of, runtime_of
from charter.api.points import bearer_of, parsed
from charter.core.kernel.errors import CharterError, InvalidInputError
from charter.services import scim, scim_groups, scim_people
from charter.services.runtime import Provisioner, Runtime
from charter.services.scim_filters import check_size
from charter.services.scim_resources import Found, Query, apply, names_of, parsed_patch

PREFIX: Final = "/scim/v2"
_TYPES: Final = frozenset({"", MEDIA_TYPE, "application/json"})
_FARTHEST: Final = 1_000_000_000
_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_EVERYTHING: Final = {"Users": Person, "Groups": Group}
_SERVICES: Final[Mapping[str, Any]] = {"Users": scim_people, "Groups": scim_groups}
_DISCOVERY: Final = ("ServiceProviderConfig", "ResourceTypes", "Schemas")


# --- answers ----------------------------------------------------------------------------------
def _answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        None if body is None else json.dumps(body, ensure_ascii=False),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def refusal(status: int, detail: str, scim_type: str | None = None) -> Response:
    """The SCIM error with this status."""
    error = Error(status=status, detail=detail, scim_type=scim_type or None)
    # RFC 9110: a 401 names a scheme.
    headers = {"WWW-Authenticate": 'Bearer realm="charter"'} if status == 401 else None  # noqa: PLR2004
    return _answer(error.model_dump(), status, headers)


def bounded(status: int, _code: str, detail: str, fix: str) -> Response:
    """The refusal of a request that is too large to be looked at."""
    return refusal(status, f"{detail} {fix}")


def _of_charter(error: CharterError) -> Response:
    if isinstance(error, InvalidInputError):
        kind = "invalidSyntax" if error.code == "malformed-json" else "invalidValue"
        return refusal(400, f"{error.message} {error.fix}", kind)
    return refusal(error.status, f"{error.message} {error.fix}")


def _of_validation(error: ValidationError) -> Response:
    first = Error.from_validation_errors(error)[0]
    return refusal(first.status or 400, first.detail or "Not valid.", first.scim_type)


class ScimRoute(APIRoute):
    """A route whose refusals are SCIM errors."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """The handler, with its errors put into SCIM's shape."""
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                found: Response = await handler(request)
            except CharterError as error:
                return _of_charter(error)
            except ValidationError as error:
                return _of_validation(error)
            except SCIMException as error:
                return refusal(error.status, str(error), error.scim_type)
            return found

        return answered


router = APIRouter(prefix=PREFIX, include_in_schema=False, route_class=ScimRoute)


# --- requests ---------------------------------------------------------------------------------
def _directory_of(request: Request) -> Provisioner:
    return scim.authenticate(runtime_of(request), bearer_of(request), address_of(request))


Directory = Annotated[Provisioner, Depends(_directory_of)]


async def _body_of(request: Request) -> dict[str, Any]:
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared not in _TYPES:
        error = InvalidSyntaxException(detail=f"Send {MEDIA_TYPE}.")
        error.status = 415
        raise error
    body = parsed(await request.body())
    if not isinstance(body, dict):
        raise InvalidSyntaxException(detail="The body is not an object.")
    return body


Body = Annotated[dict[str, Any], Depends(_body_of)]


def _asked(request: Request) -> dict[str, str]:
    """The query's parameters, without regard to the case of their names."""
    return {name.lower(): value for name, value in request.query_params.items()}


def _shape(model: Any, given: Mapping[str, Any]) -> Any:
    """`attributes` and `excludedAttributes`, and the page, as the library reads them."""
    names = ("attributes", "excludedAttributes", "sortBy", "sortOrder", "startIndex", "count")
    lower = {name.lower(): value for name, value in given.items()}
    wanted = {name: lower[name.lower()] for name in names if lower.get(name.lower()) is not None}
    if isinstance(wanted.get("sortOrder"), str):
        wanted["sortOrder"] = wanted["sortOrder"].lower()
    return SearchRequest[model].model_validate(wanted, scim_policy=TOLERANT)


def _query(shape: Any, filter_: Any) -> Query:
    if filter_ is not None and not isinstance(filter_, str):
        raise InvalidFilterException(detail="A filter is a text.")
    return Query(
        filter=filter_ or None,
        sort_by=None if shape.sort_by is None else str(shape.sort_by),
        descending=shape.sort_order == SearchRequest.SortOrder.descending,
        start=min(shape.start_index or 1, _FARTHEST),
        count=shape.count,
    )


def _one(found: Any, shape: Any, context: Context, status: int = 200) -> Response:
    headers = {"ETag": found.meta.version, "Location": str(found.meta.location)}
    return _answer(found.model_dump(scim_ctx=context, response_parameters=shape), status, headers)


def _listed(found: Found, shape: Any) -> Response:
    resources = [
        each.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=shape)
        for each in found.resources
    ]
    return _answer(
        {
            "schemas": [str(ListResponse.__schema__)],
            "totalResults": found.total,
            "startIndex": found.start,
            "itemsPerPage": len(resources),
            "Resources": resources,
        }
    )


# --- what the service is ----------------------------------------------------------------------
@cache
def _announced() -> Mapping[str, Mapping[str, Any]]:
    """Of each discovery endpoint, its resources by id."""
    service = provider()
    return {
        "ResourceTypes": {str(each.id): each for each in service.resource_types},
        "Schemas": {
            str(schema.id): schema for schema in (model.to_schema() for model in service.models)
        },
    }


def _placed(rt: Runtime, endpoint: str, kind: type[Any], resource: Any) -> dict[str, Any]:
    document: dict[str, Any] = resource.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)
    place = f"{rt.settings.url}{PREFIX}/{endpoint}"
    document["meta"] = {
        "resourceType": kind.__name__,
        "location": place if endpoint == "ServiceProviderConfig" else f"{place}/{resource.id}",
    }
    return document


@router.get("/ServiceProviderConfig")
def service_provider_config(rt: RuntimeDep, _who: Directory) -> Response:
    """What of SCIM there is here."""
    config = provider().config
    return _answer(_placed(rt, "ServiceProviderConfig", ServiceProviderConfig, config))


def _discovery(endpoint: str, kind: type[Any]) -> None:
    @router.get(f"/{endpoint}")
    def listed(rt: RuntimeDep, request: Request, _who: Directory) -> Response:
        if "filter" in _asked(request):  # RFC 7644 §4: so that nobody takes it for answered
            return refusal(403, "Discovery takes no filter.")
        found = [_placed(rt, endpoint, kind, each) for each in _announced()[endpoint].values()]
        return _answer(
            {
                "schemas": [str(ListResponse.__schema__)],
                "totalResults": len(found),
                "startIndex": 1,
                "itemsPerPage": len(found),
                "Resources": found,
            }
        )

    @router.get(f"/{endpoint}/{{id_}}")
    def one(rt: RuntimeDep, _who: Directory, id_: str) -> Response:
        found = _announced()[endpoint].get(id_)
        if found is None:
            raise NotFoundException(detail="There is nothing of this name.")
        return _answer(_placed(rt, endpoint, kind, found))


_discovery("ResourceTypes", ResourceType)
_discovery("Schemas", Schema)


# --- people and groups ------------------------------------------------------------------------
def _reads(endpoint: str) -> None:
    """The routes that look at one kind of resource."""
    model, service = _EVERYTHING[endpoint], _SERVICES[endpoint]

    @router.get(f"/{endpoint}")
    def listed(rt: RuntimeDep, request: Request, who: Directory) -> Response:
        asked = _asked(request)
        shape = _shape(model, asked)
        return _listed(service.list_page(rt, who, _query(shape, asked.get("filter"))), shape)

    @router.post(f"/{endpoint}/.search")
    def searched(rt: RuntimeDep, who: Directory, body: Body) -> Response:
        shape = _shape(model, body)
        return _listed(service.list_page(rt, who, _query(shape, body.get("filter"))), shape)

    @router.get(f"/{endpoint}/{{id_}}")
    def got(rt: RuntimeDep, request: Request, who: Directory, id_: str) -> Response:
        shape = _shape(model, _asked(request))
        found = service.get(rt, who, id_)
        known = request.headers.get("if-none-match")
        if known is not None and (known.strip() == "*" or found.meta.version in names_of(known)):
            return Response(status_code=304, headers={"ETag": found.meta.version})
        return _one(found, shape, Context.RESOURCE_QUERY_RESPONSE)


def _writes(endpoint: str) -> None:
    """The routes that change it."""
    model, service = _EVERYTHING[endpoint], _SERVICES[endpoint]
    written: Any = model

    @router.post(f"/{endpoint}")
    def created(rt: RuntimeDep, request: Request, who: Directory, body: Body) -> Response:
        shape = _shape(model, _asked(request))
        wanted = written.model_validate(
            body, scim_ctx=Context.RESOURCE_CREATION_REQUEST, scim_policy=TOLERANT
        )
        made = service.create(rt, who, wanted)
        return _one(made, shape, Context.RESOURCE_CREATION_RESPONSE, 201)

    @router.put(f"/{endpoint}/{{id_}}")
    def replaced(
        rt: RuntimeDep, request: Request, who: Directory, id_: str, body: Body
    ) -> Response:
        shape = _shape(model, _asked(request))
        wanted = written.model_validate(
            body, scim_ctx=Context.RESOURCE_REPLACEMENT_REQUEST, scim_policy=TOLERANT
        )

        def alter(present: Any) -> Any:
            wanted.replace(present)
            return wanted

        found = service.change(rt, who, id_, alter, request.headers.get("if-match"))
        return _one(found, shape, Context.RESOURCE_REPLACEMENT_RESPONSE)

    @router.patch(f"/{endpoint}/{{id_}}")
    def patched(rt: RuntimeDep, request: Request, who: Directory, id_: str, body: Body) -> Response:
        shape = _shape(model, _asked(request))
        patch = parsed_patch(model, body, Context.RESOURCE_PATCH_REQUEST)

        def alter(present: Any) -> Any:
            apply(patch, present, model)
            return present

        found = service.change(rt, who, id_, alter, request.headers.get("if-match"))
        return _one(found, shape, Context.RESOURCE_PATCH_RESPONSE)

    @router.delete(f"/{endpoint}/{{id_}}")
    def removed(rt: RuntimeDep, request: Request, who: Directory, id_: str) -> Response:
        service.remove(rt, who, id_, request.headers.get("if-match"))
        return Response(status_code=204)


for _each in _EVERYTHING:
    _reads(_each)
    _writes(_each)


@router.post("/.search")
def search(rt: RuntimeDep, who: Directory, body: Body) -> Response:
    """People and groups at once: first the people, then the groups."""
    shape = _shape(Person | Group, body)
    query = _query(shape, body.get("filter"))
    if query.filter is not None:
        check_size(query.filter)
        SearchRequest[Person | Group].model_validate({"filter": query.filter})
    if query.sort_by is not None:
        raise NotImplementedException(detail="Sort within one kind of resource: /Users/.search.")
    total, found = 0, []
    wanted = MOST_RESULTS if query.count is None else query.count
    for service in _SERVICES.values():
        part = Query(
            query.filter, start=max(query.start - total, 1), count=wanted, among_others=True
        )
        page = service.list_page(rt, who, part)
        total += page.total
        found += page.resources
        wanted -= len(page.resources)
    return _listed(Found(total, query.start, found), shape)


@router.api_route("/{path:path}", methods=_METHODS)
def elsewhere(_who: Directory, path: str) -> Response:
    """Whatever is not above: a method that is not taken here, or nothing at all."""
    head, _, rest = path.partition("/")
    if head in (*_DISCOVERY, *_EVERYTHING) and "/" not in rest:
        return refusal(405, "This address does not take the method.")
    if head in ("Bulk", "Me"):
        raise NotImplementedException(detail=f"There is no /{head} here.")
    raise NotFoundException(detail="There is nothing at this address.")
