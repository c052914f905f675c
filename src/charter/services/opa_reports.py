"""What OPAs report: the decisions that they made by themselves, and how they are doing.

A reported decision is evidence of the remote engine, not a decision of Charter's: it is kept as it
was told, with the revision that made it, once for each decision id. Reports come from programs
that Charter does not control: unknown fields are passed over, bodies are bounded before and after
unpacking, and what is too large is kept without its input.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from charter.core.audit.event import ActorRef, AuditEvent, Outcome
from charter.core.kernel.canonical import parse_rfc3339
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import InvalidInputError
from charter.services import paging
from charter.services.enforcement_points import EnforcementPoint, check_may_view, find
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

MAX_UNPACKED_BYTES: Final = 16 * 1_048_576
MAX_ENTRIES: Final = 5_000  # OPA sends chunks of 32 KiB unless told otherwise; this is far beyond
_MAX_ENTRY_BYTES: Final = 65_536
_MAX_TEXT: Final = 500
_MAX_ERRORS: Final = 10
_KEPT: Final = (
    "labels",
    "bundles",
    "path",
    "query",
    "input",
    "result",
    "requested_by",
    "timestamp",
    "trace_id",
    "span_id",
    "erased",
    "masked",
    "error",
    "req_id",
)
_EFFECTS: Final = frozenset(effect.value for effect in Effect)


def _refuse(what: str) -> InvalidInputError:
    return InvalidInputError(
        f"The report cannot be read: {what}.",
        fix="Send what OPA's decision log or status plugin sends.",
        code="opa-report",
    )


def unpacked(body: bytes, encoding: str) -> Any:
    """The JSON in `body`, which may be gzipped; bounded, so that no small body fills the memory."""
    if encoding.lower() == "gzip" or body[:2] == b"\x1f\x8b":
        reader = zlib.decompressobj(wbits=31)
        try:
            body = reader.decompress(body, MAX_UNPACKED_BYTES + 1)
        except zlib.error:
            raise _refuse("it is no gzip data") from None
        if reader.unconsumed_tail or len(body) > MAX_UNPACKED_BYTES:
            raise _refuse(f"unpacked it takes more than {MAX_UNPACKED_BYTES} bytes")
        if not reader.eof:
            raise _refuse("its gzip data is cut short")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise _refuse("it is not JSON") from None


def receive_decisions(rt: Runtime, point: EnforcementPoint, report: Any) -> dict[str, int]:
    """Keep the decisions of a log; `{"received", "kept"}`: what came again is kept once."""
    if not isinstance(report, list):
        raise _refuse("it is not a list of decisions")
    if len(report) > MAX_ENTRIES:
        raise _refuse(f"it holds more than {MAX_ENTRIES} decisions")
    with rt.database.unit_of_work() as tx:
        rows = {
            row["decision_id"]: row
            for entry in report
            if isinstance(entry, Mapping) and (row := _reported(tx, point, entry)) is not None
        }
        kept = 0
        if rows:
            statement = insert(t.reported_decisions).values(list(rows.values()))
            kept = (
                tx.conn.execute(
                    statement.on_conflict_do_nothing().returning(t.reported_decisions.c.decision_id)
                )
                .all()
                .__len__()
            )
        if kept:
            tx.audit(_event(tx, point, "enforcement-point.reported", {"decisions": kept}))
    return {"received": len(report), "kept": kept}


def _text(value: object, default: str = "") -> str:
    return value[:_MAX_TEXT].replace("\x00", "") if isinstance(value, str) else default


def _reported(tx: Tx, point: EnforcementPoint, entry: Mapping[str, Any]) -> dict[str, Any] | None:
    decision_id = _text(entry.get("decision_id"))
    if not decision_id:
        return None  # without a name it can be neither found nor told from its repetition
    kept = {name: entry[name] for name in _KEPT if name in entry}
    text = json.dumps(kept, sort_keys=True)  # ASCII: half characters cannot be stored otherwise
    if len(text) > _MAX_ENTRY_BYTES:
        kept = {k: v for k, v in kept.items() if k not in {"input", "result", "labels", "bundles"}}
        text = json.dumps({**kept, "too_large": True}, sort_keys=True)[:_MAX_ENTRY_BYTES]
    erased = entry.get("erased")
    return {
        "point_id": point.id,
        "decision_id": decision_id,
        "at": _moment(entry.get("timestamp"), tx.now),
        "received_at": tx.now,
        "path": _text(entry.get("path")).strip("/"),
        "revision": _revision(entry.get("bundles")),
        "effect": _effect(entry.get("result")),
        "erased": [_text(path) for path in erased[:_MAX_TEXT]] if isinstance(erased, list) else [],
        "entry": text,
    }


def _moment(value: object, default: datetime) -> datetime:
    """OPA writes nanoseconds, which Python does not read: cut to microseconds."""
    if not isinstance(value, str):
        return default
    head, dot, tail = value.partition(".")
    digits = tail.rstrip("Z") if tail.endswith("Z") else ""
    try:
        return parse_rfc3339(f"{head}.{digits[:6]}Z" if dot and digits.isdigit() else value)
    except ValueError:
        return default


def _revision(bundles: object) -> str | None:
    if not isinstance(bundles, Mapping):
        return None
    for bundle in bundles.values():
        if isinstance(bundle, Mapping) and isinstance(bundle.get("revision"), str):
            return _text(bundle["revision"])
    return None


def _effect(result: object) -> str | None:
    if isinstance(result, bool):
        return (Effect.ALLOW if result else Effect.DENY).value
    found = result.get("effect") if isinstance(result, Mapping) else None
    return found if found in _EFFECTS else None


def receive_status(rt: Runtime, point: EnforcementPoint, report: Any) -> dict[str, Any]:
    """Keep a summary of the report on the point; a change of bundle or of errors is audited."""
    if not isinstance(report, Mapping):
        raise _refuse("it is not an object")
    summary = _summary(report)
    with rt.database.unit_of_work() as tx:
        c = t.enforcement_points.c
        row = find(tx, point.id, lock=True)
        before = row["last_status"] or {}
        tx.update(
            t.enforcement_points, c.id == point.id, last_status=summary, last_status_at=tx.now
        )
        if any(before.get(name) != summary[name] for name in ("active_revision", "errors")):
            tx.audit(
                _event(
                    tx,
                    point,
                    "enforcement-point.status-changed",
                    {
                        "active_revision": summary["active_revision"],
                        "errors": len(summary["errors"]),
                    },
                )
            )
    return summary


def _summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """The few facts that matter of a report that takes tens of kilobytes."""
    labels = report.get("labels")
    labels = labels if isinstance(labels, Mapping) else {}
    bundles = report.get("bundles")
    bundles = bundles if isinstance(bundles, Mapping) else {}
    parts: dict[str, Any] = {**bundles, "discovery": report.get("discovery")}
    errors: list[str] = []
    revision: str | None = None
    for name, part in parts.items():
        if not isinstance(part, Mapping):
            continue
        if part.get("message"):
            errors.append(_text(f"{name}: {part['message']}"))
        errors += [_text(f"{name}: {e}") for e in _listed(part.get("errors"))]
        if name != "discovery" and revision is None:
            revision = _text(part.get("active_revision")) or None
    plugins = report.get("plugins")
    plugins = plugins if isinstance(plugins, Mapping) else {}
    return {
        "active_revision": revision,
        "errors": errors[:_MAX_ERRORS],
        "plugins": {
            _text(name): _text(state.get("state"))
            for name, state in list(plugins.items())[:50]
            if isinstance(state, Mapping)
        },
        "engine": _text(labels.get("version")),
        "instance": _text(labels.get("id")),
    }


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _event(tx: Tx, point: EnforcementPoint, action: str, facts: dict[str, Any]) -> AuditEvent:
    return AuditEvent(
        id=tx.new_id("event"),
        at=tx.now,
        actor=ActorRef(kind="enforcement-point", id=point.id, sponsor_id=None, credential_id=None),
        action=action,
        resource_kind="enforcement-point",
        resource_id=point.id,
        outcome=Outcome.DONE,
        facts=facts,
    )


def list_page(
    rt: Runtime, caller: Caller, ref: str, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """What a point reported to have decided, newest first."""
    limit = paging.checked_limit(limit)
    with rt.database.reading() as tx:
        check_may_view(tx, caller)
        point = find(tx, ref)
        c = t.reported_decisions.c
        query = sa.select(t.reported_decisions).where(c.point_id == point["id"])
        if cursor is not None:
            last = tx.one(query.where(c.decision_id == cursor))
            if last is not None:
                query = query.where(
                    sa.tuple_(c.at, c.decision_id)
                    < sa.tuple_(sa.literal(last["at"]), sa.literal(last["decision_id"]))
                )
        rows = tx.all(query.order_by(c.at.desc(), c.decision_id.desc()).limit(limit + 1))
        more = rows[limit - 1]["decision_id"] if len(rows) > limit else None
        return {"items": [_view(row) for row in rows[:limit]], "next": more}


def _view(row: Row) -> dict[str, Any]:
    names = ("decision_id", "at", "received_at", "path", "revision", "effect", "erased")
    return {**{name: row[name] for name in names}, "entry": json.loads(row["entry"])}
