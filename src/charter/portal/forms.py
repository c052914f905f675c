"""The portal's forms: what a browser sends, turned into what services take, or into a sentence.

They check shape only (a name is a name, a number is a number); what may be asked for is decided
behind the services. A browser sends every field as text and an empty one as empty text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from charter.core.approvals.requirements import Carried
from charter.core.kernel.errors import InvalidInputError
from charter.core.kernel.masking import masked
from charter.core.kernel.units import MIB_PER_GIB
from charter.services.workspace_questions import WorkspaceRequest

Form = TypeVar("Form", bound=BaseModel)

REFERENCE: Final = r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$"
_MOST_GIB: Final = 2**20  # a pebibyte: far above any machine, far below what integers hold

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Reference = Annotated[str, Field(pattern=REFERENCE)]
Ticket = Annotated[str | None, Field(max_length=64)]
Hours = Annotated[int | None, Field(ge=1, le=8784)]
Gib = Annotated[int, Field(ge=1, le=_MOST_GIB)]


def seconds(hours: int | None) -> int | None:
    """A number of hours in seconds; None stays None."""
    return None if hours is None else hours * 3600


def _lines(value: object) -> object:
    """One entry on each line."""
    if isinstance(value, str):
        return [line.strip() for line in value.splitlines() if line.strip()]
    return value


class Fields(BaseModel):
    """A form; what is left empty is absent, what the page adds for itself is passed over."""

    model_config = ConfigDict(extra="ignore", str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _absent(cls, values: Mapping[str, str]) -> dict[str, Any]:
        # A link is a secret in its place.
        return {k: v if k == "link" else masked(v) for k, v in values.items() if v.strip()}


class WorkspaceForm(Fields):
    """A workspace that is asked for."""

    name: Slug
    template: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}(@\d{1,4}\.\d{1,4}\.\d{1,4})?$")
    ]
    size: Slug = "small"
    vcpu: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None
    memory_gib: Gib | None = None
    disk_gib: Gib | None = None
    gpu: Annotated[int | None, Field(ge=0, le=2**31 - 1)] = None
    team: Reference | None = None
    project: Reference | None = None
    network: Literal["none", "host"] = "none"
    justification: Annotated[str | None, Field(max_length=2000)] = None
    ticket: Ticket = None
    duration_hours: Hours = None
    key: Annotated[str | None, Field(pattern=r"^[0-9a-f]{32}$")] = None

    def request(self) -> WorkspaceRequest:
        """What the service takes."""
        return WorkspaceRequest(
            name=self.name,
            template=self.template,
            size=self.size,
            vcpu=self.vcpu,
            memory_mib=None if self.memory_gib is None else self.memory_gib * MIB_PER_GIB,
            disk_mib=None if self.disk_gib is None else self.disk_gib * MIB_PER_GIB,
            gpu=self.gpu,
            team=self.team,
            project=self.project,
            network=self.network,
            justification=self.justification,
            ticket=self.ticket,
            duration_seconds=seconds(self.duration_hours),
        )


class StartForm(Fields):
    """What a start or a renewal carries for those who approve it."""

    justification: Annotated[str | None, Field(max_length=2000)] = None
    ticket: Ticket = None
    duration_hours: Hours = None

    def carried(self) -> Carried:
        """What the service takes."""
        return Carried(self.justification or "", self.ticket or "", seconds(self.duration_hours))


class AgentForm(Fields):
    """An agent that is to be sponsored."""

    name: Slug
    task: Annotated[str, Field(max_length=200, pattern=r"^[^\n\t]+$")]
    repositories: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,199}$")]],
        BeforeValidator(_lines),
        Field(max_length=50),
    ] = Field(default_factory=list)
    tier: Literal["read-only", "sandboxed", "standard", "trusted"] = "read-only"
    team: Reference | None = None
    project: Reference | None = None
    minutes: Annotated[int, Field(ge=1, le=525_600)] = 60
    justification: Annotated[str | None, Field(max_length=2000)] = None
    definition: Reference | None = None
    ticket: Ticket = None
    key: Annotated[str | None, Field(pattern=r"^[0-9a-f]{32}$")] = None


class AgentDefinitionForm(Fields):
    """What an agent may be."""

    name: Slug
    description: Annotated[str, Field(max_length=200, pattern=r"^[^\n\t]*$")] = ""
    repositories: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z0-9*][A-Za-z0-9._/:@*-]{0,199}$")]],
        BeforeValidator(_lines),
        Field(max_length=50),
    ] = Field(default_factory=list)
    tier: Literal["read-only", "sandboxed", "standard", "trusted"] = "read-only"
    max_session_minutes: Annotated[int | None, Field(ge=1, le=525_600)] = None
    run_by: Annotated[
        list[
            Annotated[
                str,
                Field(pattern=r"^(team|everybody|(team|person):[A-Za-z0-9][A-Za-z0-9._-]{0,99})$"),
            ]
        ],
        BeforeValidator(_lines),
        Field(min_length=1, max_length=50),
    ] = Field(default_factory=lambda: ["team"])
    team: Reference | None = None
    why: Annotated[str, Field(max_length=200)] = ""

    def bounds(self) -> dict[str, Any]:
        """What the service takes."""
        minutes = self.max_session_minutes
        return {
            **self.model_dump(exclude={"max_session_minutes"}),
            "max_session_seconds": None if minutes is None else minutes * 60,
        }


class PasskeyForm(Fields):
    """What a passkey is called."""

    name: Annotated[str, Field(max_length=100, pattern=r"^[^\n\t]+$")]


class TokenForm(Fields):
    """A personal token that is asked for."""

    name: Annotated[str, Field(max_length=200, pattern=r"^[^\n\t]+$")]
    days: Annotated[int, Field(ge=1, le=365)] = 30


class ProductionForm(Fields):
    """Access to production that is asked for."""

    project: Reference
    minutes: Annotated[int, Field(ge=1, le=525_600)]
    reason: Annotated[str | None, Field(max_length=2000)] = None
    ticket: Annotated[str | None, Field(max_length=200, pattern=r"^[^\n\t]+$")] = None


class QuotaForm(Fields):
    """More of a quota; `scope` is a word and, after a blank, a name. Memory and disk in GiB."""

    scope: Annotated[
        str, Field(pattern=r"^(user|team|project)( [A-Za-z0-9][A-Za-z0-9._-]{0,99})?$")
    ]
    dimension: Literal["vcpu", "memory_mib", "disk_mib", "gpu", "workspaces"]
    amount: Gib
    until: date
    reason: Annotated[str | None, Field(max_length=2000)] = None


class EmergencyForm(Fields):
    """An emergency role that is taken."""

    role: Slug
    reason: Annotated[str, Field(max_length=2000)]
    minutes: Annotated[int | None, Field(ge=1, le=1440)] = None


class EmergencyReviewForm(Fields):
    """What an emergency was."""

    outcome: Literal["justified", "excessive", "misused"]
    findings: Annotated[str, Field(max_length=2000)]


class ElevationForm(Fields):
    """More room for an agent in its task."""

    tier: Literal["read-only", "sandboxed", "standard", "trusted"] | None = None
    repositories: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,199}$")]],
        BeforeValidator(_lines),
        Field(max_length=50),
    ] = Field(default_factory=list)
    reason: Annotated[str | None, Field(max_length=2000)] = None


class ReasonForm(Fields):
    """An action with a reason that may be left out."""

    justification: Annotated[str | None, Field(max_length=2000)] = None


class KillForm(Fields):
    """Why an agent is killed."""

    reason: Annotated[str, Field(max_length=2000)]


class EndForm(Fields):
    """How a task ended."""

    outcome: Literal["completed", "failed"]


class VoteForm(Fields):
    """A comment that goes with a vote."""

    comment: Annotated[str | None, Field(max_length=4000)] = None


class CommentForm(Fields):
    """A word about a request."""

    text: Annotated[str, Field(max_length=4000)]


class WithdrawForm(Fields):
    """Why a request is withdrawn, or a grant taken back."""

    reason: Annotated[str | None, Field(max_length=4000)] = None


class AbsenceForm(Fields):
    """Who votes in one's stead, from one day to another."""

    delegate: Reference
    starts_on: date | None = None
    ends_on: date
    reason: Annotated[str | None, Field(max_length=4000)] = None


