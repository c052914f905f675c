"""Policies: the bundle in force, its rules, and putting another one in force."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Limit, RuntimeDep
from charter.services import policies, policy_bundles

router = APIRouter(tags=["policies"], responses=PROBLEMS)

Digest = Annotated[str, Path(pattern=r"^sha256:[0-9a-f]{64}$")]
RuleId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_./-]{1,200}$")]


@router.get("/policies/active")
def active(rt: RuntimeDep, caller: CallerDep) -> s.BundleOut:
    """The bundle in force."""
    return s.BundleOut(**policies.active(rt, caller))


@router.get("/policies/bundles")
def bundles(
    rt: RuntimeDep, caller: CallerDep, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[s.BundleOut]:
    """All bundles that were ever in force."""
    return s.Page[s.BundleOut].model_validate(
        policies.bundles(rt, caller, cursor=cursor, limit=limit)
    )


@router.post("/policies/bundles", status_code=201)
def apply(rt: RuntimeDep, caller: CallerDep, body: s.BundleIn) -> s.BundleOut:
    """Check a bundle (it compiles, its data is complete, its tests pass) and put it in force."""
    return s.BundleOut(
        **policies.apply(rt, caller, body.files, body.note, emergency=body.emergency)
    )


@router.post("/policies/bundles/{digest}/activate")
def activate(rt: RuntimeDep, caller: CallerDep, digest: Digest) -> s.BundleOut:
    """Put a bundle in force again that was in force before."""
    return s.BundleOut(**policies.activate(rt, caller, digest))


@router.get("/policies/bundles/{digest}")
def exported(rt: RuntimeDep, caller: CallerDep, digest: Digest) -> s.ExportedBundleOut:
    """A kept bundle with its signature, to be checked anywhere."""
    return s.ExportedBundleOut(**policy_bundles.exported(rt, caller, digest))


@router.get("/policies/history")
def history(
    rt: RuntimeDep, caller: CallerDep, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[s.ActivationOut]:
    """What was in force when, who put it there and why."""
    return s.Page[s.ActivationOut].model_validate(
        policy_bundles.list_history(rt, caller, cursor=cursor, limit=limit)
    )


@router.post("/policies/rollback")
def rollback(rt: RuntimeDep, caller: CallerDep, body: s.RollbackIn) -> s.BundleOut:
    """Go back to a bundle that was in force; replicas follow with their next decision."""
    return s.BundleOut(**policies.go_back(rt, caller, body.digest, body.why))


@router.get("/policies/rules")
def rules(rt: RuntimeDep, caller: CallerDep) -> s.Page[s.RuleOut]:
    """The rules of the bundle in force."""
    return s.Page[s.RuleOut].model_validate({"items": policies.rules(rt, caller)})


@router.get("/policies/rules/{rule_id:path}")
def rule(rt: RuntimeDep, caller: CallerDep, rule_id: RuleId) -> s.RuleOut:
    """One rule with the source of its file."""
    return s.RuleOut(**policies.rule(rt, caller, rule_id))
