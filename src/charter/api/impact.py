"""Impact analyses: what a candidate policy would change, and how far the analysis is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, Field

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, Cursor, Filter, Limit, RuntimeDep
from charter.services import impact, shadow

router = APIRouter(tags=["policies"], responses=PROBLEMS)

_MOST_DAYS = 3650


def _storable(text: str) -> str:
    """Text that the database can keep: any but null characters and halves of characters."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("holds a null character or half a character")
    return text


Path = Annotated[str, Field(max_length=200), AfterValidator(_storable)]
Content = Annotated[str, Field(max_length=262_144), AfterValidator(_storable)]


class ImpactIn(s.In):
    """A candidate: its files, or the digest of a kept bundle; against the last `days` days."""

    files: dict[Path, Content] | None = None
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    days: Annotated[int, Field(ge=1, le=_MOST_DAYS)] = impact.DEFAULT_DAYS


class ImpactGroupOut(BaseModel):
    """The cases of one team, kind of subject, action or origin."""

    key: str
    total: int
    flipped: int
    tightened: int
    loosened: int
    unknown: int
    matrix: dict[str, dict[str, int]]


class ImpactRuleOut(BaseModel):
    """How often a rule caused a flip, and how often it begins and ends to speak."""

    rule: str
    caused: int
    begins: int
    ends: int
    would_begin: int
    would_end: int


class ImpactExampleOut(BaseModel):
    """One case by name."""

    origin: str
    id: str
    at: datetime
    subject_kind: str
    subject_id: str
    team: str | None
    action: str
    resource_kind: str
    resource_id: str | None
    rules: list[str]
    message: str


class ImpactCellOut(BaseModel):
    """A flip: how many cases, and some of them."""

    before: str
    after: str
    count: int
    examples: list[ImpactExampleOut]


class ImpactUnknownOut(BaseModel):
    """Cases whose records lack facts that the candidate reads."""

    count: int
    paths: list[dict[str, Any]]
    examples: list[ImpactExampleOut]


class ImpactCostOut(BaseModel):
    """vCPUs that would be refused or admitted: each of them is a vCPU-hour per hour of running.

    `uncosted` counts flips of cases without a known size.
    """

    origin: str
    vcpu_refused: int
    vcpu_admitted: int
    uncosted: int


class ImpactReportOut(BaseModel):
    """What would change. `matrix[before][after]` counts the known cases."""

    total: int
    flipped: int
    tightened: int
    loosened: int
    unchanged: int
    other_reasons: int
    failed: int
    matrix: dict[str, dict[str, int]]
    by: dict[str, list[ImpactGroupOut]]
    rules: list[ImpactRuleOut]
    examples: list[ImpactCellOut]
    unknown: ImpactUnknownOut
    cost: list[ImpactCostOut]


class ImpactOut(BaseModel):
    """An impact analysis; `report` is what it has found so far, `teams` names the teams in it."""

    id: str
    change_id: str | None
    digest: str
    base_digest: str
    requested_by: str
    since: datetime
    until: datetime
    state: str
    done: int
    total: int
    per_second: float | None
    eta_seconds: float | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    report: ImpactReportOut | None
    teams: dict[str, str]


class ShadowDifferenceOut(BaseModel):
    """A decision that the candidate would have made otherwise."""

    decision_id: str
    at: datetime
    before: str
    after: str
    rules: list[str]
    action: str
    team_id: str | None
    subject_id: str


class ShadowOut(BaseModel):
    """What a staged candidate answers to what is decided; nobody acts on it."""

    id: str
    change_id: str | None
    digest: str
    state: str
    seen: int
    differing: int
    failed: int
    error: str | None
    started_at: datetime
    ended_at: datetime | None
    report: ImpactReportOut
    differences: list[ShadowDifferenceOut]


@router.get("/policies/shadow")
def list_shadows(
    rt: RuntimeDep, caller: CallerDep, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[ShadowOut]:
    """Staged candidates and what they answer, newest first."""
    return s.Page[ShadowOut].model_validate(
        shadow.list_page(rt, caller, cursor=cursor, limit=limit)
    )


@router.post("/policies/impact", status_code=201)
def create(rt: RuntimeDep, caller: CallerDep, body: ImpactIn) -> ImpactOut:
    """Begin to decide recorded decisions and existing workspaces again under a candidate."""
    return ImpactOut.model_validate(
        impact.create(rt, caller, files=body.files, digest=body.digest, days=body.days)
    )


@router.get("/policies/impact")
def list_runs(
    rt: RuntimeDep,
    caller: CallerDep,
    change: Filter = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[ImpactOut]:
    """Impact analyses, newest first, without their reports."""
    return s.Page[ImpactOut].model_validate(
        impact.list_page(rt, caller, change=change, cursor=cursor, limit=limit)
    )


@router.get("/policies/impact/{impact_run}")
def get(rt: RuntimeDep, caller: CallerDep, impact_run: s.Reference) -> ImpactOut:
    """One impact analysis with its report so far."""
    return ImpactOut.model_validate(impact.get(rt, caller, impact_run))


@router.post("/policies/impact/{impact_run}/cancel")
def cancel(rt: RuntimeDep, caller: CallerDep, impact_run: s.Reference) -> ImpactOut:
    """End an analysis; what it has found stays."""
    return ImpactOut.model_validate(impact.cancel(rt, caller, impact_run))
