"""Approvals: when approvers are told again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column, and the index that the sweep looks at."""
    op.add_column("approvals", sa.Column("remind_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_approvals_state_remind_at"), "approvals", ["state", "remind_at"])


def downgrade() -> None:
    """The other way round."""
    op.drop_index(op.f("ix_approvals_state_remind_at"), table_name="approvals")
    op.drop_column("approvals", "remind_at")
