"""SCIM filters and orders as SQL: parsed by a grammar, looked up in a list, compared by parameter.

Nothing of what a client writes becomes part of a statement. The text is parsed (RFC 7644 §3.4.2.2),
each attribute is looked up among those that may be asked about, and each value is bound. What is
not in the list is refused, never guessed at; so a filter can neither reach a column that SCIM does
not show nor one row more than the query it is put behind.

Source: Spec ID-3.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from scim2_models import InvalidFilterException, InvalidPathException, Path, ScimFilter
from scim2_models.path import (
    AttributeBinding,
    AttrPath,
    CompareOperator,
    Comparison,
    FilterNode,
    FilterVisitor,
    LogicalExpr,
    LogicalOperator,
    Not,
    Present,
    ValuePath,
    coerce_value,
)
from sqlalchemy.dialects.postgresql import JSONB

from charter.adapters.identity.scim import ENTERPRISE, Group, Person
from charter.store import tables as t

_LONGEST: Final = 4096
_DEEPEST: Final = 32
Condition = sa.ColumnElement[bool]
Bind = Callable[[AttrPath], AttributeBinding | None]


@dataclass(frozen=True, slots=True)
class Many:
    """A multi-valued attribute: `rows` gives one row for each value, `parts` its columns."""

    rows: sa.FromClause
    parts: Mapping[str, sa.ColumnElement[Any]]
    where: Condition | None = None

    def some(self, condition: Condition) -> Condition:
        """Some value meets the condition."""
        query = sa.select(sa.literal(1)).select_from(self.rows).where(condition)
        if self.where is not None:
            query = query.where(self.where)
        return query.correlate(t.people, t.teams).exists()


_P, _T = t.people.c, t.teams.c
_EMAILS = sa.func.jsonb_array_elements(_P.scim["emails"]).table_valued(
    sa.column("value", JSONB), name="email"
)
_MEMBERS = t.team_members.alias("membership")
_TEAMS = t.teams.alias("member_of")
_MATES = t.people.alias("member")


def _text(*keys: str, table: sa.Table = t.people) -> sa.ColumnElement[Any]:
    found: Any = table.c.scim
    for key in keys:
        found = found[key]
    return sa.cast(found.astext, sa.Text)


USERS: Final[Mapping[str, sa.ColumnElement[Any] | Many]] = {
    "id": _P.id,
    "externalid": _P.external_id,
    # Spelt out, so that it is the indexed expression and no parameter stands in it.
    "username": sa.literal_column("people.scim ->> 'userName'", sa.Text),
    "displayname": _text("displayName"),
    "name.formatted": _text("name", "formatted"),
    "name.givenname": _text("name", "givenName"),
    "name.familyname": _text("name", "familyName"),
    "title": _text("title"),
    "usertype": _text("userType"),
    "active": _P.deactivated_at.is_(None),
    "meta.created": _P.created_at,
    "meta.lastmodified": sa.func.coalesce(_P.updated_at, _P.created_at),
    "emails": Many(
        _EMAILS,
        {
            "value": _EMAILS.c.value["value"].astext,
            "type": _EMAILS.c.value["type"].astext,
            "primary": sa.cast(_EMAILS.c.value["primary"].astext, sa.Boolean),
        },
    ),
    "groups": Many(
        sa.join(_MEMBERS, _TEAMS, _MEMBERS.c.team_id == _TEAMS.c.id),
        {"value": _TEAMS.c.id, "display": _TEAMS.c.scim["displayName"].astext},
        sa.and_(_MEMBERS.c.person_id == _P.id, _TEAMS.c.directory == _P.directory),
    ),
    f"{ENTERPRISE}:employeenumber".lower(): _text(ENTERPRISE, "employeeNumber"),
    f"{ENTERPRISE}:costcenter".lower(): _text(ENTERPRISE, "costCenter"),
    f"{ENTERPRISE}:organization".lower(): _text(ENTERPRISE, "organization"),
    f"{ENTERPRISE}:division".lower(): _text(ENTERPRISE, "division"),
    f"{ENTERPRISE}:department".lower(): _text(ENTERPRISE, "department"),
    f"{ENTERPRISE}:manager".lower(): _P.manager_id,
    f"{ENTERPRISE}:manager.value".lower(): _P.manager_id,
}
"""What may be asked about people, by the attribute's name in lower case."""

