"""Policies: which bundle is in force, its rules, and putting another one in force.

A bundle is checked whole before it may decide anything: it compiles, its data is complete, and its
own tests pass. Stored bundles are never changed or deleted, so that every decision can be computed
again, and going back to an earlier one is the same step as going forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from charter.adapters.rego.describe import RuleDescription
from charter.adapters.rego.syntax import PolicyRefusedError
from charter.adapters.rego.worker import PolicyWorker
from charter.core.access.invariants import ResourceRef
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.access.roles import RoleName
from charter.core.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from charter.core.policy.bundle import Bundle
from charter.core.policy.pipeline_limits import DirectApply
from charter.services import paging
from charter.services.access import carry_out, simple
from charter.services.decisions import Answer, actor
from charter.services.policy_bundles import (
    SECURITY_AND_PLATFORM,
    Kind,
    active_digest,
    check_earlier,
    check_parity,
    previous_good,
    put_in_force,
    row_of,
    store_bundle,
    tell,
)
from charter.services.policy_signature import signed_by
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_MOST_FAILURES = 5  # in a message; the details carry all


def check(bundle: Bundle) -> None:
    """Raise `InvalidInputError`, naming what is wrong, unless the bundle may decide.

    The same check as `charter policy check`: errors refuse, warnings do not. It happens in a worker
    process with limits, which raises `WorkerFailedError` for a bundle that overruns them.
    """
    with PolicyWorker() as worker:
        found = worker.check(bundle)
    tests = found["tests"] or {"run": 0, "failed": 0, "failures": []}
    if tests["failed"]:
        names = [failure["name"] for failure in tests["failures"]]
        raise InvalidInputError(
            f"{len(names)} of the bundle's {tests['run']} tests fail: "
            f"{', '.join(names[:_MOST_FAILURES])}.",
            fix="See them with charter policy test DIR, and correct the rule or the test.",
            code="policy-tests-fail",
            details={"failures": names},
        )
    if not found["passed"]:
        raise PolicyRefusedError([_sentence(one) for one in found["findings"] if _is_error(one)])


def _is_error(finding: Mapping[str, Any]) -> bool:
    return bool(finding["severity"] == "error")


def _sentence(finding: Mapping[str, Any]) -> str:
    line = f":{finding['line']}" if finding["line"] else ""
    return f"{finding['file']}{line}: {finding['message']}"


def _check_before(rt: Runtime, caller: Caller, bundle: Bundle) -> None:
    """Check a bundle that was not in force before, outside any transaction: it takes seconds.

    Who may not put it in force anyway does not get so far.
    """
    if not reach_set(caller.subject, Permission.POLICY_APPLY, rt.now()).everything:
        return
    with rt.database.reading() as tx:
        c = t.policy_activations.c
        known = tx.one(sa.select(c.digest).where(c.digest == bundle.digest).limit(1))
    if known is None:
        check(bundle)


def apply(
    rt: Runtime,
    caller: Caller,
    files: Mapping[str, str],
    note_text: str,
    *,
    emergency: bool = False,
) -> dict[str, Any]:
    """Check, keep and put in force at once, where the bundle in force lets that be.

    An emergency passes the pipeline by: it needs a reason, and every security admin hears of it.
    """

    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        _check_direct(rt, tx, emergency=emergency, why=note_text)
        store_bundle(tx, bundle, loaded_by=caller.id, note_text=note_text)
        put_in_force(
            rt,
            tx,
            bundle.digest,
            kind=Kind.EMERGENCY if emergency else Kind.APPLY,
            by=actor(caller),
            ip=caller.ip,
            why=note_text,
            decision_id=answer.id,
        )
        if emergency:
            _alarm(tx, caller, bundle.digest, note_text)
        return _view(rt, tx, row_of(tx, bundle.digest))

    bundle = Bundle(files)
    _check_before(rt, caller, bundle)
    if not emergency:  # it must be possible while OPA is down
        check_parity(rt, caller, bundle)
    return carry_out(
        rt, lambda _: simple(caller, Permission.POLICY_APPLY, ResourceRef("policy")), act
    )


def _check_direct(rt: Runtime, tx: Tx, *, emergency: bool, why: str) -> None:
    """Raise unless a bundle may be put in force past the pipeline."""
    if emergency:
        if not why.strip():
            raise InvalidInputError(
                "An emergency needs its reason on record.",
                fix="Say why with -m.",
                code="reason-required",
            )
        return
    how = rt.policy.active(tx).data.pipeline.direct_apply
    watched = rt.settings.policy_repository is not None
    if how is DirectApply.EMERGENCY or (how is DirectApply.WITHOUT_SOURCE and watched):
        raise ConflictError(
            "Policies here change through reviews, not directly.",
            fix="Push to a branch, or charter policy propose DIR -m WHY. "
            "In an emergency: charter policy apply DIR --emergency -m WHY.",
            code="pipeline-required",
        )


def _alarm(tx: Tx, caller: Caller, digest: str, why: str) -> None:
    name = caller.person.handle
    tell(
        tx,
        (RoleName.SECURITY_ADMIN.value,),
        "policy-emergency",
        f"{name} put a policy bundle in force past the reviews, as an emergency: {why}",
        ("policy", digest),
    )


def activate(rt: Runtime, caller: Caller, digest: str) -> dict[str, Any]:
    """Put an earlier bundle in force again; `go_back` says the same with a reason."""
    return _go_back(rt, caller, Permission.POLICY_APPLY, digest, "")


def go_back(rt: Runtime, caller: Caller, digest: str | None, why: str) -> dict[str, Any]:
    """Put a bundle in force that was in force before; without a digest, the one before this one.

    Effective on every replica with its next decision.
    """
    return _go_back(rt, caller, Permission.POLICY_ROLLBACK, digest, why)


def _go_back(
    rt: Runtime, caller: Caller, permission: Permission, digest: str | None, why: str
) -> dict[str, Any]:
    def act(tx: Tx, answer: Answer) -> dict[str, Any]:
        chosen = digest or previous_good(tx)
        if chosen is None:
            raise ConflictError(
                "No other bundle has been in force yet, so there is none to go back to.",
                fix="Put a corrected one in force: charter policy apply DIR.",
                code="no-earlier-bundle",
            )
        row = check_earlier(tx, chosen)
        reason = f": {why}" if why else "."
        put_in_force(
            rt,
            tx,
            chosen,
            kind=Kind.ROLLBACK,
            by=actor(caller),
            ip=caller.ip,
            why=why,
            decision_id=answer.id,
        )
        tell(
            tx,
            SECURITY_AND_PLATFORM,
            "policy-rolled-back",
            f"{caller.person.handle} went back to an earlier policy bundle{reason}",
            ("policy", chosen),
        )
        return _view(rt, tx, row)

    return carry_out(rt, lambda _: simple(caller, permission, ResourceRef("policy")), act)


def _view(rt: Runtime, tx: Tx, row: Row) -> dict[str, Any]:
    is_active = active_digest(tx) == row["digest"]
    return {
        "digest": row["digest"],
        "created_at": row["created_at"],
        "loaded_by": row["loaded_by"],
        "note": row["note"],
        "active": is_active,
        "signed": signed_by(rt.keys.policy.public_key(), row),
        "rules": None,
        "failing": None,
        "standing_in": None,
    }


def active(rt: Runtime, caller: Caller) -> dict[str, Any]:
    """The bundle in force."""
    del caller
    with rt.database.reading() as tx:
        policy = rt.policy.active(tx)
        digest = active_digest(tx) or policy.digest
        failing = [trouble for trouble in rt.policy.trouble(tx) if trouble.digest == digest]
        return {
            **_view(rt, tx, row_of(tx, digest)),
            "rules": len(policy.rules),
            "failing": failing[0].message if failing else None,
            "standing_in": policy.digest if policy.digest != digest else None,
        }


def bundles(
    rt: Runtime, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """All bundles that were ever in force, newest first; any of them can be again."""
    del caller
    limit = paging.checked_limit(limit)
    with rt.database.reading() as tx:
        c = t.bundles.c
        was = sa.select(t.policy_activations.c.digest)
        names = (c.digest, c.created_at, c.loaded_by, c.note, c.signature)
        query = sa.select(*names).where(c.digest.in_(was))
        if cursor is not None:  # digests have no order in time, so the row itself is the place
            last = tx.one(query.where(c.digest == cursor))
            if last is not None:
                query = query.where(
                    sa.tuple_(c.created_at, c.digest)
                    < sa.tuple_(sa.literal(last["created_at"]), sa.literal(last["digest"]))
                )
        rows = tx.all(query.order_by(c.created_at.desc(), c.digest.desc()).limit(limit + 1))
        more = rows[limit - 1]["digest"] if len(rows) > limit else None
        return {"items": [_view(rt, tx, row) for row in rows[:limit]], "next": more}


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
