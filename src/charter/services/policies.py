"""Policies: which bundle is in force, its rules, and putting another one in force.

A bundle is checked whole before it may decide anything: it compiles, its data is complete, and its
own tests pass. Stored bundles are never changed or deleted, so that every decision can be computed
again, and going back to an earlier one is the same step as going forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from charter.adapters.rego.check import check as checked
from charter.adapters.rego.describe import RuleDescription
from charter.adapters.rego.syntax import PolicyRefusedError
from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.kernel.errors import InvalidInputError, NotFoundError
from charter.core.policy.bundle import Bundle
from charter.services import paging
from charter.services.access import carry_out, note, simple
from charter.services.decisions import Answer, actor
from charter.services.exemptions import record_changes
from charter.services.lifecycle import recheck_all
from charter.services.policy_point import compile_engine
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_MOST_FAILURES = 5  # in a message; the details carry all


def check(files: Mapping[str, str]) -> Bundle:
    """The bundle of these files, if it may decide; raises `InvalidInputError` naming what is wrong.

    The same check as `charter policy check`: errors refuse, warnings do not. It happens in this
    process: bundles that are applied directly are the work of administrators.
    """
    bundle = Bundle(files)
    report = checked(bundle)
    failures = report.report.failures if report.report is not None else ()
    if failures:
        named = ", ".join(test.name for test in failures[:_MOST_FAILURES])
        tests = report.report.tests if report.report is not None else ()
        raise InvalidInputError(
            f"{len(failures)} of the bundle's {len(tests)} tests fail: {named}.",
            fix="See them with charter policy test DIR, and correct the rule or the test.",
            code="policy-tests-fail",
            details={"failures": [test.name for test in failures]},
        )
    if report.errors:
        raise PolicyRefusedError([finding.sentence() for finding in report.errors])
    return bundle


def store_bundle(tx: Tx, bundle: Bundle, *, loaded_by: str, note_text: str) -> None:
    """Keep the bundle; one that is there already stays as it is."""
    tx.conn.execute(
        insert(t.bundles)
        .values(
            digest=bundle.digest,
            files={path: bundle.text(path) for path in bundle.files},
            loaded_by=loaded_by,
            note=note_text,
            created_at=tx.now,
        )
        .on_conflict_do_nothing()
    )


def set_active(tx: Tx, digest: str) -> None:
    """Put a stored bundle in force; every replica follows with its next decision."""
    statement = insert(t.active_bundle).values(single_row=True, digest=digest, since=tx.now)
    tx.conn.execute(
        statement.on_conflict_do_update(
            index_elements=["single_row"],
            set_={"digest": statement.excluded.digest, "since": statement.excluded.since},
        )
    )
    recheck_all(tx)
    tx.wake = True


def apply(rt: Runtime, caller: Caller, files: Mapping[str, str], note_text: str) -> dict[str, Any]:
    """Check, keep and put in force."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        bundle = check(files)
        store_bundle(tx, bundle, loaded_by=caller.id, note_text=note_text)
        _activate(tx, caller, bundle.digest, answer)
        return _view(tx, _row(tx, bundle.digest))

    return carry_out(
        rt, lambda _: simple(caller, Permission.POLICY_APPLY, ResourceRef("policy")), act
    )


def activate(rt: Runtime, caller: Caller, digest: str) -> dict[str, Any]:
    """Put an earlier bundle in force again."""

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        row = _row(tx, digest)
        compile_engine(Bundle(row["files"])).engine.close()
        _activate(tx, caller, digest, answer)
        return _view(tx, row)

    return carry_out(
        rt, lambda _: simple(caller, Permission.POLICY_APPLY, ResourceRef("policy")), act
    )


def _activate(tx: Tx, caller: Caller, digest: str, answer: Answer) -> None:
    previous = tx.one(sa.select(t.active_bundle.c.digest))
    set_active(tx, digest)
    before = None if previous is None else previous["digest"]
    record_changes(tx, actor(caller), before, digest, answer.id)
    note(
        tx,
        caller,
        "policy.activated",
        "policy",
        digest,
        decision_id=answer.id,
        facts={"previous": before},
    )


def _row(tx: Tx, digest: str) -> Row:
    row = tx.one(sa.select(t.bundles).where(t.bundles.c.digest == digest))
    if row is None:
        raise NotFoundError("There is no such bundle.", fix="charter policy bundles lists them.")
    return row


def _view(tx: Tx, row: Row) -> dict[str, Any]:
    active = tx.one(sa.select(t.active_bundle.c.digest))
    return {
        "digest": row["digest"],
        "created_at": row["created_at"],
        "loaded_by": row["loaded_by"],
        "note": row["note"],
        "active": active is not None and active["digest"] == row["digest"],
        "rules": None,
    }


def active(rt: Runtime, caller: Caller) -> dict[str, Any]:
    """The bundle in force."""
    del caller
    with rt.database.reading() as tx:
        policy = rt.policy.active(tx)
        return {
            **_view(tx, _row(tx, policy.digest)),
            "rules": len(policy.rules),
        }


def bundles(
    rt: Runtime, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """All kept bundles, newest first."""
    del caller
    limit = paging.checked_limit(limit)
    with rt.database.reading() as tx:
        c = t.bundles.c
        query = sa.select(c.digest, c.created_at, c.loaded_by, c.note)
        if cursor is not None:  # digests have no order in time, so the row itself is the place
            last = tx.one(query.where(c.digest == cursor))
            if last is not None:
                query = query.where(
                    sa.tuple_(c.created_at, c.digest)
                    < sa.tuple_(sa.literal(last["created_at"]), sa.literal(last["digest"]))
                )
        rows = tx.all(query.order_by(c.created_at.desc(), c.digest.desc()).limit(limit + 1))
        more = rows[limit - 1]["digest"] if len(rows) > limit else None
        return {"items": [_view(tx, row) for row in rows[:limit]], "next": more}


def rules(rt: Runtime, caller: Caller) -> list[dict[str, Any]]:
    """The rules of the bundle in force."""
    del caller
    with rt.database.reading() as tx:
        policy = rt.policy.active(tx)
        return [_rule_view(rule) for rule in policy.rules]


def rule(rt: Runtime, caller: Caller, rule_id: str) -> dict[str, Any]:
    """One rule with the source of its file."""
    del caller
    with rt.database.reading() as tx:
        policy = rt.policy.active(tx)
        for found in policy.rules:
            if found.id == rule_id:
                return {**_rule_view(found), "source": policy.bundle.text(found.file)}
    raise NotFoundError(
        f"The bundle in force has no rule {rule_id!r}.", fix="charter policy rules lists them."
    )


def _rule_view(found: RuleDescription) -> dict[str, Any]:
    return {
        "id": found.id,
        "title": found.title,
        "effect": str(found.effect),
        "severity": found.severity,
        "mode": str(found.mode),
        "controls": list(found.controls),
        "fix": found.fix,
        "file": found.file,
        "line": found.line,
        "source": None,
    }
