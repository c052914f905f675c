# house: allow file-length — one vocabulary: the shapes refer to each other
"""The shapes that cross the HTTP edge. They validate; they decide nothing.

Text is bounded and free of control characters and lone surrogates (PostgreSQL cannot keep them and
no reader can see them); numbers are bounded by what the database's integers hold. What a number
*means* (is 96 vCPU too many?) is for policy.
"""

from __future__ import annotations

import unicodedata
from datetime import date, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from charter.core.access.permissions import Permission
from charter.core.kernel.masking import masked

_MAX_INTEGER = 2**31 - 1


def _printable(text: str) -> str:
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cs"} and character not in "\n\t":
            raise ValueError("holds a control character or half a character")
    return text


def _single_line(text: str) -> str:
    if "\n" in _printable(text) or "\t" in text:
        raise ValueError("takes one line of text")
    return text.strip()


def _given(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", examples=["payments-api"])]
Handle = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", examples=["dana"])]
Line = Annotated[str, Field(max_length=200), AfterValidator(_single_line), AfterValidator(masked)]
Words = Annotated[str, Field(max_length=4000), AfterValidator(_printable), AfterValidator(masked)]
Justification = Annotated[
    str,
    Field(max_length=2000, min_length=1),
    AfterValidator(_printable),
    AfterValidator(_given),
    AfterValidator(masked),
]
Ticket = Annotated[
    str,
    Field(max_length=64, min_length=1),
    AfterValidator(_printable),
    AfterValidator(_given),
    AfterValidator(masked),
]
Seconds = Annotated[int, Field(ge=1, le=31_622_400)]
Reference = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$",
        description="An id or, where names are unique, a name.",
    ),
]
Thumbprint = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]{43}$",
        description="SHA-256 thumbprint (RFC 7638) of the agent's public key: the credential is "
        "bound to it, and counts only with a proof of it (RFC 9449).",
    ),
]
RepositoryPattern = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9*][A-Za-z0-9._/:@*-]{0,199}$", examples=["git.example.org/web/*"]),
]
Runner = Annotated[
    str,
    Field(pattern=r"^(team|everybody|(team|person):[A-Za-z0-9][A-Za-z0-9._-]{0,99})$"),
]
Count = Annotated[int, Field(ge=0, le=_MAX_INTEGER, strict=True)]
Positive = Annotated[int, Field(ge=1, le=_MAX_INTEGER, strict=True)]
Host = Annotated[
    str,
    Field(
        pattern=r"^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9](:[0-9]{1,5})?$",
        max_length=253,
        examples=["git.example.org"],
    ),
]

T = TypeVar("T")


class In(BaseModel):
    """What a caller sends: unknown fields are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[T]):
    """One page of a list. `next` goes into `?cursor=` for the following page; absent at the end."""

    items: list[T]
    next: str | None = None


# --- decisions ----------------------------------------------------------------------------
class ReasonOut(BaseModel):
    """One rule that spoke."""

    rule: str
    effect: str
    message: str
    fix: str
    severity: str
    mode: str
    controls: list[str]
    approvers: list[str]
    approvals_needed: int
    requires: list[str]
    grant_seconds: int | None
    source: str


class DecisionOut(BaseModel):
    """An answer with every reason; `id` is absent for a preview, which is not stored."""

    id: str | None = None
    effect: Literal["allow", "warn", "require_approval", "deny"]
    violations: list[ReasonOut]
    obligations: list[dict[str, Any]]
    shadow: list[ReasonOut]


class DecisionRecordOut(BaseModel):
    """A stored decision."""

    id: str
    at: datetime
    subject_kind: str
    subject_id: str
    subject_name: str | None = Field(description="Handle or agent's name, where Charter has one.")
    action: str
    resource_kind: str
    resource_id: str | None
    effect: str
    bundle_digest: str
    engine: str
    duration_us: int
    result: DecisionOut
    facts: dict[str, Any] | None = Field(
        default=None, description="Only when one decision is asked for."
    )


class SeenOut(BaseModel):
    """A part of a rule's statement with its value at the time.

    `path` is the fact (`input.…`) or setting (`data.…`) that it stands for, `at` the place of the
    helper that computes it. `undefined` means that it had no value.
    """

    text: str
    path: str | None = None
    at: str | None = None
    value: Any = None
    undefined: bool = False


class StatementOut(BaseModel):
    """One statement of a rule: whether it held, and what it saw."""

    line: int
    text: str
    held: bool
    values: list[SeenOut]


class ExplainedRuleOut(BaseModel):
    """A rule that spoke, with place and values; `file` is absent for what is built into Charter.

    `state` is fired, or why it changed nothing: dry-run, exempted, off, granted.
    """

    rule: str
    effect: str
    message: str
    state: Literal["fired", "dry-run", "exempted", "off", "granted"]
    fix: str = ""
    severity: str = "medium"
    mode: str = "enforce"
    controls: list[str] = []
    approvers: list[str] = []
    approvals_needed: int = 1
    requires: list[str] = []
    grant_seconds: int | None = None
    source: str = ""
    file: str | None = None
    line: int | None = None
    end_line: int | None = None
    text: str | None = None
    statements: list[StatementOut]


class NearMissOut(BaseModel):
    """A rule that one comparison kept from speaking: `left sign right` does not hold, by little."""

    rule: str
    effect: str
    file: str
    line: int
    end_line: int
    stopped_line: int
    statement: str
    left: float | int
    left_text: str
    sign: str
    right: float | int
    right_text: str
    share: float = Field(description="How far the sides are apart, of the larger one.")
    text: str
    statements: list[StatementOut]


class SilentRuleOut(BaseModel):
    """A rule that had nothing to say, and the first statement that did not hold."""

    rule: str
    state: Literal["stopped", "unknown"]
    file: str
    line: int
    stopped_line: int | None
    statement: str | None


class ProposalOut(BaseModel):
    """Changes of the request that were decided together, and the decision that they give.

    Each of `changes` is `{field, from, to}`. `command` makes the changed request, where one can.
    """

    changes: list[dict[str, Any]]
    effect: Literal["allow", "warn", "require_approval"]
    sentence: str
    rules: list[str]
    command: str | None


class SuggestionOut(BaseModel):
    """The smallest change that would pass, the best first; `why_none` where there is none.

    `complete` is false when the search ended at its bound.
    """

    proposals: list[ProposalOut]
    why_none: str | None
    evaluations: int
    complete: bool


class ExplanationOut(BaseModel):
    """Why a decision came out as it did, as of its time."""

    id: str
    at: datetime
    action: str
    subject: str
    effect: Literal["allow", "warn", "require_approval", "deny"]
    sentence: str
    bundle_digest: str
    rules: list[ExplainedRuleOut] = Field(description="Those that made the decision.")
    silent: list[ExplainedRuleOut] = Field(
        description="Those that held and changed nothing: in dry-run, exempted, off, granted."
    )
    near: list[NearMissOut]
    others: list[SilentRuleOut]
    remedies: list[str]
    suggestion: SuggestionOut | None = Field(
        description="Absent for what passed, and where the search failed (see `notes`)."
    )
    now: dict[str, Any] = Field(
        description="`{same_rules, effect, sentence}`: what the rules in force say of these facts."
    )
    notes: list[str]
    milliseconds: float


class ReplayIn(In):
    """Which decisions to compute again: the newest `limit`, older than `cursor` if it is given."""

    limit: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    cursor: Reference | None = None
    processes: Annotated[int, Field(ge=1, le=16)] | None = None


class ReplayOut(BaseModel):
    """What a replay found; `differing` lists at most 50 of them.

    One call works for some seconds; `next` is the cursor for the rest, absent when all were done.
    """

    replayed: int
    differences: int
    differing: list[dict[str, str]]
    seconds: float
    next: str | None = None


# --- identity -----------------------------------------------------------------------------
class SignInIn(In):
    """A one-time link, exchanged for a personal token."""

    link: Annotated[str, Field(max_length=500)]
    token_name: Line = "command line"  # noqa: S105 — a label, no secret
    verifier: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43,128}$")] | None = Field(
        default=None, description="For a link that was made for one command line: RFC 7636."
    )


class WayOut(BaseModel):
    """A provider that people may sign in with."""

    name: str
    label: str


class ProviderStateOut(WayOut):
    """How it stands at this moment."""

    issuer: str
    usable: bool
    message: str
    ends_sessions: bool = Field(description="Whether it says when somebody signs out there.")


class TokenOut(BaseModel):
    """A personal token; `secret` is there only in the answer that makes it."""

    id: str
    name: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None
    secret: str | None = None


class SessionOut(BaseModel):
    """Somebody signed in in a browser."""

    id: str
    method: str = Field(description="How they proved who they are: `link`, `oidc`, `passkey`.")
    mfa: bool = Field(description="Whether with a second factor.")
    authenticated_at: datetime = Field(description="When they last did; a step-up renews it.")
    ip: str | None = Field(description="Where it was opened from.")
    user_agent: str | None = Field(description="What the browser said of itself.")
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    current: bool = Field(description="Whether this request shows it.")


class EndedOut(BaseModel):
    """How many sessions and personal tokens were ended."""

    sessions: int
    tokens: int = 0


class PasskeyOut(BaseModel):
    """A passkey of an account."""

    id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None
    backed_up: bool = Field(description="Whether a password manager or a cloud keeps a copy.")


class PasskeyIn(In):
    """Another name for a passkey."""

    name: Line


class TokenIn(In):
    """A new personal token."""

    name: Line
    days: Annotated[int, Field(ge=1, le=365)] = 30


class BindingOut(BaseModel):
    """A role, and where it holds, with ids and their names."""

    id: str
    person_id: str
    person: str
    role: str
    scope_kind: str
    scope_id: str | None
    scope: str | None = Field(description="The team's or project's name.")
    granted_by: str
    granted_by_name: str
    created_at: datetime
    expires_at: datetime | None = None


RoleText = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9-]{1,39}$",
        description="A built-in role for people, or one of the organisation's own.",
        examples=["developer"],
    ),
]


class BindingIn(In):
    """Give a role. `scope` is absent for the whole organisation."""

    person: Reference
    role: RoleText
    scope_kind: Literal["organisation", "team", "project"] = "organisation"
    scope: Reference | None = None
    expires_at: AwareDatetime | None = None


class RoleIn(In):
    """An own role: its permissions, each with how far it reaches."""

    title: Line
    permissions: Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[a-z-]{1,40}\.[a-z-]{1,40}$")],
            Literal["own", "team", "all", "shared"],
        ],
        Field(max_length=200, examples=[{"workspace.view": "team", "workspace.stop": "team"}]),
    ]


class RoleOut(BaseModel):
    """A role and what it holds; `holders` is how many people hold it now."""

    name: str
    title: str
    built_in: bool
    permissions: dict[str, str]
    holders: int
    changed_at: datetime | None


class PersonIn(In):
    """A new person with a local account."""

    handle: Handle
    display_name: Line | None = None
    email: Line | None = None
    time_zone: Line = "UTC"


class PersonOut(BaseModel):
    """A person."""

    id: str
    handle: str
    display_name: str
    email: str | None
    time_zone: str
    created_at: datetime
    deactivated_at: datetime | None


class PersonDetailOut(PersonOut):
    """A person with where they come from, where they belong, and what they hold."""

    source: str = Field(description="local, scim or oidc: who keeps the account.")
    directory: str | None = Field(description="The SCIM directory that keeps it.")
    external_id: str | None = Field(description="What that directory calls them.")
    removed_at: datetime | None
    manager: str | None
    teams: list[str]
    roles: list[str]
    signs_in_with: list[str] = Field(description="Identity providers by which they signed in.")
    last_sign_in_at: datetime | None


class ScimTokenIn(In):
    """A new provisioning token."""

    name: Slug
    directory: Slug
    days: Annotated[int, Field(ge=1, le=3650)] = 365


class ScimTokenOut(BaseModel):
    """A provisioning token, without its secret."""

    id: str
    name: str
    directory: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class ScimTokenMadeOut(ScimTokenOut):
    """A new provisioning token, with its secret, this once, and where it is used."""

    secret: str
    url: str


class AdoptionIn(In):
    """Hand a person or a team over to a directory."""

    directory: Slug
    kind: Literal["person", "team"]
    ref: Reference


class AdoptionOut(BaseModel):
    """What was handed over."""

    kind: str
    id: str
    name: str
    directory: str


class LinkOut(BaseModel):
    """A one-time sign-in link; whoever holds it signs in as that person, once, until it expires."""

    url: str
    expires_at: datetime


class MeOut(BaseModel):
    """Who you are to Charter at this moment."""

    kind: Literal["human", "agent"]
    id: str
    handle: str
    via: str
    permissions: list[str]
    teams: list[dict[str, str]]
    roles: list[dict[str, Any]]
    sponsor_id: str | None = None
    tier: str | None = None
    task_id: str | None = None


class TeamIn(In):
    """A new team."""

    name: Slug


class TeamOut(BaseModel):
    """A team, its members and its quota."""

    id: str
    name: str
    created_at: datetime
    members: list[str]


class MemberIn(In):
    """Put a person into a team."""

    person: Reference


class ProjectIn(In):
    """A new project of a team."""

    name: Slug
    team: Reference
    data_class: Literal["public", "internal", "confidential", "regulated"] = "internal"
    environment: Slug = "development"


class ProjectOut(BaseModel):
    """A project."""

    id: str
    name: str
    team_id: str
    data_class: str
    environment: str


class QuotaLineOut(BaseModel):
    """What a scope may use and uses."""

    scope: str
    limit: dict[str, int]
    used: dict[str, int]
    raised: dict[str, int] = Field(
        default_factory=dict, description="How much of the limit an override gives for a while."
    )


# --- templates and workspaces -------------------------------------------------------------
class TemplateIn(In):
    """A template; it starts unapproved."""

    name: Slug
    version: Annotated[str, Field(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}$")]
    title: Line
    description: Words = ""
    for_kinds: list[Literal["human", "agent"]] = ["human"]
    environment: dict[Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]{0,63}$")], Line] = Field(
        default_factory=dict, max_length=50
    )


class TemplateApprovalIn(In):
    """Approve a template, or withdraw the approval and name what to use in its place."""

    approved: bool
    use_instead: Slug | None = None


class TemplateOut(BaseModel):
    """A template."""

    id: str
    name: str
    version: str
    title: str
    description: str
    approved: bool
    use_instead: str | None
    for_kinds: list[str]
    environment: dict[str, str]


class SizeOut(BaseModel):
    """A named size."""

    name: str
    vcpu: int
    memory_mib: int
    disk_mib: int
    gpu: int


class WorkspaceIn(In):
    """What is asked for. A size gives the amounts; `vcpu` and the others replace one of them."""

    name: Slug
    template: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9][a-z0-9-]{0,62}(@\d{1,4}\.\d{1,4}\.\d{1,4})?$",
            description="Name, or name@version; without a version the newest approved one.",
        ),
    ]
    size: Slug = "small"
    vcpu: Positive | None = None
    memory_mib: Positive | None = None
    disk_mib: Positive | None = None
    gpu: Count | None = None
    team: Reference | None = Field(
        default=None, description="Needed when you are in several teams."
    )
    project: Reference | None = None
    network: Literal["none", "host"] = "none"
    egress_allowlist: Annotated[list[Host], Field(max_length=200)] | None = None
    labels: dict[
        Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/-]{0,62}$")],
        Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]{0,63}$")],
    ] = Field(default_factory=dict, max_length=30)
    justification: Justification | None = None
    ticket: Ticket | None = None
    duration_seconds: Seconds | None = Field(
        default=None, description="How long an approval is wanted, if one is needed."
    )


class WorkspaceOut(BaseModel):
    """A workspace: what it should be (`desired`) and what was last seen (`observed`)."""

    id: str
    name: str
    owner_kind: str
    owner_id: str
    owner: str = Field(description="The owner's handle or the agent's name.")
    sponsor_id: str
    team_id: str
    project_id: str | None
    agent_id: str | None
    task_id: str | None
    template: str
    size: str
    vcpu: int
    memory_mib: int
    disk_mib: int
    gpu: int
    tier: str | None
    network: str
    egress_allowlist: list[str] | None
    labels: dict[str, str]
    provider: str
    desired: str
    observed: str
    state: str = Field(description="One word for people: starting, running, stopping, …")
    state_reason: str
    notices: list[str]
    created_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    last_activity_at: datetime | None
    last_activity_signal: str | None
    warned_for: datetime | None
    extended_until: datetime | None
    approved_until: datetime | None = Field(
        default=None, description="When the approval ends by which it runs; it stops then."
    )
    generation: int


class QuotaAfterOut(BaseModel):
    """What would be left of a quota after this request."""

    scope: str
    dimension: str
    limit: int
    used: int
    after: int


class PreviewOut(BaseModel):
    """What would be decided about a request, without anything being stored or reserved."""

    decision: DecisionOut
    suggestion: SuggestionOut | None = Field(
        default=None, description="For a request that would not pass: what would."
    )
    amounts: SizeOut
    quota: list[QuotaAfterOut]


class WorkspaceOutcomeOut(BaseModel):
    """What a request came to: the workspace, or the approval that it waits for."""

    decision: DecisionOut
    workspace: WorkspaceOut | None = None
    approval: ApprovalOut | None = None


class JustifiedIn(In):
    """An action that may need a reason."""

    justification: Justification | None = None


class StartIn(JustifiedIn):
    """Run it again; what an approval may ask for."""

    ticket: Ticket | None = None
    duration_seconds: Seconds | None = Field(
        default=None, description="How long an approval is wanted, if one is needed."
    )


class ExtendIn(In):
    """Push the idle stop away; beyond the free extensions a justification is needed."""

    justification: Justification | None = None


class ExecuteIn(In):
    """A command to run inside the workspace; an argument list, no shell unless you name one."""

    command: Annotated[
        list[Annotated[str, Field(max_length=32_768), AfterValidator(_printable)]],
        Field(min_length=1, max_length=256),
    ]
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 60
    stdin: Annotated[str, Field(max_length=262_144), AfterValidator(_printable)] = ""


class ExecuteOut(BaseModel):
    """What the command did. Output is text; bytes that are not UTF-8 appear as U+FFFD."""

    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool
    truncated: bool
    milliseconds: float


class FileIn(In):
    """The new content of a file, as text."""

    content: Annotated[str, Field(max_length=524_288)]


class FileOut(BaseModel):
    """The content of a file, as text."""

    path: str
    content: str
    size_bytes: int


class FileEntryOut(BaseModel):
    """One entry of a folder."""

    name: str
    kind: str
    size_bytes: int
    modified_at: datetime


# --- agents -------------------------------------------------------------------------------
class AgentIn(In):
    """Sponsor an agent for one task."""

    name: Slug
    task: Line
    repositories: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,199}$")]],
        Field(max_length=50),
    ] = Field(default_factory=list)
    tier: Literal["read-only", "sandboxed", "standard", "trusted"] = "read-only"
    team: Reference | None = None
    project: Reference | None = None
    minutes: Annotated[int, Field(ge=1, le=525_600)] = Field(
        default=60, description="Until the task's deadline."
    )
    justification: Justification | None = None
    ticket: Ticket | None = None
    duration_seconds: Seconds | None = Field(
        default=None, description="How long an approval is wanted, if one is needed."
    )
    definition: Reference | None = Field(
        default=None, description="What it is an instance of; without it, of one made for this run."
    )
    parent: Reference | None = Field(
        default=None, description="The agent that it works for, where policy allows that."
    )
    thumbprint: Thumbprint | None = None


class CredentialIn(In):
    """What a new credential is bound to."""

    thumbprint: Thumbprint | None = None


class CredentialOut(BaseModel):
    """An agent's credential: a signed token, shown once."""

    token: str
    token_type: str = Field(
        default="Bearer", description="`DPoP` where it is bound to the agent's key (RFC 9449)."
    )
    expires_at: datetime
    credential_id: str
    audience: str
    bound: bool = Field(
        default=False, description="Whether it counts only with a proof of the key."
    )
    exchange_only: bool = Field(
        default=False,
        description="Whether it only serves to be exchanged at /oauth/token for one that is bound "
        "to the agent's key, because policy asks that for the agent's tier.",
    )
    scope: list[str] = Field(default_factory=list, description="What it gives at this moment.")


class AgentDefinitionFields(In):
    """What an agent may be, for whoever runs it."""

    description: Line = ""
    repositories: Annotated[list[RepositoryPattern], Field(max_length=50)] = Field(
        default_factory=list,
        description="Patterns: `*` for a part of one path segment, `**` at the end for all below.",
    )
    tier: Literal["read-only", "sandboxed", "standard", "trusted"] = "read-only"
    max_session_seconds: Annotated[int, Field(ge=60, le=_MAX_INTEGER)] | None = Field(
        default=None,
        description="How long one run may last, where that is less than policy's limit.",
    )
    run_by: Annotated[list[Runner], Field(min_length=1, max_length=50)] = Field(
        default_factory=lambda: ["team"],
        description="Who may run it: `team`, `everybody`, `team:NAME`, `person:HANDLE`.",
    )


class AgentDefinitionIn(AgentDefinitionFields):
    """A new definition; `team` answers for it."""

    name: Slug
    team: Reference | None = None


class AgentDefinitionChangeIn(In):
    """What changes; the rest stays."""

    description: Line | None = None
    repositories: Annotated[list[RepositoryPattern], Field(max_length=50)] | None = None
    tier: Literal["read-only", "sandboxed", "standard", "trusted"] | None = None
    max_session_seconds: Annotated[int, Field(ge=60, le=_MAX_INTEGER)] | None = None
    unlimited_session: bool = Field(
        default=False, description="Take the limit of its own away; policy's limit stays."
    )
    run_by: Annotated[list[Runner], Field(min_length=1, max_length=50)] | None = None
    team: Reference | None = None
    why: Words = ""


class RetireIn(In):
    """Why it is retired."""

    why: Justification


class AgentDefinitionVersionOut(BaseModel):
    """One version of a definition: what an instance that began with it was allowed."""

    version: int
    description: str
    team: str
    repositories: list[str]
    tier: str
    max_session_seconds: int | None
    run_by: list[str]
    why: str
    made_by: str
    made_at: datetime


class AgentDefinitionOut(BaseModel):
    """A definition as it is now."""

    id: str
    name: str
    state: str
    implied: bool = Field(description="Whether it was made for one run that named none.")
    version: int
    description: str
    team_id: str
    team: str
    repositories: list[str]
    tier: str
    max_session_seconds: int | None
    run_by: list[str]
    created_by: str
    created_at: datetime
    changed_by: str
    changed_at: datetime
    retired_at: datetime | None
    instances: int
    running: int
    runnable: bool = Field(description="Whether you may run it.")


class AgentDefinitionDetailOut(AgentDefinitionOut):
    """A definition with every version, newest first."""

    versions: list[AgentDefinitionVersionOut]


class KeyOut(BaseModel):
    """A key that signs agents' credentials; its public half."""

    id: str = Field(description="The thumbprint of the key, the `kid` of what it signs.")
    purpose: str
    state: Literal["signing", "due", "verifying", "retired"]
    made_on: str = Field(description="The machine that holds its private half.")
    created_at: datetime
    warns_at: datetime
    expires_at: datetime = Field(description="When it signs no more, whoever forgot to rotate it.")
    retired_at: datetime | None
    retired_by: str | None
    verifies_until: datetime | None = Field(
        description="Until when what it has signed counts; null while it signs."
    )


class KeyRotateIn(In):
    """Whether the old keys are believed to be in somebody else's hands."""

    compromised: bool = Field(
        default=False,
        description="Nothing that the old keys have signed counts from now on: every agent needs a "
        "new credential from its sponsor.",
    )


class KeyRotatedOut(BaseModel):
    """The new key of the replica that answered, and those that sign no more."""

    key: str
    retired: list[str]
    compromised: bool


class ElevationIn(In):
    """More room for an agent in its task, and what for."""

    tier: Literal["read-only", "sandboxed", "standard", "trusted"] | None = None
    permissions: list[Permission] = Field(default_factory=list, max_length=20)
    repositories: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,199}$")]] = (
        Field(default_factory=list, max_length=50)
    )
    reason: Justification | None = None


class ElevationOut(BaseModel):
    """What an agent was given beyond its own tier and task; `ended` with the task or its expiry."""

    id: str
    tier: str | None
    permissions: list[str]
    repositories: list[str]
    approval_id: str | None
    state: Literal["active", "ended", "revoked"]
    created_at: datetime
    expires_at: datetime


class ElevationOutcomeOut(BaseModel):
    """What became of the request: an approval to wait for, or the elevation."""

    decision: DecisionOut
    elevation: ElevationOut | None
    approval: ApprovalOut | None


class AgentOut(BaseModel):
    """An agent, its task and its bounds."""

    id: str
    name: str
    definition_id: str
    definition: str | None = Field(description="Its name; null where it was made for this run.")
    definition_version: int
    parent_id: str | None
    sponsor_id: str
    sponsor: str
    team_id: str
    project_id: str | None
    tier: str
    state: str
    task_id: str
    task: str
    task_state: str
    repositories: list[str]
    deadline: datetime
    created_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    workspaces: int
    permissions: list[str] = Field(description="What it may do at this moment.")
    effective_tier: str = Field(description="Its tier at this moment, elevations included.")
    elevations: list[ElevationOut] = Field(description="What it was given for its task.")


class AgentCreatedOut(BaseModel):
    """The agent with its first credential, or the approval that it waits for."""

    decision: DecisionOut
    agent: AgentOut | None = None
    credential: CredentialOut | None = None
    approval: ApprovalOut | None = None


class KillIn(In):
    """Why the agent is stopped."""

    reason: Justification


class KillOut(BaseModel):
    """What the kill switch did, in milliseconds since it was asked for."""

    agent_id: str
    credentials_dead_ms: float
    processes_gone_ms: float
    workspaces_stopped_ms: float
    workspaces: list[dict[str, Any]]


class TaskEndIn(In):
    """How the task ended."""

    outcome: Literal["completed", "failed"]


# --- approvals ----------------------------------------------------------------------------
class VoteOut(BaseModel):
    """One approver's word."""

    approver_id: str
    approver: str
    for_id: str | None = Field(default=None, description="In whose stead, if in somebody's.")
    for_name: str | None = None
    verdict: str
    comment: str | None
    at: datetime
    counts: bool = Field(
        default=True, description="False once the approver had lost what made the vote count."
    )


class CommentOut(BaseModel):
    """A word about a request."""

    id: str
    author: str
    text: str
    at: datetime


class GivesOut(BaseModel):
    """What a yes gives, or gave."""

    seconds: int | None = Field(description="How long it lasts; null for one use only.")
    single_use: bool
    ends_with_task: bool
    grant_id: str | None
    until: datetime | None


class ApprovalOut(BaseModel):
    """A request that waits for, or had, its approvers' word."""

    id: str
    state: str
    action: str
    summary: str
    requester_kind: str
    requester_id: str
    requester: str
    sponsor: str | None = Field(default=None, description="Who answers for it: a person.")
    team_id: str
    team: str | None = None
    requirements: list[dict[str, Any]]
    outstanding: list[dict[str, Any]] = Field(
        description="What is missing: of whom, how many people, since when they are asked (null "
        "while others come first), and when it goes on to others."
    )
    escalated: bool = False
    reminders: int = 0
    justification: str | None
    ticket: str | None = None
    duration_seconds: int | None = Field(default=None, description="How long it was asked for.")
    renews_id: str | None = Field(default=None, description="The grant that this is to follow.")
    created_at: datetime
    deadline: datetime
    closed_at: datetime | None
    votes: list[VoteOut]
    outcome: str | None
    result_id: str | None
    decision_id: str
    comments: list[CommentOut] = Field(default_factory=list)
    gives: GivesOut | None = None
    details: dict[str, str] = Field(description="What is asked for, in words.")
    can_vote: bool = Field(description="Whether you may vote on it now.")
    votes_for: str | None = Field(
        default=None, description="In whose stead your vote would count, if not for yourself."
    )
    why_not: str | None = Field(default=None, description="If you may not: why.")


class GateWaitOut(BaseModel):
    """One gate: what waits at it, and how long decisions took. Times in seconds."""

    rule: str
    open: int
    oldest_at: datetime | None = Field(description="Since when the oldest open one waits.")
    decided: int
    median_seconds: int | None
    p90_seconds: int | None
    reminders: int
    escalated: int
    expired: int
    expired_share: float | None = Field(description="Of all that ended in that time.")


class ApproverWaitOut(BaseModel):
    """One kind of approver: from being asked to the first vote of somebody who is meant."""

    addressee: str
    approver: str
    open: int
    oldest_at: datetime | None
    decided: int
    median_seconds: int | None
    p90_seconds: int | None


class PersonWaitOut(BaseModel):
    """One person's votes: from being asked to voting."""

    approver_id: str
    person: str
    decided: int
    in_stead: int = Field(description="How many of them were for somebody else.")
    median_seconds: int | None
    p90_seconds: int | None


class WaitingOut(BaseModel):
    """Where approvals wait, of those that you may see."""

    days: int
    since: datetime
    gates: list[GateWaitOut]
    approvers: list[ApproverWaitOut]
    people: list[PersonWaitOut]


class VoteIn(In):
    """A comment that goes with the vote."""

    comment: Words | None = None


class CommentIn(In):
    """A word to those who are asked, or to the requester."""

    text: Words


class CancelIn(In):
    """Why a request is withdrawn."""

    reason: Words | None = None


# --- governance: reviews of the policy ----------------------------------------------------
class CommitteeMemberIn(In):
    """Somebody who sat in a review, and the side they speak for."""

    person: Reference
    side: Literal["security", "platform", "ai-ml", "development", "management"]


class ReviewOpenIn(In):
    """A review because of an event."""

    trigger: Literal[
        "incident", "new-platform", "new-agents", "regulation-change", "new-team", "friction"
    ]
    reason: Justification


class ReviewHeldIn(In):
    """That a review was held; without a time it is held now."""

    held_at: AwareDatetime | None = None
    committee: Annotated[list[CommitteeMemberIn], Field(min_length=1, max_length=50)]


class FindingIn(In):
    """Something to be done: by whom, until when."""

    text: Line
    owner: Reference
    due_on: date


class MinutesIn(In):
    """Minutes and findings; both replace what was written before."""

    minutes: Annotated[str, Field(max_length=40_000), AfterValidator(_printable)]
    findings: Annotated[list[FindingIn], Field(max_length=100)] = []


class ReviewCloseIn(In):
    """What the review came to."""

    outcome: Literal["effective", "changes-needed"]


class CommitteeMemberOut(BaseModel):
    """A member of the committee."""

    person_id: str
    person: str
    side: str


class FindingOut(BaseModel):
    """Something to be done."""

    text: str
    owner_id: str
    owner: str
    due_on: date
    done_at: datetime | None = None


class RuleCountOut(BaseModel):
    """How often a rule spoke with one effect."""

    rule: str
    effect: str
    said: str
    count: int
    last_at: datetime


class ReviewFiguresOut(BaseModel):
    """What happened in the period that a review looks at."""

    since: datetime
    until: datetime
    rules: list[RuleCountOut]
    exempted: list[RuleCountOut]
    spoke: int
    exemptions_used: int
    bundles_loaded: int


class ReviewOut(BaseModel):
    """A review; `lacking` says what it needs before it can be closed. Lists have no figures."""

    id: str
    kind: str
    trigger: str
    reason: str | None
    state: str
    opened_by: str
    opened_at: datetime
    due_at: datetime
    held_at: datetime | None
    committee: list[CommitteeMemberOut]
    minutes: str
    findings: list[FindingOut]
    outcome: str | None
    closed_at: datetime | None
    closed_by: str | None
    lacking: list[str]
    figures: ReviewFiguresOut | None


class ReviewDueOut(BaseModel):
    """When the next scheduled review of a kind is due."""

    kind: str
    every_months: int
    last_held_at: datetime | None
    due_at: datetime


# --- exemptions ---------------------------------------------------------------------------
class ExemptionScopeOut(BaseModel):
    """One thing that must hold for an exemption to count; `name` is the value's name.

    `problem` says why it may never hold: the value is no id that Charter knows.
    """

    kind: str
    value: str
    name: str
    problem: str | None


class ExemptionOut(BaseModel):
    """An exemption of the bundle in force; `state` is active, soon (ends in two weeks), expired."""

    rule: str
    title: str
    owner: str
    reason: str
    scope: list[ExemptionScopeOut]
    expires_at: datetime
    state: str
    used: int
    last_used_at: datetime | None
    loaded_by: str | None
    loaded_at: datetime | None


# --- access -------------------------------------------------------------------------------
class AccessSubjectOut(BaseModel):
    """Who was asked about."""

    kind: Literal["human", "agent"]
    id: str
    name: str


class AccessResourceOut(BaseModel):
    """What was asked about; without an id something new, or all of a kind."""

    kind: str
    id: str | None
    owner: str | None
    team: str | None
    project: str | None


class AccessStepOut(BaseModel):
    """One thing that was looked at; `holds` says whether it speaks for the action."""

    of: str = Field(description="account, binding, role, tier, task, sponsor or sponsor-binding.")
    text: str
    holds: bool
    scope: str | None = Field(description="Where a binding holds.")


class AccessReasonOut(BaseModel):
    """An invariant or a rule that speaks against it, or warns."""

    rule: str
    effect: str
    message: str
    fix: str


class AccessWhyOut(BaseModel):
    """Whether somebody may do something now, and why."""

    subject: AccessSubjectOut
    action: str
    resource: AccessResourceOut
    effect: Literal["allow", "warn", "require_approval", "deny", "depends"] = Field(
        description="depends: nothing of Charter's own forbids it, and policy has to see the "
        "request itself."
    )
    steps: list[AccessStepOut]
    reasons: list[AccessReasonOut]
    note: str | None


class AccessCellOut(BaseModel):
    """What a role holds of an action.

    `effect` is deny (the role has it not), allow, approval (a rule may ask for one) or policy (a
    rule may refuse it); `reach` is own, team, all or shared.
    """

    effect: Literal["allow", "approval", "policy", "deny"]
    reach: str | None
    rules: list[str]


class AccessRowOut(BaseModel):
    """One action with a cell for each role."""

    action: str
    roles: dict[str, AccessCellOut]


class AccessMatrixOut(BaseModel):
    """Every action and role under the bundle in force."""

    bundle: str
    roles: list[str]
    items: list[AccessRowOut]


class NetworkListOut(BaseModel):
    """A list of networks; a request about whose subject it is comes from inside it."""

    name: str = Field(description="organisation, kinds.KIND or roles.ROLE.")
    networks: list[str]


class AdministratorOut(BaseModel):
    """A platform admin, whence they last signed in, and whether the lists let them in from there.

    `closed` names the lists that do not.
    """

    person: str
    address: str | None
    signed_in_at: datetime | None
    inside: bool
    closed: list[str]


class AccessNetworksOut(BaseModel):
    """The allowlists of networks, and who stands where."""

    enforced: bool
    mode: str = Field(description="How far the rule `access/network-not-allowed` is switched on.")
    lists: list[NetworkListOut]
    open_until: datetime | None = Field(description="Until when an operator set them aside.")
    open_reason: str | None
    your_address: str | None = Field(description="None where nobody can say.")
    address: str | None = Field(description="The address that was asked about.")
    closed: list[str] = Field(description="The lists that do not let that address in.")
    administrators: list[AdministratorOut] | None = Field(
        description="For those who manage people."
    )


# --- the playground -----------------------------------------------------------------------
class TrialIn(In):
    """An edited file and an input; without `input` that of the decision is taken."""

    path: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*){0,7}$",
            max_length=200,
            examples=["admission/workspace-limits.rego"],
        ),
    ] = None
    source: Annotated[
        str | None, Field(max_length=262_144), AfterValidator(lambda s: s and _printable(s))
    ] = None
    input: dict[str, Any] | None = None
    decision: Reference | None = None


class PlacedOut(BaseModel):
    """Something that is wrong with a rule, and where."""

    file: str | None
    line: int | None
    message: str


class TrialHalfOut(BaseModel):
    """What one set of rules says: a decision, or why there is none."""

    decision: DecisionOut | None
    prints: list[str]
    places: dict[str, str]
    problems: list[PlacedOut]
    failure: str | None
    milliseconds: int


class TrialOut(BaseModel):
    """The rules in force (`before`) and the edited rules (`after`) on the same input."""

    digest: str
    base_digest: str
    recorded_effect: str | None
    before: TrialHalfOut
    after: TrialHalfOut
    same: bool


# --- policies, audit, operation -----------------------------------------------------------
class RuleOut(BaseModel):
    """A rule of the active bundle."""

    id: str
    title: str
    effect: str
    severity: str
    mode: str
    controls: list[str]
    fix: str
    file: str
    line: int
    source: str | None = None


class BundleIn(In):
    """A policy bundle: path → text of each file."""

    files: dict[Annotated[str, Field(max_length=200)], Annotated[str, Field(max_length=262_144)]]
    note: Line = ""
    emergency: bool = False


class BundleOut(BaseModel):
    """A kept bundle. `failing` says why it cannot be loaded; `standing_in` then decides."""

    digest: str
    created_at: datetime
    loaded_by: str
    note: str
    active: bool
    signed: bool = True
    rules: int | None = None
    failing: str | None = None
    standing_in: str | None = None


class RollbackIn(In):
    """Which bundle to go back to (without one: the one before), and why."""

    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    why: Line = ""


class ActivationOut(BaseModel):
    """One time that a bundle was put in force."""

    id: str
    digest: str
    previous: str | None
    kind: str
    by: str
    by_handle: str
    why: str
    change_id: str | None
    at: datetime
    active: bool


class ExportedBundleOut(BaseModel):
    """A bundle with what its signature says; null where it was never signed."""

    statement: dict[str, str]
    signature: str | None
    public_key: str
    files: dict[str, str]


class AuditEventOut(BaseModel):
    """One entry of the trail; `index` is absent until it is sealed."""

    index: int | None
    id: str
    at: datetime
    actor_kind: str
    actor_id: str
    actor: str
    action: str
    resource_kind: str
    resource_id: str
    outcome: str
    decision_id: str | None
    reason_codes: list[str]
    facts: dict[str, Any]
    private: dict[str, Any] | None = None


class AuditStateOut(BaseModel):
    """How far the trail is sealed, and the newest signed checkpoint."""

    size: int
    pending: int
    root: str | None
    checkpoint: str | None
    sealed_at: datetime | None
    verifier_key: str


class ControllerOut(BaseModel):
    """A controller's last words."""

    name: str
    replica: str
    last_run_at: datetime
    runs: int
    failures: int
    status: dict[str, Any]
    last_error: str | None


class CapabilityOut(BaseModel):
    """One thing the provider does or does not enforce on this host."""

    name: str
    enforced: bool
    how: str


class CapabilitiesOut(BaseModel):
    """What the provider really enforces."""

    provider: str
    isolation: str
    items: list[CapabilityOut]


class NoticeOut(BaseModel):
    """Something a person should know."""

    id: str
    kind: str
    message: str
    resource_kind: str | None
    resource_id: str | None
    created_at: datetime
    read_at: datetime | None


class OverviewOut(BaseModel):
    """The platform at a glance, within what you may see."""

    workspaces: dict[str, int]
    agents: dict[str, int]
    pending_approvals: int
    decisions_today: dict[str, int]
    quotas: list[QuotaLineOut]
    audit: AuditStateOut | None


class EnforcementPointIn(BaseModel):
    """A new enforcement point."""

    model_config = ConfigDict(extra="forbid")

    name: Slug
    kind: Literal["kubernetes", "opa", "authzen"]
    settings: dict[str, Any] = Field(
        default_factory=dict,
        max_length=32,
        description="`obligations`: types that the point can carry out; `own_agents`: whether it "
        "may bring agents that Charter does not know.",
    )


class RotateIn(BaseModel):
    """A new token for a point."""

    model_config = ConfigDict(extra="forbid")

    grace_seconds: Annotated[int, Field(ge=0, le=604_800, strict=True)] = Field(
        default=3600, description="How long the token before stays valid; 0 ends it at once."
    )


class EnforcementPointOut(BaseModel):
    """A registered point, and what it said of itself last."""

    id: str
    kind: str
    name: str
    settings: dict[str, Any]
    created_by: str
    created_at: datetime
    rotated_at: datetime | None
    previous_until: datetime | None = Field(
        description="Until when the token before the last rotation counts."
    )
    revoked_at: datetime | None
    last_seen_at: datetime | None = Field(description="To the minute.")
    last_status: dict[str, Any] | None = Field(description="Summary of its last status report.")
    last_status_at: datetime | None
    drift: bool | None = Field(
        description="Whether it reported another bundle than the one in force; null: no report."
    )


class ReportedDecisionOut(BaseModel):
    """A decision that an OPA reported to have made by itself."""

    decision_id: str
    at: datetime
    received_at: datetime
    path: str
    revision: str | None = Field(description="Digest of the bundle that it was made under.")
    effect: str | None
    erased: list[str] = Field(description="Paths that the point masked before it reported.")
    entry: dict[str, Any]


class EnforcementPointTokenOut(EnforcementPointOut):
    """A point with its token, shown this once."""

    token: str


WorkspaceOutcomeOut.model_rebuild()
AgentCreatedOut.model_rebuild()