class LinkVoteForm(VoteForm):
    """A vote that a link carries."""

    verdict: Literal["approve", "deny"]


class ChannelForm(Fields):
    """A channel for notices."""

    kind: Literal["slack", "webhook"]
    name: Slug
    team: Reference | None = None
    url: Annotated[str, Field(max_length=2000)]
    secret: Annotated[
        str | None, Field(min_length=16, max_length=500, pattern=r"^[\x21-\x7e]+$")
    ] = None


class ReviewForm(Fields):
    """Why a review is opened."""

    trigger: Literal[
        "incident", "new-platform", "new-agents", "regulation-change", "new-team", "friction"
    ]
    reason: Annotated[str, Field(max_length=2000)]


class MinutesForm(Fields):
    """The minutes of a review; its findings are rows of their own."""

    minutes: Annotated[str | None, Field(max_length=40_000)] = None


class FindingForm(Fields):
    """One finding of a review."""

    finding: Annotated[str, Field(max_length=200, pattern=r"^[^\n\t]+$")]
    owner: Reference
    due: date


class ChangeReviewForm(Fields):
    """A word on a candidate, named by its digest."""

    verdict: Literal["approve", "reject"]
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    comment: Annotated[str | None, Field(max_length=4000)] = None


class CommandForm(Fields):
    """A command for the workspace's shell."""

    command: Annotated[str, Field(max_length=4000)]


