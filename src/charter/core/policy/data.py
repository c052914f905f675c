"""The numbers of the policy, read once and strictly.

Rules and Python read the same data documents, so that "an agent runs for two hours at most" stands
in one place. `PolicyData` is the typed view for Python: sizes, quotas, lifecycle limits, tiers,
credentials, approvals, rule modes and exemptions. A document with a missing, unknown or impossible
entry is refused as a whole, with one sentence for each problem and the path of the entry; half a
policy is not a policy. Times are in seconds, memory and disk in MiB.

Any object may hold a text under `_why`: JSON has no comments, and a limit without its reason
is a limit that nobody dares to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from charter.core.access.attempts import AttemptLimits, read_attempt_limits
from charter.core.access.networks import OWN_ROLE, NetworkLists, read_network_lists
from charter.core.access.reviews import ReviewRules
from charter.core.access.roles import RoleName
from charter.core.access.separation import RoleConflict
from charter.core.approvals.rules import ApprovalSettings, read_approvals
from charter.core.kernel.canonical import parse_rfc3339
from charter.core.kernel.decision import Mode
from charter.core.kernel.errors import InvalidInputError
from charter.core.kubernetes.settings import KubernetesSettings, read_settings
from charter.core.lifecycle.transition import LifecycleLimits
from charter.core.policy.access_reviews import read_access_reviews
from charter.core.policy.agents import AgentIdentity, read_agent_identity
from charter.core.policy.elevation import ElevationLimits, read_elevation
from charter.core.policy.notifications import LinkSettings, read_links
from charter.core.policy.pipeline_limits import PipelineLimits
from charter.core.policy.reading import Reader
from charter.core.policy.reviews import ReviewCadence, read_cadence
from charter.core.policy.single_sign_on import SingleSignOn, read_single_sign_on
from charter.core.policy.step_up import StepUp, read_step_up
from charter.core.policy.strictness import Enforcement, read_enforcement
from charter.core.resources.amounts import Amount
from charter.core.resources.sizes import Size


@dataclass(frozen=True, slots=True)
class WorkspaceLimits:
    """Thresholds of a single workspace; which effect they have is written in the rules."""

    cpu_without_approval: int
    cpu_without_justification: int
    cpu_max: int
    memory_without_approval_mib: int
    memory_max_mib: int
    gpu_max: int
    disk_min_mib: int
    disk_max_mib: int
    user_disk_without_approval_mib: int
    agent_cpu_max: int
    agent_memory_max_mib: int
    agent_disk_max_mib: int
    allow_host_network_for_humans: bool
    quota_warning_percent: int


@dataclass(frozen=True, slots=True)
class TierLimits:
    """What an agent of one tier may do inside its workspace (Spec AG-1)."""

    read: bool
    write: bool
    execute: bool
    network_modes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskLimits:
    """Bounds of an agent's task (Spec AG-2)."""

    max_seconds: int
    min_seconds: int
    repositories_max: int
    first_tier: str


@dataclass(frozen=True, slots=True)
class CredentialLimits:
    """How long proof of identity lasts."""

    agent_credential_seconds: int
    agent_session_seconds: int
    human_session_seconds: int
    human_session_idle_seconds: int
    one_time_link_seconds: int
    api_token_max_seconds: int
    passkey_challenge_seconds: int
    scim_token_max_seconds: int


@dataclass(frozen=True, slots=True)
class Exemption:
    """Somebody answers for leaving one rule out, in one scope, until a date (Spec PC-7).

    `scope` maps names such as `team`, `project`, `subject`, `workspace`, `template` to the one
    value that each must have; all of them must match.
    """

    rule: str
    owner: str
    reason: str
    scope: Mapping[str, str]
    expires_at: datetime


class _Settings(Protocol):
    """What `from_bundle` needs of a bundle."""

    def settings(self) -> dict[str, object]:
        """The data documents by name."""
        ...


