"""Definitions of agents end with an access review that nobody answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column."""
    op.add_column(
        "agent_definitions", sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True)
    )


def downgrade() -> None:
    """The other way round."""
    op.drop_column("agent_definitions", "ends_at")
