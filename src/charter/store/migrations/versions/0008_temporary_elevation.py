"""Temporary elevation: production accesses, elevations, quota overrides, break-glass."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_DIMENSIONS = ("vcpu", "memory_mib", "disk_mib", "gpu", "workspaces")
_NEW = ("production_accesses", "break_glass", "elevations", "quota_overrides")


def _at(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _key(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_{column}"
    return sa.ForeignKeyConstraint([column], [target], name=name)


def _approval(table: str) -> tuple[Any, ...]:
    return (
        _text("approval_id", null=True),
        _key(table, "approval_id", "approvals.id"),
        sa.UniqueConstraint("approval_id", name=f"uq_{table}_approval_id"),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
    )


def upgrade() -> None:
    """Quotas may be exceeded by what an override gave; the rest is new."""
    op.add_column("role_bindings", _text("break_glass_id", null=True))
    op.add_column("workspaces", _text("approved_digest", null=True))
    for name in _DIMENSIONS:
        op.add_column(
            "quotas",
            sa.Column(f"{name}_raised", sa.BigInteger(), server_default="0", nullable=False),
        )
        _within(name, f"{name}_used >= 0 AND {name}_used <= {name}_limit + {name}_raised")
    _quota_overrides()
    _elevations()
    _break_glass()
    _production_accesses()


def _within(name: str, rule: str) -> None:
    constraint = op.f(f"ck_quotas_{name}_within_limit")
    op.drop_constraint(constraint, "quotas")
    op.create_check_constraint(constraint, "quotas", rule)


def _quota_overrides() -> None:
    op.create_table(
        "quota_overrides",
        _text("id"),
        _text("scope"),
        _text("dimension"),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        _text("team_id"),
        _text("requested_by"),
        *_approval("quota_overrides"),
        _at("created_at"),
        _at("expires_at"),
        _at("revoked_at", null=True),
        _at("told_at", null=True),
        _key("quota_overrides", "scope", "quotas.scope"),
        _key("quota_overrides", "team_id", "teams.id"),
        _key("quota_overrides", "requested_by", "people.id"),
    )
    op.create_index("ix_quota_overrides_scope", "quota_overrides", ["scope"])


def _elevations() -> None:
    op.create_table(
        "elevations",
        _text("id"),
        _text("agent_id"),
        _text("task_id"),
        _text("tier", null=True),
        sa.Column("permissions", ARRAY(sa.Text()), nullable=False),
        sa.Column("repositories", ARRAY(sa.Text()), nullable=False),
        _text("requested_by"),
        *_approval("elevations"),
        _at("created_at"),
        _at("expires_at"),
        _at("revoked_at", null=True),
        _key("elevations", "agent_id", "agents.id"),
        _key("elevations", "task_id", "tasks.id"),
    )
    op.create_index("ix_elevations_agent_id", "elevations", ["agent_id"])


def _break_glass() -> None:
    op.create_table(
        "break_glass",
        _text("id"),
        _text("person_id"),
        _text("role"),
        _text("reason"),
        _at("started_at"),
        _at("expires_at"),
        _at("ended_at", null=True),
        _text("ended_by", null=True),
        _at("review_due_at"),
        _at("reviewed_at", null=True),
        _text("reviewer_id", null=True),
        _text("outcome", null=True),
        _text("findings", null=True),
        _at("told_at", null=True),
        _key("break_glass", "person_id", "people.id"),
        _key("break_glass", "reviewer_id", "people.id"),
        sa.PrimaryKeyConstraint("id", name="pk_break_glass"),
    )
    op.create_index(
        "uq_break_glass_at_work",
        "break_glass",
        ["person_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "ix_break_glass_person_id_started_at", "break_glass", ["person_id", "started_at"]
    )


def _production_accesses() -> None:
    table = "production_accesses"
    op.create_table(
        table,
        _text("id"),
        _text("person_id"),
        _text("team_id"),
        _text("project_id"),
        _text("environment"),
        sa.Column("seconds", sa.BigInteger(), nullable=False),
        _text("ticket", null=True),
        *_approval(table),
        _text("grant_id", null=True),
        sa.Column("secret_hash", BYTEA(), nullable=True),
        _at("created_at"),
        _at("issued_at", null=True),
        _at("expires_at"),
        _at("revoked_at", null=True),
        _text("revoked_by", null=True),
        sa.Column("uses", sa.BigInteger(), server_default="0", nullable=False),
        _at("last_used_at", null=True),
        _text("last_used_where", null=True),
        _key(table, "person_id", "people.id"),
        _key(table, "team_id", "teams.id"),
        _key(table, "project_id", "projects.id"),
        _key(table, "grant_id", "grants.id"),
    )
    op.create_index(f"ix_{table}_person_id", table, ["person_id"])
    op.create_index(f"ix_{table}_created_at_id", table, ["created_at", "id"])


def downgrade() -> None:
    """The other way round; what is in use above a quota's limit becomes its limit."""
    for table in _NEW:
        op.drop_table(table)
    for name in _DIMENSIONS:
        limit: sa.ColumnClause[int] = sa.column(f"{name}_limit")
        used: sa.ColumnClause[int] = sa.column(f"{name}_used")
        quotas = sa.table("quotas", limit, used)
        op.execute(quotas.update().values({limit: sa.func.greatest(limit, used)}))
        _within(name, f"{name}_used >= 0 AND {name}_used <= {name}_limit")
        op.drop_column("quotas", f"{name}_raised")
    op.drop_column("workspaces", "approved_digest")
    op.drop_column("role_bindings", "break_glass_id")
