"""Approvals: to whom a request is put, comments, standing in, and grants that say how they end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ADDED = (
    ("approvals", "ticket"),
    ("approvals", "duration_seconds"),
    ("approvals", "renews_id"),
    ("approvals", "escalated_at"),
    ("approvals", "reminders"),
    ("approval_votes", "counts_as"),
    ("approval_votes", "lost_roles"),
    ("approval_votes", "lost_at"),
    ("grants", "task_id"),
    ("grants", "single_use"),
    ("grants", "used_at"),
    ("grants", "revoked_by"),
    ("grants", "revoke_reason"),
    ("grants", "warned_at"),
)
# Whom an open request of before is put to: everybody whom its requirements name.
_PUT_TO = """
INSERT INTO approval_addressees (approval_id, addressee, since, escalation, told_at)
SELECT DISTINCT a.id, role.value, a.created_at, false, a.created_at
FROM approvals a, jsonb_array_elements(a.requirements) needed,
     jsonb_array_elements_text(needed.value -> 'roles') role
WHERE jsonb_typeof(a.requirements) = 'array'
"""


def _at(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _key(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}")


def upgrade() -> None:
    """Votes and grants of before keep their meaning; open requests stay with whom they were."""
    op.add_column("approvals", _text("ticket", null=True))
    op.add_column("approvals", sa.Column("duration_seconds", sa.BigInteger(), nullable=True))
    op.add_column("approvals", _text("renews_id", null=True))
    op.add_column("approvals", _at("escalated_at", null=True))
    op.add_column(
        "approvals", sa.Column("reminders", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.create_index("ix_approvals_renews_id", "approvals", ["renews_id"])
    _votes()
    _grants()
    _tables()
    op.execute(_PUT_TO)


def _votes() -> None:
    op.add_column("approval_votes", _text("counts_as", null=True))
    op.execute("UPDATE approval_votes SET counts_as = approver_id")
    op.alter_column("approval_votes", "counts_as", nullable=False)
    op.create_foreign_key(
        "fk_approval_votes_counts_as", "approval_votes", "people", ["counts_as"], ["id"]
    )
    op.create_unique_constraint(
        "uq_approval_votes_approval_id_counts_as", "approval_votes", ["approval_id", "counts_as"]
    )
    op.add_column("approval_votes", sa.Column("lost_roles", ARRAY(sa.Text()), nullable=True))
    op.add_column("approval_votes", _at("lost_at", null=True))
    op.create_index("ix_approval_votes_approver_id", "approval_votes", ["approver_id", "at"])


def _grants() -> None:
    op.add_column("grants", _text("task_id", null=True))
    op.create_foreign_key("fk_grants_task_id", "grants", "tasks", ["task_id"], ["id"])
    op.add_column(
        "grants", sa.Column("single_use", sa.Boolean(), server_default="false", nullable=False)
    )
    op.add_column("grants", _at("used_at", null=True))
    op.add_column("grants", _text("revoked_by", null=True))
    op.add_column("grants", _text("revoke_reason", null=True))
    op.add_column("grants", _at("warned_at", null=True))
    op.execute(
        "UPDATE grants SET task_id = approvals.task_id FROM approvals "
        "WHERE approvals.id = grants.approval_id"
    )
    op.create_index("ix_grants_expires_at", "grants", ["expires_at"])


def _tables() -> None:
    op.create_table(
        "approval_addressees",
        _text("approval_id"),
        _text("addressee"),
        _at("since"),
        sa.Column("escalation", sa.Boolean(), nullable=False),
        _at("told_at", null=True),
        _key("approval_addressees", "approval_id", "approvals"),
        sa.PrimaryKeyConstraint("approval_id", "addressee", name="pk_approval_addressees"),
    )
    op.create_index(
        "ix_approval_addressees_addressee_since", "approval_addressees", ["addressee", "since"]
    )
    op.create_index(
        "ix_approval_addressees_untold",
        "approval_addressees",
        ["since"],
        postgresql_where=sa.text("told_at IS NULL"),
    )
    op.create_table(
        "approval_comments",
        _text("id"),
        _text("approval_id"),
        _text("author_kind"),
        _text("author_id"),
        _text("text"),
        _at("at"),
        _key("approval_comments", "approval_id", "approvals"),
        sa.PrimaryKeyConstraint("id", name="pk_approval_comments"),
    )
    op.create_index("ix_approval_comments_approval_id", "approval_comments", ["approval_id"])
    op.create_table(
        "absences",
        _text("id"),
        _text("person_id"),
        _text("delegate_id"),
        _at("starts_at"),
        _at("ends_at"),
        _text("reason", null=True),
        sa.Column("max_depth", sa.BigInteger(), nullable=False),
        sa.Column("kept_apart", JSONB(), nullable=False),
        _at("created_at"),
        _at("revoked_at", null=True),
        _text("revoked_by", null=True),
        _key("absences", "person_id", "people"),
        _key("absences", "delegate_id", "people"),
        sa.PrimaryKeyConstraint("id", name="pk_absences"),
    )
    op.create_index("ix_absences_person_id", "absences", ["person_id"])
    op.create_index("ix_absences_delegate_id", "absences", ["delegate_id"])


def downgrade() -> None:
    """The other way round; a vote in somebody's stead stays with whoever gave it."""
    for table in ("absences", "approval_comments", "approval_addressees"):
        op.drop_table(table)
    op.drop_index("ix_grants_expires_at", "grants")
    op.drop_index("ix_approval_votes_approver_id", "approval_votes")
    op.drop_constraint("uq_approval_votes_approval_id_counts_as", "approval_votes")
    op.drop_index("ix_approvals_renews_id", "approvals")
    for table, column in _ADDED:
        op.drop_column(table, column)
