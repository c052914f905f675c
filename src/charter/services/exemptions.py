"""Exemptions: who is left out of which rule, on whose word, until when, and how often it counted.

An exemption is a line of the policy's data, so it comes and goes with a bundle. Here it is read
out of the bundle in force, with names in place of ids, and beside it what it did: the decisions in
which it silenced its rule (counted by `rule_usage`). When another bundle is put in force,
`record_changes` writes which exemptions came and which went.

Source: Spec PC-7.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.canonical import canonical_json, parse_rfc3339
from charter.core.policy.bundle import Bundle
from charter.services import rule_usage
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx

SOON: Final = timedelta(days=14)
_DOCUMENT: Final = "data/exemptions.json"
_MOST_BUNDLES: Final = 500  # of the history that is searched for who brought an exemption
# Where the name of a scope's value stands; a template and an action are their own name.
_NAMED: Final = (
    (("subject", "owner"), t.people, "handle"),
    (("subject", "owner"), t.agents, "name"),
    (("team",), t.teams, "name"),
    (("project",), t.projects, "name"),
    (("workspace",), t.workspaces, "name"),
)

_IDENTIFIED: Final = frozenset(kind for kinds, _, _ in _NAMED for kind in kinds)


def list_all(rt: Runtime, caller: Caller) -> list[dict[str, Any]]:
    """Every exemption of the bundle in force, those that end first in front."""
    del caller
    with rt.database.reading() as tx:
        policy = rt.policy.active(tx)
        found = exemptions_in(policy.bundle)
        rules = [each["rule"] for each in found]
        used = _used(tx)
        came = _came(tx, {canonical_json(each) for each in found})
        names, meant = _names(tx, found), _meant(tx, found)
        titles = {rule.id: rule.title for rule in policy.rules} if found else {}
        items = []
        for each in found:
            expires_at = parse_rfc3339(each["expires_at"])
            count, last = _use_of(each, used, alone=rules.count(each["rule"]) == 1)
            by = came.get(canonical_json(each), {})
            items.append(
                {
                    "rule": each["rule"],
                    "title": titles.get(each["rule"], ""),
                    "owner": each["owner"],
                    "reason": each["reason"],
                    "scope": [
                        _shown(kind, value, names, meant)
                        for kind, value in sorted(_scope(each).items())
                    ],
                    "expires_at": expires_at,
                    "state": state_of(expires_at, tx.now),
                    "used": count,
                    "last_used_at": last,
                    "loaded_by": by.get("loaded_by"),
                    "loaded_at": by.get("created_at"),
                }
            )
        return sorted(items, key=lambda item: (item["expires_at"], item["rule"]))


def state_of(expires_at: datetime, now: datetime) -> str:
    """expired, soon (it ends within two weeks) or active."""
    if expires_at <= now:
        return "expired"
    return "soon" if expires_at <= now + SOON else "active"


def exemptions_in(bundle: Bundle) -> list[dict[str, Any]]:
    """The exemptions of a bundle as they are written in its data."""
    return _read(bundle.text(_DOCUMENT)) if _DOCUMENT in bundle.files else []


def _read(text: str | None) -> list[dict[str, Any]]:
    document = json.loads(text) if text else {}
    found = document.get("exemptions", [])
    return [dict(each) for each in found]


def _scope(exemption: Mapping[str, Any]) -> dict[str, str]:
    return {kind: value for kind, value in exemption["scope"].items() if kind != "_why"}


def _key(exemption: Mapping[str, Any]) -> tuple[str, str]:
    """How the count of uses names it: what the aggregator says of it in a decision."""
    said = {name: exemption[name] for name in ("owner", "reason", "expires_at")}
    return exemption["rule"], canonical_json(said)


def _use_of(
    exemption: Mapping[str, Any],
    used: Mapping[tuple[str, str], tuple[int, datetime]],
    *,
    alone: bool,
) -> tuple[int, datetime | None]:
    """How often it silenced its rule, and when last.

    Bundles from before ADR 014 do not say which exemption it was; where there is only one, it was
    that.
    """
    keys = [_key(exemption), *([(exemption["rule"], "")] if alone else [])]
    found = [used[key] for key in keys if key in used]
    return sum(count for count, _ in found), max((at for _, at in found), default=None)


def _used(tx: Tx) -> dict[tuple[str, str], tuple[int, datetime]]:
    c = t.rule_usage.c
    rows = tx.all(
        sa.select(
            c.rule,
            c.exemption,
            sa.func.sum(c.count).label("count"),
            sa.func.max(c.last_at).label("last_at"),
        )
        .where(c.said == rule_usage.EXEMPTED)
        .group_by(c.rule, c.exemption)
    )
    return {(row["rule"], row["exemption"]): (int(row["count"]), row["last_at"]) for row in rows}


def _came(tx: Tx, wanted: set[str]) -> dict[str, Any]:
    """Who loaded each of these exemptions first, and when."""
    if not wanted:
        return {}
    c = t.bundles.c
    rows = tx.all(
        sa.select(
            c.created_at,
            sa.func.coalesce(t.people.c.handle, c.loaded_by).label("loaded_by"),
            c.files[_DOCUMENT].astext.label("text"),
        )
        .join(t.people, t.people.c.id == c.loaded_by, isouter=True)
        .order_by(c.created_at.desc())
        .limit(_MOST_BUNDLES)
    )
    found: dict[str, Any] = {}
    for row in rows:  # from the newest back: the last that is written is the oldest
        found |= {
            text: row for each in _read(row["text"]) if (text := canonical_json(each)) in wanted
        }
    return found


def _names(tx: Tx, exemptions: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """The names of scopes' values, with one query for each table."""
    scopes = [_scope(each) for each in exemptions]
    found: dict[tuple[str, str], str] = {}
    for kinds, table, column in _NAMED:
        ids = {scope[kind] for scope in scopes for kind in kinds if kind in scope}
        if not ids:
            continue
        rows = tx.all(sa.select(table.c.id, table.c[column]).where(table.c.id.in_(ids)))
        found |= {(kind, row["id"]): row[column] for row in rows for kind in kinds}
    return found


