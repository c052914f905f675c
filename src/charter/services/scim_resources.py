"""What reading and writing people and groups by SCIM have in common.

A resource is kept twice: as it was sent (`scim`, so that a directory finds what it wrote), and as
what Charter works with (handle, team name, e-mail, manager …), which is derived from it at each
write. Its version is a digest of all that SCIM can write about it; so it changes whoever changed
the thing, and two writers who saw the same version cannot both win.

Source: Spec ID-3.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from scim2_models import EnterpriseUser as CoreEnterprise
from scim2_models import Group as CoreGroup
from scim2_models import (
    InvalidPathException,
    InvalidValueException,
    NotFoundException,
    PatchOp,
    Path,
    PreconditionFailedException,
    TooManyException,
)
from scim2_models import User as CoreUser

from charter.adapters.identity.scim import ENTERPRISE, MOST_RESULTS, TOLERANT, Group, Person
from charter.core.kernel.canonical import canonical_json, digest_of_text
from charter.services import scim_filters
from charter.services.runtime import Runtime
from charter.store.unit_of_work import Row, Tx

_LONGEST_TEXT: Final = 500
_MOST_BYTES: Final = 16_384
_MOST_OPERATIONS: Final = 200
_VERSION_CHARACTERS: Final = 24
_OWN_SCHEMAS: Final = tuple(
    f"{schema}:".lower() for schema in (Person.__schema__, Group.__schema__, ENTERPRISE)
)
_EVERYTHING: Final[Mapping[Any, Any]] = {Person: CoreUser[CoreEnterprise], Group: CoreGroup}
"""All attributes that the standard has, to tell those Charter does not keep from misspelt ones."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question for a list: what of it, in which order, which page."""

    filter: str | None = None
    sort_by: str | None = None
    descending: bool = False
    start: int = 1
    count: int | None = None
    among_others: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A page of resources with their total number."""

    total: int
    start: int
    resources: Sequence[Any]


def page(tx: Tx, model: Any, mine: sa.Select[Any], key: Any, query: Query) -> tuple[int, list[Row]]:
    """The number of rows that match, and those of the page."""
    if query.filter is not None:
        wanted = scim_filters.condition(model, query.filter, among_others=query.among_others)
        mine = mine.where(wanted)
    counted = tx.one(sa.select(sa.func.count().label("n")).select_from(mine.subquery()))
    total = 0 if counted is None else int(counted["n"])
    count = MOST_RESULTS if query.count is None else min(max(query.count, 0), MOST_RESULTS)
    if count == 0:
        return total, []
    order: list[Any] = []
    if query.sort_by is not None:
        order = scim_filters.order(model, query.sort_by, descending=query.descending)
    return total, list(tx.all(mine.order_by(*order, key).offset(query.start - 1).limit(count)))


def hold_names(tx: Tx) -> None:
    """Names are given out one after the other: two may not look for a free one together."""
    tx.conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('charter.scim-names'))"))


def version_of(row: Row, **more: object) -> str:
    """The entity tag of what the row says, and of `more` that belongs to it."""
    state = {"scim": row["scim"], "external_id": row["external_id"], **more}
    text = digest_of_text(canonical_json(state)).removeprefix("sha256:")
    return f'W/"{text[:_VERSION_CHARACTERS]}"'


def check_version(current: str, wanted: str | None) -> None:
    """Raise 412 unless `wanted` (an If-Match header) is absent, `*`, or names the current one."""
    if wanted is None or wanted.strip() == "*" or current in names_of(wanted):
        return
    raise PreconditionFailedException(
        detail="It has changed since this version. Read it again and apply the change to that."
    )


def names_of(header: str) -> set[str]:
    """The entity tags in a header; a strong one counts as its weak form, which all of ours are."""
    found = {part.strip() for part in header.split(",")}
    return {tag if tag.startswith("W/") else f"W/{tag}" for tag in found}


def location(rt: Runtime, kind: str, id_: str) -> str:
    """Where a resource is."""
    return f"{rt.settings.url}/scim/v2/{kind}/{id_}"


def no_such(kind: str) -> NotFoundException:
    """The 404 for what is not there, or not of this directory."""
    return NotFoundException(detail=f"There is no such {kind} in this directory.")


def apply(patch: Any, resource: Any, model: Any) -> None:
    """Carry the operations of a PATCH out on `resource`.

    Attributes of the standard that Charter does not keep are passed over, a word that is no
    attribute at all is not: a misspelt `activ` that ends nobody's access must not look like a yes.
    """
    operations = patch.operations or []
    if len(operations) > _MOST_OPERATIONS:
        raise TooManyException(
            detail=f"A PATCH takes {_MOST_OPERATIONS} operations at most; send them in parts."
        )
    for operation in operations:
        if operation.path is not None:
            _check_name(model, str(operation.path))
        elif isinstance(operation.value, Mapping):
            for name in operation.value:
                _check_name(model, str(name))
    patch.patch(resource, scim_policy=TOLERANT)


def _check_name(model: Any, path: str) -> None:
    name = path.lower()
    foreign = name.startswith("urn:") and not name.startswith(_OWN_SCHEMAS)
    if foreign or name in ("schemas", ENTERPRISE.lower()):
        return  # an extension that is not kept, or a whole one
    bound: Any = Path
    if not any(bound[known](path).resolve() for known in (model, _EVERYTHING[model])):
        raise InvalidPathException(detail=f"There is no attribute {path[:100]!r}.")


def parsed_patch(model: Any, body: Any, context: Any) -> Any:
    """The body of a PATCH as operations."""
    return PatchOp[model].model_validate(body, scim_ctx=context, scim_policy=TOLERANT)


def checked(document: dict[str, Any]) -> dict[str, Any]:
    """The document to keep, if it is of a bearable size and all its text is plain."""
    _check_text(document)
    if len(canonical_json(document).encode()) > _MOST_BYTES:
        raise InvalidValueException(detail=f"One resource takes {_MOST_BYTES} bytes at most.")
    return document


def _check_text(value: object) -> None:
    if isinstance(value, Mapping):
        for inner in value.values():
            _check_text(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_text(inner)
    elif isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            raise InvalidValueException(detail=f"A text takes {_LONGEST_TEXT} characters at most.")
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
            raise InvalidValueException(detail="A text holds a control character.")