_MESSAGES: Final = {
    "missing": "is needed",
    "string_pattern_mismatch": "has characters that it may not have, or is too long",
    "string_too_long": "is too long",
    "int_parsing": "is not a whole number",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "date_from_datetime_parsing": "is not a day such as 2026-09-30",
    "date_parsing": "is not a day such as 2026-09-30",
    "literal_error": "is none of the choices",
}


def read(form: type[Form], fields: Mapping[str, str]) -> Form:
    """The form out of the fields that were sent; raises `InvalidInputError` with a sentence."""
    try:
        return form.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        name = (
            str(first["loc"][0]).replace("_gib", "").replace("_", " ") if first["loc"] else "form"
        )
        raise InvalidInputError(
            f"{name.capitalize()} {_MESSAGES.get(first['type'], 'is not valid')}.",
            fix="Correct the field and send the form again.",
        ) from None


# --- suggestions ------------------------------------------------------------------------------
_SUGGESTED_SAME: Final = frozenset({"size", "template", "network", "vcpu", "gpu"})
_SUGGESTED_IN_GIB: Final = {"memory_mib": "memory_gib", "disk_mib": "disk_gib"}
_SUGGESTED_FIELDS: Final = _SUGGESTED_SAME | {*_SUGGESTED_IN_GIB.values(), "team", "project"}
_SUGGESTED_LONGEST: Final = 2_000


def suggested_fields(proposal: Mapping[str, Any]) -> str | None:
    """The form's fields that make the proposal; None where the form cannot say all of it."""
    fields: dict[str, str] = {}
    for change in proposal["changes"]:
        name, value = change["field"], change["to"]
        kind, _, place = str(value).partition(" ")
        if name in _SUGGESTED_SAME:
            fields[name] = str(value)
        elif name in _SUGGESTED_IN_GIB and value % MIB_PER_GIB == 0:
            fields[_SUGGESTED_IN_GIB[name]] = str(value // MIB_PER_GIB)
        elif name == "place" and kind in {"team", "project"}:
            fields |= {"team": "", "project": "", kind: place}
        else:
            return None
    return json.dumps(fields)


def with_suggestion(form: Mapping[str, str]) -> dict[str, str]:
    """The form with the suggestion that it carries, if it carries one that can be read.

    The button beside a suggestion sends the form again with the suggestion's fields as one JSON
    text, so that it works without scripts; what arrives is checked like everything that is typed.
    """
    changed = {name: value for name, value in form.items() if name != "apply"}
    text = form.get("apply", "")
    if not text or len(text) > _SUGGESTED_LONGEST:
        return changed
    try:
        fields = json.loads(text)
    except ValueError:
        return changed
    if isinstance(fields, dict):
        changed |= {
            name: value
            for name, value in fields.items()
            if name in _SUGGESTED_FIELDS and isinstance(value, str)
        }
    return changed