def _meant(tx: Tx, exemptions: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """The ids of what scopes call by its name, which decisions do not."""
    scopes = [_scope(each) for each in exemptions]
    found: dict[tuple[str, str], str] = {}
    for kinds, table, column in _NAMED:
        called = {scope[kind] for scope in scopes for kind in kinds if kind in scope}
        if not called:
            continue
        rows = tx.all(sa.select(table.c.id, table.c[column]).where(table.c[column].in_(called)))
        found |= {(kind, row[column]): row["id"] for row in rows for kind in kinds}
    return found


def _shown(
    kind: str,
    value: str,
    names: Mapping[tuple[str, str], str],
    meant: Mapping[tuple[str, str], str],
) -> dict[str, Any]:
    """One condition of a scope; `problem` says why it may never hold, where that can be seen."""
    problem: str | None = None
    if kind in _IDENTIFIED and (kind, value) not in names:
        problem = f"Charter knows no {kind} with the id {value}, so this may never count."
        if (kind, value) in meant:
            problem = f"{value} is a name; the exemption needs the id, {meant[kind, value]}."
    return {
        "kind": kind,
        "value": value,
        "name": names.get((kind, value), value),
        "problem": problem,
    }


def record_changes(
    tx: Tx, by: ActorRef, previous: str | None, digest: str, decision_id: str | None
) -> None:
    """An event for each exemption that comes or goes when `digest` replaces `previous`."""
    c = t.bundles.c
    rows = tx.all(
        sa.select(c.digest, c.files[_DOCUMENT].astext.label("text")).where(
            c.digest.in_([previous, digest])
        )
    )
    texts = {
        row["digest"]: {canonical_json(each): each for each in _read(row["text"])} for row in rows
    }
    before, after = texts.get(previous or "", {}), texts.get(digest, {})
    for action, some, others in (
        ("exemption.granted", after, before),
        ("exemption.ended", before, after),
    ):
        for key in sorted(set(some) - set(others)):
            each = some[key]
            tx.audit(
                AuditEvent(
                    id=tx.new_id("event"),
                    at=tx.now,
                    actor=by,
                    action=action,
                    resource_kind="policy",
                    resource_id=digest,
                    outcome=Outcome.DONE,
                    decision_id=decision_id,
                    facts={"rule": each["rule"], "expires_at": each["expires_at"]},
                    private={
                        "owner": each["owner"],
                        "reason": each["reason"],
                        "scope": _scope(each),
                    },
                )
            )