GROUPS: Final[Mapping[str, sa.ColumnElement[Any] | Many]] = {
    "id": _T.id,
    "externalid": _T.external_id,
    "displayname": _text("displayName", table=t.teams),
    "meta.created": _T.created_at,
    "meta.lastmodified": sa.func.coalesce(_T.updated_at, _T.created_at),
    "members": Many(
        sa.join(_MEMBERS, _MATES, _MEMBERS.c.person_id == _MATES.c.id),
        {"value": _MATES.c.id},
        sa.and_(
            _MEMBERS.c.team_id == _T.id,
            _MATES.c.directory == _T.directory,
            _MATES.c.removed_at.is_(None),
        ),
    ),
}
"""The same for groups."""

_LISTED: Final = {Person: USERS, Group: GROUPS}


def condition(model: Any, text: str, *, among_others: bool = False) -> Condition:
    """The filter `text` over `model` (`Person` or `Group`); raises `InvalidFilterException`.

    `among_others` says that resources of other kinds are searched too: what asks for an attribute
    that this kind does not have is false then, not wrong.
    """
    check_size(text)
    parsed = ScimFilter[model](text)
    return _ToSql(parsed, _LISTED[model], among_others).visit(parsed.ast)


def check_size(text: str) -> None:
    """Raise for a filter that is too long or too deep to be looked at."""
    if len(text) > _LONGEST or _depth(text) > _DEEPEST:
        raise InvalidFilterException(
            detail=f"A filter takes {_LONGEST} characters and {_DEEPEST} levels at most."
        )


def order(model: Any, text: str, *, descending: bool) -> list[sa.ColumnElement[Any]]:
    """What to order by for `sortBy`; raises `InvalidPathException` for what has no order here."""
    binding = Path[model](text).resolve()
    key = "" if binding is None else _key(binding)
    column = _LISTED[model].get(key)
    if binding is None or column is None or isinstance(column, Many):
        raise InvalidPathException(detail="Nothing can be sorted by this attribute.")
    typed = isinstance(column.type, (sa.DateTime, sa.Boolean))
    value = column if typed or binding.case_exact else sa.func.lower(column)
    # What has no value comes last in ascending order, first in descending (RFC 7644 §3.4.2.3).
    return [value.desc().nulls_first() if descending else value.asc().nulls_last()]


def _depth(text: str) -> int:
    deepest = depth = 0
    for character in text:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(character, 0)
        deepest = max(deepest, depth)
    return deepest


def _key(binding: AttributeBinding) -> str:
    """The name under which an attribute is listed."""
    name = binding.urn.lower()
    for schema in (Person.__schema__, Group.__schema__):
        name = name.removeprefix(f"{schema}:".lower())
    return name


