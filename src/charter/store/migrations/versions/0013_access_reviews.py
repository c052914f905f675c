"""Reviews of access: campaigns and what they ask about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables."""
    op.create_table(
        "access_campaigns",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("remind_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_campaigns")),
    )
    op.create_index(
        "uq_access_campaigns_calendar",
        "access_campaigns",
        ["name"],
        unique=True,
        postgresql_where=sa.text("opened_by = 'calendar'"),
    )
    op.create_table(
        "access_review_items",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("campaign_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target_id", sa.Text(), nullable=False),
        sa.Column("holder_id", sa.Text(), nullable=False),
        sa.Column("team_id", sa.Text(), nullable=True),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("scope_kind", sa.Text(), nullable=True),
        sa.Column("privileged", sa.Boolean(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("answered_by", sa.Text(), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_review_items")),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["access_campaigns.id"],
            name=op.f("fk_access_review_items_campaign_id"),
        ),
        sa.ForeignKeyConstraint(
            ["holder_id"], ["people.id"], name=op.f("fk_access_review_items_holder_id")
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_access_review_items_team_id")
        ),
        sa.UniqueConstraint(
            "campaign_id",
            "kind",
            "target_id",
            name=op.f("uq_access_review_items_campaign_id_kind_target_id"),
        ),
    )
    op.create_index(
        op.f("ix_access_review_items_campaign_id_id"),
        "access_review_items",
        ["campaign_id", "id"],
    )
    op.create_index(op.f("ix_access_review_items_holder_id"), "access_review_items", ["holder_id"])


def downgrade() -> None:
    """The other way round; what a running campaign has brought forward stays so."""
    op.drop_table("access_review_items")
    op.drop_table("access_campaigns")
