# house: allow file-length — the schema is read as one document
"""Every table, in one place, as SQLAlchemy Core sees it.

Conventions: `id` is an opaque prefixed identifier, times are `timestamptz`, memory and disk are
MiB, documents that are hashed (facts, results) are kept as canonical JSON *text* so that their
bytes survive. The migrations are the truth about the live schema; a test holds both equal.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.Text, primary_key=True)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null)


def _ref(name: str, target: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, sa.ForeignKey(f"{target}.id"), nullable=null)


def _at(name: str, *, null: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _int(name: str, default: int | None = None) -> sa.Column[int]:
    server_default = None if default is None else str(default)
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=server_default)


def _of_a_directory() -> tuple[sa.Column[Any], ...]:
    """What is kept of somebody, or a team, that an identity provider provisions by SCIM."""
    return (
        _text("directory", null=True),  # whose; null for what is kept here
        _text("external_id", null=True),
        sa.Column("scim", JSONB, nullable=True),  # the attributes as they were sent
        _at("updated_at", null=True),
        _at("removed_at", null=True),  # deleted there: unknown to SCIM, kept as evidence
    )


# --- people, teams, roles ---------------------------------------------------------------------
people = sa.Table(
    "people",
    metadata,
    _id(),
    sa.Column("handle", sa.Text, nullable=False, unique=True),
    _text("display_name"),
    _text("email", null=True),
    sa.Column("time_zone", sa.Text, nullable=False, server_default="UTC"),
    _at("created_at"),
    _at("deactivated_at", null=True),
    _text("deactivated_by", null=True),  # a person or a directory's token, by id
    sa.Column("source", sa.Text, nullable=False, server_default="local"),  # local, scim, oidc
    _ref("manager_id", "people", null=True),
    *_of_a_directory(),
    sa.Index(None, "manager_id"),
    sa.Index(
        "uq_people_user_name",
        "directory",
        sa.text("lower(scim ->> 'userName')"),
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    ),
    sa.Index(None, "directory", "external_id"),
)
teams = sa.Table(
    "teams",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _at("created_at"),
    *_of_a_directory(),
    sa.Index(None, "directory", "external_id"),
)
team_members = sa.Table(
    "team_members",
    metadata,
    sa.Column("team_id", sa.Text, sa.ForeignKey("teams.id"), primary_key=True),
    sa.Column("person_id", sa.Text, sa.ForeignKey("people.id"), primary_key=True),
    _at("since"),
    _text("source", null=True),  # oidc:<provider> for what its groups give; null: by hand
    sa.Index(None, "person_id"),
)
projects = sa.Table(
    "projects",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _ref("team_id", "teams"),
    sa.Column("data_class", sa.Text, nullable=False, server_default="internal"),
    sa.Column("environment", sa.Text, nullable=False, server_default="development"),
    _at("created_at"),
)
role_bindings = sa.Table(
    "role_bindings",
    metadata,
    _id(),
    _ref("person_id", "people"),
    _text("role"),
    _text("scope_kind"),
    _text("scope_id", null=True),
    _text("granted_by"),
    _at("created_at"),
    _at("expires_at", null=True),
    _at("revoked_at", null=True),
    _text("source", null=True),  # as in team_members
    _text("break_glass_id", null=True),  # the emergency that gave it, and with which it ends
    sa.Index(None, "person_id"),
)

# --- single sign-on ---------------------------------------------------------------------------
external_identities = sa.Table(
    "external_identities",
    metadata,
    _id(),
    _ref("person_id", "people"),
    _text("provider"),
    _text("issuer"),
    _text("subject"),
    _at("created_at"),
    _at("last_used_at"),
    sa.UniqueConstraint("issuer", "subject"),
    sa.Index(None, "person_id"),
)
used_attempts = sa.Table(  # attempts to sign in are used once; a row lives as long as its attempt
    "used_attempts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _at("expires_at"),
)
provider_logouts = sa.Table(  # a logout token counts once, and also for sign-ins it overtook
    "provider_logouts",
    metadata,
    sa.Column("issuer", sa.Text, primary_key=True),
    sa.Column("jti", sa.Text, primary_key=True),
    _text("subject", null=True),
    _text("sid", null=True),
    _at("issued_at"),
    _at("expires_at"),
)
custom_roles = sa.Table(
    "custom_roles",
    metadata,
    _id(),
    _text("name"),
    _text("title"),
    sa.Column("permissions", JSONB, nullable=False),  # {permission: reach}
    _text("made_by"),
    _at("created_at"),
    _at("changed_at"),
    _at("retired_at", null=True),
    sa.Index(
        "uq_custom_roles_live_name",
        "name",
        unique=True,
        postgresql_where=sa.text("retired_at IS NULL"),
    ),
)

# --- credentials ------------------------------------------------------------------------------
sign_in_links = sa.Table(
    "sign_in_links",
    metadata,
    _id(),
    _ref("person_id", "people"),
    sa.Column("secret_hash", BYTEA, nullable=False, unique=True),
    _text("made_by"),
    # A link that people make for themselves hands on how and when they had proved who they are.
    _text("method", null=True),
    _at("authenticated_at", null=True),
    sa.Column("mfa", sa.Boolean, nullable=True),
    _at("created_at"),
    _at("expires_at"),
    _at("used_at", null=True),
    _text("challenge", null=True),  # S256 of what a command line must show beside the link
    _ref("session_id", "sessions", null=True),  # the session in which it was made
)
passkeys = sa.Table(
    "passkeys",
    metadata,
    _id(),
    _ref("person_id", "people"),
    _text("name"),
    sa.Column("credential_id", BYTEA, nullable=False, unique=True),
    sa.Column("public_key", BYTEA, nullable=False),
    sa.Column("sign_count", sa.BigInteger, nullable=False),
    sa.Column("transports", JSONB, nullable=False),
    _text("aaguid"),
    sa.Column("backed_up", sa.Boolean, nullable=False),  # kept by a password manager or a cloud
    _at("created_at"),
    _at("last_used_at", null=True),
    _at("removed_at", null=True),
    sa.Index(None, "person_id"),
)
passkey_challenges = sa.Table(  # an answer uses its challenge up, whether it is right or wrong
    "passkey_challenges",
    metadata,
    _id(),  # the challenge's SHA-256
    _text("purpose"),
    _text("bound_to"),  # the session, or the hash of a cookie of the browser that asked
    _at("expires_at"),
    sa.Index(None, "expires_at"),
)


def _from_provider() -> tuple[sa.Column[Any], ...]:
    """How a provider names what was opened by signing in with it; null for other ways."""
    return (
        _ref("identity_id", "external_identities", null=True),
        _text("provider_subject", null=True),
        _text("provider_sid", null=True),
    )


sessions = sa.Table(
    "sessions",
    metadata,
    _id(),
    _ref("person_id", "people"),
    sa.Column("secret_hash", BYTEA, nullable=False),
    _text("csrf_token"),
    _text("method"),  # link, oidc, passkey: how the person proved who they are …
    _at("authenticated_at"),  # … when they last did (a step-up renews it) …
    sa.Column("mfa", sa.Boolean, nullable=False),  # … and whether with a second factor
    _text("ip", null=True),
    _text("user_agent", null=True),
    _ref("passkey_id", "passkeys", null=True),
    _at("created_at"),
    _at("expires_at"),
    _at("last_used_at"),
    _at("revoked_at", null=True),
    *_from_provider(),
    sa.Index(None, "person_id"),
    sa.Index(None, "identity_id"),
)
api_tokens = sa.Table(
    "api_tokens",
    metadata,
    _id(),
    _ref("person_id", "people"),
    _text("name"),
    sa.Column("secret_hash", BYTEA, nullable=False),
    _text("method"),  # how and when its owner had proved who they are when it was made
    _at("authenticated_at"),
    sa.Column("mfa", sa.Boolean, nullable=False),
    _at("created_at"),
    _at("expires_at"),
    _at("last_used_at", null=True),
    _at("revoked_at", null=True),
    _text("ip", null=True),
    *_from_provider(),
    sa.Index(None, "person_id"),
    sa.Index(None, "identity_id"),
)
failed_attempts = sa.Table(  # what `services.attempts` counts, by what it counts
    "failed_attempts",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    _int("failures"),
    _at("since"),
    _at("locked_until", null=True),
    _at("forget_at"),
    sa.Index(None, "forget_at"),
)
network_openings = sa.Table(  # allowlists set aside on the server's own machine
    "network_openings",
    metadata,
    _id(),
    _at("opened_at"),
    _at("until"),
    _text("reason"),
    _at("closed_at", null=True),
    sa.Index(None, "until"),
)
scim_tokens = sa.Table(
    "scim_tokens",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _text("directory"),
    sa.Column("secret_hash", BYTEA, nullable=False),
    _text("created_by"),
    _at("created_at"),
    _at("expires_at"),
    _at("last_used_at", null=True),
    _at("revoked_at", null=True),
)

# --- agents -----------------------------------------------------------------------------------
agent_definitions = sa.Table(
    "agent_definitions",
    metadata,
    _id(),
    _text("name"),
    sa.Column("implied", sa.Boolean, nullable=False),  # made for one instance that named none
    _int("version"),
    _text("created_by"),
    _at("created_at"),
    _at("ends_at", null=True),  # when an access review ends it, unless somebody keeps it
    _at("retired_at", null=True),
    sa.Index(
        "uq_agent_definitions_live_name",
        "name",
        unique=True,
        postgresql_where=sa.text("NOT implied AND retired_at IS NULL"),
    ),
)
agent_definition_versions = sa.Table(
    "agent_definition_versions",
    metadata,
    sa.Column("definition_id", sa.Text, sa.ForeignKey("agent_definitions.id"), primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    _text("description"),
    _ref("team_id", "teams"),
    sa.Column("repositories", ARRAY(sa.Text), nullable=False),  # patterns
    _text("tier"),
    sa.Column("max_session_seconds", sa.BigInteger, nullable=True),
    sa.Column("run_by", ARRAY(sa.Text), nullable=False),
    _text("why"),
    _text("made_by"),
    _at("made_at"),
    sa.Index(None, "team_id"),
)
agents = sa.Table(
    "agents",  # instances: each one run of a definition
    metadata,
    _id(),
    _text("name"),
    _ref("definition_id", "agent_definitions"),
    _int("definition_version"),
    _ref("parent_id", "agents", null=True),  # the agent that it works for
    _ref("sponsor_id", "people"),
    _ref("team_id", "teams"),
    _ref("project_id", "projects", null=True),
    _text("tier"),
    _text("state"),  # active, ended, killed
    _at("created_at"),
    _at("ended_at", null=True),
    _text("end_reason", null=True),
    sa.Index(None, "sponsor_id"),
    sa.Index(None, "team_id"),
    sa.Index(None, "definition_id"),
    sa.Index(None, "parent_id"),
)
tasks = sa.Table(
    "tasks",
    metadata,
    _id(),
    sa.Column("agent_id", sa.Text, sa.ForeignKey("agents.id"), nullable=False, unique=True),
    _text("title"),
    sa.Column("repositories", ARRAY(sa.Text), nullable=False),
    _text("state"),  # open, completed, failed, killed, expired
    _at("created_at"),
    _at("deadline"),
    _at("closed_at", null=True),
)
agent_credentials = sa.Table(
    "agent_credentials",
    metadata,
    _id(),
    _ref("agent_id", "agents"),
    _text("audience"),
    _text("key_id", null=True),  # of the key that signed it
    _text("thumbprint", null=True),  # of the agent's key that it is bound to
    sa.Column("scope", ARRAY(sa.Text), nullable=True),  # None: everything that the agent may
    _at("issued_at"),
    _at("expires_at"),
    _at("revoked_at", null=True),
    _at("superseded_at", null=True),  # when it was renewed …
    _text("successor_id", null=True),  # … and into which
    sa.Index(None, "agent_id"),
    sa.Index(None, "key_id"),
)
shown_proofs = sa.Table(
    "shown_proofs",  # of possession: each counts once, at whichever replica it is shown
    metadata,
    sa.Column("digest", BYTEA, primary_key=True),
    _at("expires_at"),
    sa.Index(None, "expires_at"),
)
signing_keys = sa.Table(
    "signing_keys",  # public halves; the private ones stay with the replica that made them
    metadata,
    _id(),
    sa.Column("public_key", BYTEA, nullable=False),
    _text("made_on"),
    _at("created_at"),
    _at("retired_at", null=True),
    _text("retired_by", null=True),
    _at("verifies_until", null=True),
    sa.Index(
        "ix_signing_keys_signing", "created_at", postgresql_where=sa.text("retired_at IS NULL")
    ),
)

# --- templates and workspaces -----------------------------------------------------------------
templates = sa.Table(
    "templates",
    metadata,
    _id(),
    _text("name"),
    _text("version"),
    _text("title"),
    _text("description"),
    sa.Column("approved", sa.Boolean, nullable=False),
    _text("use_instead", null=True),
    sa.Column("for_kinds", ARRAY(sa.Text), nullable=False),
    sa.Column("environment", JSONB, nullable=False),
    _at("created_at"),
    sa.UniqueConstraint("name", "version"),
)
workspaces = sa.Table(
    "workspaces",
    metadata,
    _id(),
    _text("name"),
    _text("owner_kind"),
    _text("owner_id"),
    _ref("sponsor_id", "people"),
    _ref("agent_id", "agents", null=True),
    _ref("task_id", "tasks", null=True),
    _ref("team_id", "teams"),
    _ref("project_id", "projects", null=True),
    _ref("template_id", "templates"),
    _text("size"),
    _int("vcpu"),
    _int("memory_mib"),
    _int("disk_mib"),
    _int("gpu", 0),
    _text("tier", null=True),
    _text("network"),
    sa.Column("egress_allowlist", ARRAY(sa.Text), nullable=True),
    sa.Column("labels", JSONB, nullable=False),
    _text("provider"),
    _text("desired"),
    _text("observed"),
    _int("generation", 1),
    _int("observed_generation", 0),
    _text("state_reason"),
    _text("stopped_by", null=True),  # person, policy, kill
    sa.Column("notices", ARRAY(sa.Text), nullable=False, server_default="{}"),
    _at("created_at"),
    _at("started_at", null=True),
    _at("stopped_at", null=True),
    _at("last_activity_at", null=True),
    _text("last_activity_signal", null=True),
    _at("warned_for", null=True),
    _at("extended_until", null=True),
    _int("extensions", 0),
    _text("approved_digest", null=True),  # what the grants cover that its run stands on
    _at("next_check_at", null=True),
    _at("deleted_at", null=True),
    sa.Index(
        "uq_workspaces_live_name",
        "owner_id",
        "name",
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    ),
    sa.Index(
        "ix_workspaces_due", "next_check_at", postgresql_where=sa.text("next_check_at IS NOT NULL")
    ),
    sa.Index(None, "team_id"),
    sa.Index(None, "agent_id"),
    sa.Index(None, "created_at", "id"),
)

_DIMENSIONS = ("vcpu", "memory_mib", "disk_mib", "gpu", "workspaces")
quotas = sa.Table(
    "quotas",
    metadata,
    sa.Column("scope", sa.Text, primary_key=True),
    *(_int(f"{name}_limit") for name in _DIMENSIONS),
    *(_int(f"{name}_used", 0) for name in _DIMENSIONS),
    # The most that overrides have given above the limit and that may still be in use of it.
    *(_int(f"{name}_raised", 0) for name in _DIMENSIONS),
    *(
        sa.CheckConstraint(
            f"{name}_used >= 0 AND {name}_used <= {name}_limit + {name}_raised",
            name=f"{name}_within_limit",
        )
        for name in _DIMENSIONS
    ),
)
reservations = sa.Table(
    "reservations",
    metadata,
    sa.Column("workspace_id", sa.Text, sa.ForeignKey("workspaces.id"), primary_key=True),
    sa.Column("scope", sa.Text, sa.ForeignKey("quotas.scope"), primary_key=True),
    *(_int(name) for name in _DIMENSIONS),
    sa.Index(None, "scope"),
)

# --- decisions, policies, approvals -----------------------------------------------------------
bundles = sa.Table(
    "bundles",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("files", JSONB, nullable=False),
    _text("loaded_by"),
    _text("note"),
    _at("created_at"),
    _text("signature", null=True),  # only what is signed may be in force
)
active_bundle = sa.Table(
    "active_bundle",
    metadata,
    sa.Column("single_row", sa.Boolean, primary_key=True),  # one row: the constraint says so
    sa.Column("digest", sa.Text, sa.ForeignKey("bundles.digest"), nullable=False),
    _at("since"),
    sa.CheckConstraint("single_row", name="one_row"),
)
decisions = sa.Table(
    "decisions",
    metadata,
    _id(),
    _at("at"),
    _text("subject_kind"),
    _text("subject_id"),
    _text("action"),
    _text("resource_kind"),
    _text("resource_id", null=True),
    _text("team_id", null=True),
    _text("effect"),
    _text("facts"),
    _text("facts_digest"),
    _text("result"),
    _text("bundle_digest"),
    _text("engine"),
    _text("core_version"),
    _int("duration_us"),
    sa.Index(None, "at", "id"),
    sa.Index(None, "subject_id", "at"),
)
approvals = sa.Table(
    "approvals",
    metadata,
    _id(),
    _text("requester_kind"),
    _text("requester_id"),
    _ref("sponsor_id", "people"),
    _ref("team_id", "teams"),
    _ref("project_id", "projects", null=True),
    _ref("task_id", "tasks", null=True),
    _text("action"),
    _text("resource_kind"),
    _text("resource_digest"),
    _text("summary"),
    sa.Column("requirements", JSONB, nullable=False),
    sa.Column("pending", JSONB, nullable=False),  # the request to carry out on the final yes
    _text("justification", null=True),
    _ref("decision_id", "decisions"),
    _at("created_at"),
    _at("deadline"),
    _at("remind_at", null=True),  # when approvers are told again
    _text("state"),  # what the last vote or sweep left; the state that counts is computed
    _at("closed_at", null=True),
    _text("outcome", null=True),
    _text("result_id", null=True),
    _text("ticket", null=True),
    sa.Column("duration_seconds", sa.BigInteger, nullable=True),
    _text("renews_id", null=True),  # the grant that this is to follow
    _at("escalated_at", null=True),  # when further approvers were told of it
    _int("reminders", 0),
    sa.Index(None, "state", "deadline"),
    sa.Index(None, "state", "remind_at"),
    sa.Index(None, "requester_id"),
    sa.Index(None, "renews_id"),
    sa.Index(None, "created_at", "id"),
)
approval_votes = sa.Table(
    "approval_votes",
    metadata,
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.id"), primary_key=True),
    sa.Column("approver_id", sa.Text, sa.ForeignKey("people.id"), primary_key=True),
    sa.Column("roles", ARRAY(sa.Text), nullable=False),  # as what; see core.approvals.requirements
    _text("verdict"),
    _text("comment", null=True),
    _at("at"),
    _ref("counts_as", "people"),  # in whose stead, or the approver themselves
    sa.Column("lost_roles", ARRAY(sa.Text), nullable=True),  # what was true no longer …
    _at("lost_at", null=True),  # … when a later vote came
    sa.UniqueConstraint("approval_id", "counts_as"),
    sa.Index("ix_approval_votes_approver_id", "approver_id", "at"),
)
approval_addressees = sa.Table(  # to whom a request is put, and since or from when on
    "approval_addressees",
    metadata,
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.id"), primary_key=True),
    sa.Column("addressee", sa.Text, primary_key=True),  # a role, manager, person:ID, team:ID
    _at("since"),
    sa.Column("escalation", sa.Boolean, nullable=False),
    _at("told_at", null=True),
    sa.Column("open", sa.Boolean, nullable=False, server_default="true"),  # while not settled
    sa.Index(None, "addressee", "since"),
    sa.Index(
        "ix_approval_addressees_open",
        "addressee",
        "approval_id",
        "since",
        postgresql_where=sa.text("open"),
    ),
    sa.Index("ix_approval_addressees_untold", "since", postgresql_where=sa.text("told_at IS NULL")),
)
approval_comments = sa.Table(
    "approval_comments",
    metadata,
    _id(),
    _ref("approval_id", "approvals"),
    _text("author_kind"),
    _text("author_id"),
    _text("text"),
    _at("at"),
    sa.Index(None, "approval_id"),
)
absences = sa.Table(  # who answers for an approver who is away, under the policy of that time
    "absences",
    metadata,
    _id(),
    _ref("person_id", "people"),
    _ref("delegate_id", "people"),
    _at("starts_at"),
    _at("ends_at"),
    _text("reason", null=True),
    _int("max_depth"),
    sa.Column("kept_apart", JSONB, nullable=False),  # pairs of roles that must not meet
    _at("created_at"),
    _at("revoked_at", null=True),
    _text("revoked_by", null=True),
    sa.Index(None, "person_id"),
    sa.Index(None, "delegate_id"),
)
grants = sa.Table(
    "grants",
    metadata,
    _id(),
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.id"), nullable=False, unique=True),
    _text("subject_id"),
    _text("action"),
    _text("resource_digest"),
    sa.Column("rules", ARRAY(sa.Text), nullable=False),
    _at("created_at"),
    _at("expires_at"),
    _at("revoked_at", null=True),
    _ref("task_id", "tasks", null=True),  # with which it ends
    sa.Column("single_use", sa.Boolean, nullable=False, server_default="false"),
    _at("used_at", null=True),
    _text("revoked_by", null=True),
    _text("revoke_reason", null=True),
    _at("warned_at", null=True),  # when its holder was told that it ends soon
    sa.Index(None, "subject_id"),
    sa.Index(None, "expires_at"),
)

# --- temporary elevation ----------------------------------------------------------------------
quota_overrides = sa.Table(
    "quota_overrides",
    metadata,
    _id(),
    sa.Column("scope", sa.Text, sa.ForeignKey("quotas.scope"), nullable=False),
    _text("dimension"),
    _int("amount"),
    _ref("team_id", "teams"),
    _ref("requested_by", "people"),
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.id"), nullable=True, unique=True),
    _at("created_at"),
    _at("expires_at"),
    _at("revoked_at", null=True),
    _at("told_at", null=True),  # when the requester was told that it ended
    sa.Index(None, "scope"),
)
elevations = sa.Table(
    "elevations",
    metadata,
    _id(),
    _ref("agent_id", "agents"),
    _ref("task_id", "tasks"),
    _text("tier", null=True),
    sa.Column("permissions", ARRAY(sa.Text), nullable=False),
    sa.Column("repositories", ARRAY(sa.Text), nullable=False),
    _text("requested_by"),  # the agent itself or its sponsor
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.id"), nullable=True, unique=True),
    _at("created_at"),
    _at("expires_at"),
    _at("revoked_at", null=True),
    sa.Index(None, "agent_id"),
)
break_glass = sa.Table(
    "break_glass",
    metadata,
    _id(),
    _ref("person_id", "people"),
    _text("role"),
    _text("reason"),
    _at("started_at"),
    _at("expires_at"),
    _at("ended_at", null=True),
    _text("ended_by", null=True),
    _at("review_due_at"),
    _at("reviewed_at", null=True),
    _ref("reviewer_id", "people", null=True),
    _text("outcome", null=True),  # justified, excessive, misused
    _text("findings", null=True),
    _at("told_at", null=True),  # when reviewers were told that the review is overdue
    sa.Index(
        "uq_break_glass_at_work",
        "person_id",
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
    sa.Index(None, "person_id", "started_at"),
)
production_accesses = sa.Table(
    "production_accesses",
    metadata,
    _id(),
    _ref("person_id", "people"),
    _ref("team_id", "teams"),
    _ref("project_id", "projects"),
    _text("environment"),
    _int("seconds"),
    _text("ticket", null=True),
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.id"), nullable=True, unique=True),
    _ref("grant_id", "grants", null=True),
    sa.Column("secret_hash", BYTEA, nullable=True),  # none until the token was taken
    _at("created_at"),
    _at("issued_at", null=True),
    _at("expires_at"),  # until then the token is to be taken; once taken, when it ends
    _at("revoked_at", null=True),
    _text("revoked_by", null=True),
    _int("uses", 0),
    _at("last_used_at", null=True),
    _text("last_used_where", null=True),
    sa.Index(None, "person_id"),
    sa.Index(None, "created_at", "id"),
)

# --- reviews of the policy ----------------------------------------------------------------
governance_reviews = sa.Table(
    "governance_reviews",
    metadata,
    _id(),
    _text("kind"),
    _text("trigger"),
    _text("reason", null=True),
    _text("opened_by"),  # a person, or the calendar
    _at("opened_at"),
    _at("due_at"),
    _at("held_at", null=True),
    sa.Column("committee", JSONB, nullable=False),  # [{person_id, side}]
    _text("minutes"),
    sa.Column("findings", JSONB, nullable=False),  # [{text, owner_id, due_on, done_at}]
    _text("outcome", null=True),
    _at("closed_at", null=True),
    _ref("closed_by", "people", null=True),
    # Two replicas that look at the calendar together open one review of a kind.
    sa.Index(
        "uq_governance_reviews_scheduled",
        "kind",
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL AND trigger = 'calendar'"),
    ),
    sa.Index(None, "due_at"),
)

# --- reviews of access ------------------------------------------------------------------------
access_campaigns = sa.Table(
    "access_campaigns",
    metadata,
    _id(),
    _text("name"),
    _text("opened_by"),  # a person, or the calendar
    _text("reason", null=True),
    _at("opened_at"),
    _at("due_at"),
    _at("remind_at"),
    _at("closed_at", null=True),
    # Two replicas that look at the calendar together open one campaign for a quarter.
    sa.Index(
        "uq_access_campaigns_calendar",
        "name",
        unique=True,
        postgresql_where=sa.text("opened_by = 'calendar'"),
    ),
)
access_review_items = sa.Table(
    "access_review_items",
    metadata,
    _id(),
    _ref("campaign_id", "access_campaigns"),
    _text("kind"),  # role, grant, agent, token
    _text("target_id"),
    _ref("holder_id", "people"),  # who answers for it; of an agent its sponsor
    _ref("team_id", "teams", null=True),
    _text("what"),
    _text("role", null=True),
    _text("scope_kind", null=True),
    sa.Column("privileged", sa.Boolean, nullable=False),
    _at("since"),
    _at("last_used_at", null=True),
    _at("ended_at", null=True),  # when it would have ended by itself, before the campaign
    _text("answer", null=True),  # keep, revoke, lapsed, gone
    _text("answered_by", null=True),
    _at("answered_at", null=True),
    _text("comment", null=True),
    sa.UniqueConstraint("campaign_id", "kind", "target_id"),
    sa.Index(None, "campaign_id", "id"),
    sa.Index(None, "holder_id"),
)

# --- how often rules spoke, counted from the decisions --------------------------------------
rule_usage = sa.Table(
    "rule_usage",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("effect", sa.Text, primary_key=True),
    # spoke (it counted), dry-run (it would have), exempted (an exemption silenced it)
    sa.Column("said", sa.Text, primary_key=True),
    sa.Column("exemption", sa.Text, primary_key=True),  # which one; empty unless exempted
    _int("count"),
    _at("last_at"),
    _text("last_decision_id"),
    sa.Index(None, "rule", "day"),
)
rule_usage_position = sa.Table(
    "rule_usage_position",
    metadata,
    sa.Column("single_row", sa.Boolean, primary_key=True, server_default=sa.true()),
    _text("decision_id"),  # the last one that is counted
    sa.CheckConstraint("single_row", name="only_one"),
)

# --- effects, notices, controllers ------------------------------------------------------------
outbox = sa.Table(
    "outbox",
    metadata,
    _id(),
    _text("kind"),
    _ref("workspace_id", "workspaces"),
    _int("generation"),
    _at("created_at"),
    _at("next_attempt_at"),
    _int("attempts", 0),
    _text("last_error", null=True),
    _at("done_at", null=True),
    sa.Index("ix_outbox_due", "next_attempt_at", postgresql_where=sa.text("done_at IS NULL")),
    sa.Index(None, "workspace_id"),
)
notices = sa.Table(
    "notices",
    metadata,
    _id(),
    _ref("person_id", "people"),
    _text("kind"),
    _text("message"),
    _text("resource_kind", null=True),
    _text("resource_id", null=True),
    _text("dedupe_key", null=True),
    _at("created_at"),
    _at("read_at", null=True),
    _at("dispatched_at", null=True),  # when it was looked at for mails and channels
    sa.UniqueConstraint("person_id", "dedupe_key"),
    sa.Index(None, "person_id", "created_at"),
    sa.Index("ix_notices_to_dispatch", "id", postgresql_where=sa.text("dispatched_at IS NULL")),
)
# Where a team or the organisation wants its news. Address and secret are sealed, or are the names
# of files that an operator put there.
notification_channels = sa.Table(
    "notification_channels",
    metadata,
    _id(),
    _text("kind"),  # slack, webhook
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _ref("team_id", "teams", null=True),  # none: the whole organisation
    sa.Column("kinds", ARRAY(sa.Text), nullable=False),
    sa.Column("url_sealed", BYTEA, nullable=True),
    _text("url_file", null=True),
    _text("shown"),  # scheme and host of the address, or the name of its file
    sa.Column("secret_sealed", BYTEA, nullable=True),
    _text("secret_file", null=True),
    _text("created_by"),
    _at("created_at"),
    _at("removed_at", null=True),
)
notification_preferences = sa.Table(
    "notification_preferences",
    metadata,
    sa.Column("person_id", sa.Text, sa.ForeignKey("people.id"), primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("when", sa.Text, nullable=False),  # at-once, digest, off
)
# One approver's link to one request. The signature is made from the row and a key; a hash is kept.
approval_links = sa.Table(
    "approval_links",
    metadata,
    _id(),
    _ref("approval_id", "approvals"),
    _ref("person_id", "people"),
    sa.Column("nonce", BYTEA, nullable=False),
    sa.Column("token_hash", BYTEA, nullable=False),
    _text("address"),  # where it was sent; another address of the person ends it
    _at("made_at"),
    _at("expires_at"),
    _at("used_at", null=True),
    _at("ended_at", null=True),
    _text("ended_by", null=True),  # who opened it and was somebody else
    sa.Index(None, "approval_id", "person_id"),
)
# The outbox of messages: what has to leave, what left, and what never will.
deliveries = sa.Table(
    "deliveries",
    metadata,
    _id(),
    _text("via"),  # mail, slack, webhook
    _ref("channel_id", "notification_channels", null=True),
    _ref("person_id", "people", null=True),
    _ref("notice_id", "notices"),
    _ref("link_id", "approval_links", null=True),
    _text("kind"),
    _text("message"),
    _text("resource_kind", null=True),
    _text("resource_id", null=True),
    sa.Column("dedupe_key", sa.Text, nullable=False, unique=True),
    sa.Column("digest", sa.Boolean, nullable=False),
    _at("created_at"),
    _at("next_attempt_at"),
    _int("attempts", 0),
    _text("state"),
    _text("reason", null=True),
    _at("settled_at", null=True),
    sa.Index("ix_deliveries_due", "next_attempt_at", postgresql_where=sa.text("state = 'waiting'")),
    sa.Index(None, "state", "id"),
    sa.Index(None, "person_id", "resource_id"),
)
controllers = sa.Table(
    "controllers",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("replica", sa.Text, primary_key=True),
    _at("last_run_at"),
    _int("runs", 0),
    _int("failures", 0),
    sa.Column("status", JSONB, nullable=False),
    _text("last_error", null=True),
)
idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("subject_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    _text("request_digest"),
    sa.Column("response", JSONB, nullable=True),
    _at("created_at"),
)

# --- enforcement points -----------------------------------------------------------------------
enforcement_points = sa.Table(
    "enforcement_points",
    metadata,
    _id(),
    _text("kind"),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("secret_hash", BYTEA, nullable=False),
    # After a rotation the secret before it counts until this moment.
    sa.Column("previous_hash", BYTEA, nullable=True),
    _at("previous_until", null=True),
    sa.Column("settings", JSONB, nullable=False),
    _text("created_by"),
    _at("created_at"),
    _at("rotated_at", null=True),
    _at("revoked_at", null=True),
    _at("last_seen_at", null=True),
    sa.Column("last_status", JSONB, nullable=True),
    _at("last_status_at", null=True),
)
# What a remote engine says that it decided by itself; evidence of theirs, not a decision of ours.
reported_decisions = sa.Table(
    "reported_decisions",
    metadata,
    sa.Column("point_id", sa.Text, sa.ForeignKey("enforcement_points.id"), primary_key=True),
    sa.Column("decision_id", sa.Text, primary_key=True),
    _at("at"),
    _at("received_at"),
    _text("path"),
    _text("revision", null=True),
    _text("effect", null=True),
    sa.Column("erased", ARRAY(sa.Text), nullable=False),
    _text("entry"),
    sa.Index(None, "point_id", "at"),
)

# --- audit ------------------------------------------------------------------------------------
audit_pending = sa.Table(
    "audit_pending",
    metadata,
    sa.Column("position", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _text("event_id"),
    sa.Column("leaf", BYTEA, nullable=False),
    # The seal stores leaves in bundles with two bytes for the length: what is longer never seals.
    sa.CheckConstraint("octet_length(leaf) <= 65535", name="leaf_fits"),
)
audit_private = sa.Table(
    "audit_private",
    metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("salt", BYTEA, nullable=False),
    _text("payload"),
)
audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),
    _at("at"),
    _text("actor"),
    _text("action"),
    _text("resource"),
    _text("outcome"),
    sa.Column("leaf", BYTEA, nullable=False),
    sa.Column("leaf_hash", BYTEA, nullable=False),
    sa.Index(None, "actor"),
    sa.Index(None, "action"),
    sa.Index(None, "resource"),
    sa.Index(None, "at"),
)
audit_tiles = sa.Table(
    "audit_tiles",
    metadata,
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("tile", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hashes", BYTEA, nullable=False),
)
audit_checkpoints = sa.Table(
    "audit_checkpoints",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("root", BYTEA, nullable=False),
    _text("note"),
    _at("at"),
)

# --- impact -----------------------------------------------------------------------------------
tried_bundles = sa.Table(
    "tried_bundles",  # candidates that may never be put in force; `bundles` holds those that may
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("files", JSONB, nullable=False),
    _at("created_at"),
)
impact_runs = sa.Table(
    "impact_runs",
    metadata,
    _id(),
    _text("change_id", null=True),
    _text("digest"),
    _text("base_digest"),
    _text("requested_by"),
    _at("since"),
    _at("until"),
    _text("state"),  # queued, running, done, failed, cancelled
    _text("phase"),  # counting, workspaces, decisions
    _at("cursor_at", null=True),
    _text("cursor_id", null=True),
    _int("total", 0),
    _int("done", 0),
    _int("busy_ms", 0),
    sa.Column("report", JSONB, nullable=False),
    _text("error", null=True),
    _at("created_at"),
    _at("started_at", null=True),
    _at("finished_at", null=True),
    _at("claimed_until", null=True),
    sa.Index(
        "ix_impact_runs_open",
        "created_at",
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    ),
    sa.Index(None, "change_id"),
)
shadow_runs = sa.Table(
    "shadow_runs",
    metadata,
    _id(),
    _text("change_id", null=True),
    _text("digest"),
    _text("state"),  # active, failed, ended
    _at("cursor_at"),
    _text("cursor_id"),
    _int("seen", 0),
    _int("differing", 0),
    _int("failed", 0),
    sa.Column("report", JSONB, nullable=False),
    _text("error", null=True),
    _at("started_at"),
    _at("ended_at", null=True),
    _at("claimed_until", null=True),
    sa.Index("ix_shadow_runs_active", "id", postgresql_where=sa.text("state = 'active'")),
    sa.Index(None, "change_id"),
)
shadow_differences = sa.Table(
    "shadow_differences",
    metadata,
    sa.Column("run_id", sa.Text, sa.ForeignKey("shadow_runs.id"), primary_key=True),
    sa.Column("decision_id", sa.Text, sa.ForeignKey("decisions.id"), primary_key=True),
    _at("at"),
    _text("before"),
    _text("after"),
    sa.Column("rules", ARRAY(sa.Text), nullable=False),
    _text("result"),
)

# --- policy changes ---------------------------------------------------------------------------
policy_activations = sa.Table(
    "policy_activations",
    metadata,
    _id(),
    sa.Column("digest", sa.Text, sa.ForeignKey("bundles.digest"), nullable=False),
    _text("previous", null=True),
    _text("kind"),  # bootstrap, apply, emergency, promote, rollback, automatic-rollback
    _text("actor_kind"),
    _text("actor_id"),
    _text("why"),
    _text("change_id", null=True),
    _at("at"),
    sa.Index(None, "at"),
)
policy_failures = sa.Table(
    "policy_failures",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),  # load, engine
    _text("message"),
    _at("at"),
    _at("announced_at", null=True),
)
policy_changes = sa.Table(
    "policy_changes",
    metadata,
    _id(),
    _text("source"),  # git, proposal
    _text("branch", null=True),
    _text("commit", null=True),
    _text("title"),
    _text("description"),
    _text("author"),  # as people read it
    sa.Column("author_ids", ARRAY(sa.Text), nullable=False),  # those of them who are known here
    sa.Column("edits", JSONB, nullable=False),
    _text("digest", null=True),
    _text("base_digest", null=True),
    _text("conflict", null=True),
    sa.Column("checks", JSONB, nullable=True),
    _text("impact_id", null=True),
    _text("state"),
    _text("reason"),
    _at("since"),
    _at("created_at"),
    _at("claimed_until", null=True),
    _int("attempts", 0),
    _at("promoted_at", null=True),
    _text("previous_digest", null=True),
    sa.Column("monitor", JSONB, nullable=True),
    _at("closed_at", null=True),
    sa.Index(None, "created_at", "id"),
    sa.Index(
        "ix_policy_changes_open",
        "created_at",
        postgresql_where=sa.text("closed_at IS NULL"),
    ),
    # One change at a time: two would both be answerable for one spike.
    sa.Index(
        "uq_policy_changes_slot",
        sa.text("(true)"),
        unique=True,
        postgresql_where=sa.text("state IN ('staged', 'monitored')"),
    ),
)
policy_reviews = sa.Table(
    "policy_reviews",
    metadata,
    _id(),
    _ref("change_id", "policy_changes"),
    _ref("reviewer_id", "people"),
    _text("side"),
    _text("verdict"),  # approve, reject
    _text("comment"),
    _text("digest"),
    _text("base_digest"),
    _text("impact_id", null=True),
    _at("at"),
    sa.Index(None, "change_id"),
)
policy_source = sa.Table(
    "policy_source",
    metadata,
    sa.Column("single_row", sa.Boolean, primary_key=True),
    _at("next_fetch_at"),
    _at("fetched_at", null=True),
    _text("error", null=True),
    _at("failing_since", null=True),
    sa.CheckConstraint("single_row", name="one_row"),
)
policy_source_heads = sa.Table(
    "policy_source_heads",
    metadata,
    sa.Column("branch", sa.Text, primary_key=True),
    _text("commit"),
    _text("change_id", null=True),
    _text("outcome"),  # what became of this commit, as a sentence
    _at("seen_at"),
)