class _ToSql(FilterVisitor[Condition]):
    """Turns a parsed filter into a condition."""

    def __init__(
        self,
        parsed: ScimFilter[Any],
        listed: Mapping[str, sa.ColumnElement[Any] | Many],
        among_others: bool,
    ) -> None:
        self._parsed = parsed
        self._listed = listed
        self._among_others = among_others
        self._inside: Many | None = None  # the values that a […] chooses among

    def visit(self, node: FilterNode) -> Condition:
        """As the library does, with an attribute of another kind being false."""
        try:
            return super().visit(node)
        except InvalidFilterException:
            if self._among_others and isinstance(node, (Comparison, Present, ValuePath)):
                return sa.false()
            raise

    def visit_comparison(self, node: Comparison) -> Condition:
        if self._inside is not None:
            return _compared(self._part(self._inside, node.attr_path), node.op, node.value)
        binding = self._parsed.resolve_comparison(node.attr_path)
        column, many = self._column(binding)
        if binding is None:
            raise _unlisted(str(node.attr_path))
        value = coerce_value(binding, node.value, node.op)
        exact = binding.case_exact
        if many is None:
            return _compared(column, node.op, value, exact=exact)
        if node.op is CompareOperator.ne:  # no value is equal
            return sa.not_(many.some(_compared(column, CompareOperator.eq, value, exact=exact)))
        return many.some(_compared(column, node.op, value, exact=exact))

    def visit_present(self, node: Present) -> Condition:
        if self._inside is not None:
            return _present(self._part(self._inside, node.attr_path))
        binding = self._parsed.resolve(node.attr_path)
        column, many = self._column(binding)
        return _present(column) if many is None else many.some(_present(column))

    def visit_not(self, node: Not) -> Condition:
        return sa.not_(sa.func.coalesce(self.visit(node.expr), sa.false()))

    def visit_logical_expr(self, node: LogicalExpr) -> Condition:
        join = sa.and_ if node.op is LogicalOperator.and_ else sa.or_
        return join(*(self.visit(term) for term in node.terms))

    def visit_value_path(self, node: ValuePath) -> Condition:
        binding = self._parsed.resolve(node.attr_path)
        many = None if binding is None else self._listed.get(_key(binding))
        if not isinstance(many, Many):
            raise _unlisted(str(node.attr_path))
        self._inside = many
        try:
            chosen = self.visit(node.val_filter)
        finally:
            self._inside = None
        return many.some(chosen)

    def _column(
        self, binding: AttributeBinding | None
    ) -> tuple[sa.ColumnElement[Any], Many | None]:
        key = "" if binding is None else _key(binding)
        found = self._listed.get(key)
        if isinstance(found, Many):
            return found.parts["value"], found
        if found is not None:
            return found, None
        head, _, part = key.rpartition(".")
        many = self._listed.get(head)
        if isinstance(many, Many) and part in many.parts:
            return many.parts[part], many
        raise _unlisted(key)

    def _part(self, many: Many, path: AttrPath) -> sa.ColumnElement[Any]:
        found = many.parts.get(path.attr.lower())
        if found is None or path.sub_attr or path.uri:
            raise _unlisted(str(path))
        return found


def _unlisted(name: str) -> InvalidFilterException:
    return InvalidFilterException(
        detail=f"Nothing can be asked about the attribute {name[:100]!r}."
    )


def _present(column: sa.ColumnElement[Any]) -> Condition:
    if isinstance(column.type, (sa.Boolean, sa.DateTime)):
        return column.is_not(None)
    return sa.func.coalesce(column, "") != ""


def _compared(
    column: sa.ColumnElement[Any], op: CompareOperator, value: Any, *, exact: bool = False
) -> Condition:
    """`column op value` with the value bound; texts without regard to case unless `exact`."""
    if value is None:
        empty = sa.not_(_present(column))
        return sa.not_(empty) if op is CompareOperator.ne else empty
    if isinstance(column.type, sa.Boolean):
        return _ordered(column, op, _typed(value, bool))
    if isinstance(column.type, sa.DateTime):
        return _ordered(column, op, _typed(value, datetime))
    return _text_compared(column, op, _typed(value, str), exact=exact)


def _text_compared(
    column: sa.ColumnElement[Any], op: CompareOperator, text: str, *, exact: bool
) -> Condition:
    if "\x00" in text:
        raise InvalidFilterException(detail="A value holds a NUL character.")
    left: sa.ColumnElement[Any] = sa.cast(column, sa.Text)
    if not exact:
        left, text = sa.func.lower(left), text.lower()
    match op:
        case CompareOperator.co:
            return left.contains(text, autoescape=True)
        case CompareOperator.sw:
            return left.startswith(text, autoescape=True)
        case CompareOperator.ew:
            return left.endswith(text, autoescape=True)
        case _:
            return _ordered(left, op, text)


def _typed(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise InvalidFilterException(detail="A value does not have the type of its attribute.")
    return value


_ORDERED: Final[Mapping[CompareOperator, Callable[[Any, Any], Condition]]] = {
    CompareOperator.eq: operator.eq,
    CompareOperator.ne: lambda left, value: left.is_distinct_from(value),
    CompareOperator.gt: operator.gt,
    CompareOperator.ge: operator.ge,
    CompareOperator.lt: operator.lt,
    CompareOperator.le: operator.le,
}


def _ordered(left: sa.ColumnElement[Any], op: CompareOperator, value: Any) -> Condition:
    if op not in _ORDERED:
        raise InvalidFilterException(detail=f"{op.value} does not fit the attribute.")
    return _ORDERED[op](left, value)
