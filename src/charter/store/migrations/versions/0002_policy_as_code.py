"""Policy as code: changes, their impact, reviews, activations and enforcement points."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _governance() -> None:
    """Reviews of the policy, and how often rules spoke."""
    # reviews of the policy
    op.create_table(
        "governance_reviews",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("committee", postgresql.JSONB(), nullable=False),
        sa.Column("minutes", sa.Text(), nullable=False),
        sa.Column("findings", postgresql.JSONB(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["closed_by"], ["people.id"], name=op.f("fk_governance_reviews_closed_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_governance_reviews")),
    )
    op.create_index(
        "uq_governance_reviews_scheduled",
        "governance_reviews",
        ["kind"],
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL AND trigger = 'calendar'"),
    )
    op.create_index(op.f("ix_governance_reviews_due_at"), "governance_reviews", ["due_at"])
    # how often rules spoke
    op.create_table(
        "rule_usage",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("exemption", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_decision_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day", "rule", "effect", "said", "exemption", name=op.f("pk_rule_usage")
        ),
    )
    op.create_index(op.f("ix_rule_usage_rule_day"), "rule_usage", ["rule", "day"])
    op.create_table(
        "rule_usage_position",
        sa.Column("single_row", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.CheckConstraint("single_row", name=op.f("ck_rule_usage_position_only_one")),
        sa.PrimaryKeyConstraint("single_row", name=op.f("pk_rule_usage_position")),
    )


def upgrade() -> None:
    """Each block belongs to one noun."""
    _governance()


def downgrade() -> None:
    """The other way round."""
    for table in ("rule_usage_position", "rule_usage", "governance_reviews"):
        op.drop_table(table)