SUBJECT_KINDS = ("human", "agent")
QUOTA_SCOPES = ("user", "team", "project", "agent")
TIERS = ("read-only", "sandboxed", "standard", "trusted")
NETWORK_MODES = ("none", "host", "egress")
EXEMPTION_SCOPES = ("subject", "owner", "team", "project", "workspace", "template", "action")


@dataclass(frozen=True, slots=True)
class PolicyData:
    """Every number of the policy that Python reads."""

    sizes: Mapping[str, Size]
    size_kinds: Mapping[str, tuple[str, ...]]
    default_size: Mapping[str, str]
    limits: WorkspaceLimits
    quotas: Mapping[str, Amount]
    lifecycle: Mapping[str, LifecycleLimits]
    tiers: Mapping[str, TierLimits]
    tasks: TaskLimits
    credentials: CredentialLimits
    agents: AgentIdentity
    reviews: ReviewCadence
    approvals: ApprovalSettings
    links: LinkSettings
    enforcement: Enforcement
    exemptions: tuple[Exemption, ...]
    required_capabilities: Mapping[str, tuple[str, ...]]
    actions: frozenset[str]
    pipeline: PipelineLimits
    kubernetes: KubernetesSettings | None
    """None in a bundle without data/kubernetes.json: then no cluster is answered."""
    role_conflicts: tuple[RoleConflict, ...]
    step_up: Mapping[str, StepUp]
    elevation: ElevationLimits
    production_environments: tuple[str, ...]
    single_sign_on: SingleSignOn
    access_reviews: ReviewRules
    networks: NetworkLists
    attempts: AttemptLimits

    @classmethod
    def from_bundle(cls, bundle: _Settings) -> PolicyData:
        """The data of `bundle`; raises `InvalidInputError` naming every problem."""
        return cls.from_documents(bundle.settings())

    @classmethod
    def from_documents(cls, documents: Mapping[str, object]) -> PolicyData:
        """The data in these documents by name; raises `InvalidInputError` naming every problem."""
        problems: list[str] = []
        data = _read(Reader(documents, "data", problems))
        _agree(data, problems)
        if problems:
            raise InvalidInputError(
                "The policy data cannot be used: " + " ".join(problems),
                fix="Correct the named entries; docs/policy-guide.md describes each document.",
                code="policy-data-invalid",
                details={"problems": problems},
            )
        return data

    def mode_of(self, rule_id: str) -> Mode:
        """How far the rule is switched on; rules are enforced unless data says otherwise."""
        return self.enforcement.rules.get(rule_id, Mode.ENFORCE)


def _read(root: Reader) -> PolicyData:
    sizes = root.child("sizes")
    enforcement = read_enforcement(root.child("enforcement"))
    exemptions = tuple(_exemption(part) for part in root.child("exemptions").items("exemptions"))
    data = PolicyData(
        sizes={name: _size(name, part) for name, part in sizes.child("sizes").children()},
        size_kinds={
            name: part.texts("kinds", choices=SUBJECT_KINDS, least=1)
            for name, part in sizes.child("sizes").children()
        },
        default_size={
            kind: sizes.child("default").text(kind, choices=tuple(sizes.child("sizes").names()))
            for kind in SUBJECT_KINDS
        },
        limits=_limits(root.child("limits")),
        quotas={scope: _quota(root.child("quotas").child(scope)) for scope in QUOTA_SCOPES},
        lifecycle={kind: _lifecycle(root.child("lifecycle").child(kind)) for kind in SUBJECT_KINDS},
        tiers={name: _tier(root.child("tiers").child(name)) for name in TIERS},
        tasks=_tasks(root.child("tasks")),
        credentials=_credentials(root.child("credentials")),
        agents=read_agent_identity(root),
        reviews=read_cadence(root),
        access_reviews=read_access_reviews(root),
        approvals=read_approvals(root.child("approvals")),
        links=read_links(root),
        enforcement=enforcement,
        exemptions=exemptions,
        required_capabilities={
            name: root.child("providers").child("required_capabilities").texts(name)
            for name in ("all", "agent", "regulated")
        },
        actions=frozenset(root.child("actions").child("actions").names()),
        pipeline=PipelineLimits.read(root.child("pipeline"))
        if root.has("pipeline")
        else PipelineLimits(),
        kubernetes=_kubernetes(root),
        role_conflicts=_role_conflicts(root),
        step_up=read_step_up(root),
        elevation=read_elevation(root),
        production_environments=_production(root),
        single_sign_on=read_single_sign_on(root),
        networks=read_network_lists(root, enforcement.rules, exemptions),
        attempts=read_attempt_limits(root),
    )
    if root.has("pipeline"):
        root.child("pipeline").finish()
    for name in ("sizes", "limits", "quotas", "lifecycle", "tiers", "tasks", "credentials"):
        root.child(name).finish()
    for name in ("approvals", "enforcement", "exemptions", "providers"):
        root.child(name).finish()
    return data


