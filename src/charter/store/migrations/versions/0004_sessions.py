"""Sessions: how, when and how strongly a person proved who they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Sessions from before were opened by one-time links, with one factor."""
    op.add_column("sessions", sa.Column("method", sa.Text(), nullable=True))
    op.add_column(
        "sessions", sa.Column("authenticated_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("sessions", sa.Column("mfa", sa.Boolean(), nullable=True))
    op.add_column("sessions", sa.Column("ip", sa.Text(), nullable=True))
    op.execute("UPDATE sessions SET method = 'link', authenticated_at = created_at, mfa = false")
    for column in ("method", "authenticated_at", "mfa"):
        op.alter_column("sessions", column, nullable=False)


def downgrade() -> None:
    """The other way round."""
    for column in ("ip", "mfa", "authenticated_at", "method"):
        op.drop_column("sessions", column)