def _role_conflicts(root: Reader) -> tuple[RoleConflict, ...]:
    if not root.has("access") or not root.child("access").has("conflicting_roles"):
        return ()
    found = []
    for part in root.child("access").items("conflicting_roles"):
        roles = part.texts("roles")
        unknown = [r for r in roles if r not in list(RoleName) and not r.startswith(OWN_ROLE)]
        if unknown:  # a slip that is taken for an own role would separate nothing
            names = ", ".join(RoleName)
            part.complain("roles", f"must name {names} or {OWN_ROLE}NAME, not {unknown[0]!r}")
        if len(set(roles)) != 2:  # noqa: PLR2004 — a pair
            part.complain("roles", "must name two different roles")
        found.append(
            RoleConflict(frozenset(r.removeprefix(OWN_ROLE) for r in roles), part.text("why"))
        )
    return tuple(found)


def _production(root: Reader) -> tuple[str, ...]:
    return root.child("production").texts("environments") if root.has("production") else ()


def _kubernetes(root: Reader) -> KubernetesSettings | None:
    if not root.has("kubernetes"):
        return None
    part = root.child("kubernetes")
    settings = read_settings(part)
    part.finish()
    return settings


def _size(name: str, part: Reader) -> Size:
    part.flag("needs_approval")  # read by the rules only
    return Size(
        name=name,
        vcpu=part.whole("vcpu", minimum=1),
        memory_mib=part.whole("memory_mib", minimum=64),
        disk_mib=part.whole("disk_mib", minimum=64),
        gpu=part.whole("gpu"),
        ephemeral=part.flag("ephemeral"),
        description=part.text("description"),
    )


def _quota(part: Reader) -> Amount:
    return Amount(
        vcpu=part.whole("vcpu"),
        memory_mib=part.whole("memory_mib"),
        disk_mib=part.whole("disk_mib"),
        gpu=part.whole("gpu"),
        workspaces=part.whole("workspaces"),
    )


def _limits(part: Reader) -> WorkspaceLimits:
    return WorkspaceLimits(
        cpu_without_approval=part.whole("cpu_without_approval", minimum=1),
        cpu_without_justification=part.whole("cpu_without_justification", minimum=1),
        cpu_max=part.whole("cpu_max", minimum=1),
        memory_without_approval_mib=part.whole("memory_without_approval_mib", minimum=64),
        memory_max_mib=part.whole("memory_max_mib", minimum=64),
        gpu_max=part.whole("gpu_max"),
        disk_min_mib=part.whole("disk_min_mib", minimum=1),
        disk_max_mib=part.whole("disk_max_mib", minimum=1),
        user_disk_without_approval_mib=part.whole("user_disk_without_approval_mib", minimum=1),
        agent_cpu_max=part.whole("agent_cpu_max", minimum=1),
        agent_memory_max_mib=part.whole("agent_memory_max_mib", minimum=64),
        agent_disk_max_mib=part.whole("agent_disk_max_mib", minimum=1),
        allow_host_network_for_humans=part.flag("allow_host_network_for_humans"),
        quota_warning_percent=part.whole("quota_warning_percent", minimum=1, maximum=100),
    )


def _lifecycle(part: Reader) -> LifecycleLimits:
    return LifecycleLimits(
        idle_seconds=part.whole("idle_seconds", minimum=1),
        warning_seconds=part.whole("warning_seconds"),
        max_runtime_seconds=part.whole("max_runtime_seconds", minimum=1),
        free_extensions=part.whole("free_extensions"),
        extension_seconds=part.whole("extension_seconds", minimum=1),
    )


def _tier(part: Reader) -> TierLimits:
    return TierLimits(
        read=part.flag("read"),
        write=part.flag("write"),
        execute=part.flag("execute"),
        network_modes=part.texts("network_modes", choices=NETWORK_MODES),
    )


def _tasks(part: Reader) -> TaskLimits:
    return TaskLimits(
        max_seconds=part.whole("max_seconds", minimum=1),
        min_seconds=part.whole("min_seconds", minimum=1),
        repositories_max=part.whole("repositories_max", minimum=1),
        first_tier=part.text("first_tier", choices=TIERS),
    )


def _credentials(part: Reader) -> CredentialLimits:
    return CredentialLimits(
        agent_credential_seconds=part.whole("agent_credential_seconds", minimum=1),
        agent_session_seconds=part.whole("agent_session_seconds", minimum=1),
        human_session_seconds=part.whole("human_session_seconds", minimum=1),
        human_session_idle_seconds=part.whole("human_session_idle_seconds", minimum=1),
        one_time_link_seconds=part.whole("one_time_link_seconds", minimum=1),
        api_token_max_seconds=part.whole("api_token_max_seconds", minimum=1),
        passkey_challenge_seconds=part.whole("passkey_challenge_seconds", minimum=10)
        if part.has("passkey_challenge_seconds")
        else 300,
        scim_token_max_seconds=part.whole("scim_token_max_seconds", minimum=1)
        if part.has("scim_token_max_seconds")
        else 31_536_000,
    )


def _exemption(part: Reader) -> Exemption:
    scope = part.child("scope")
    exemption = Exemption(
        rule=part.text("rule"),
        owner=part.text("owner"),
        reason=part.text("reason"),
        scope={name: scope.text(name) for name in EXEMPTION_SCOPES if scope.has(name)},
        expires_at=part.moment("expires_at", parse_rfc3339),
    )
    if not exemption.scope:
        part.complain("scope", "must name at least one of " + ", ".join(EXEMPTION_SCOPES))
    return exemption


def _agree(data: PolicyData, problems: list[str]) -> None:
    """What no single entry can say: the order between entries."""
    limits = data.limits
    ladders = (
        ("limits.cpu_without_approval", limits.cpu_without_approval, "limits.cpu_max"),
        ("limits.cpu_without_justification", limits.cpu_without_justification, "limits.cpu_max"),
    )
    problems.extend(
        f"data.{name} is {value}, above data.{top} ({limits.cpu_max})."
        for name, value, top in ladders
        if value > limits.cpu_max
    )
    if limits.disk_min_mib > limits.disk_max_mib:
        problems.append("data.limits.disk_min_mib is above data.limits.disk_max_mib.")
    problems.extend(
        f"data.lifecycle.{kind}.warning_seconds leaves no idle time before the warning."
        for kind, life in data.lifecycle.items()
        if life.warning_seconds >= life.idle_seconds
    )
    if data.tasks.min_seconds > data.tasks.max_seconds:
        problems.append("data.tasks.min_seconds is above data.tasks.max_seconds.")
    if not data.actions:
        problems.append("data.actions.actions names no action, so that nothing could be allowed.")
