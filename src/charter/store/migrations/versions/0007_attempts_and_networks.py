"""Failed attempts to get in, allowlists that are set aside for a while, and whence tokens come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Where tokens from before were made is not known."""
    op.add_column("api_tokens", sa.Column("ip", sa.Text(), nullable=True))
    op.create_table(
        "failed_attempts",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("since", _MOMENT, nullable=False),
        sa.Column("locked_until", _MOMENT, nullable=True),
        sa.Column("forget_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_failed_attempts"),
    )
    op.create_index("ix_failed_attempts_forget_at", "failed_attempts", ["forget_at"])
    op.create_table(
        "network_openings",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("opened_at", _MOMENT, nullable=False),
        sa.Column("until", _MOMENT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("closed_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_network_openings"),
    )
    op.create_index("ix_network_openings_until", "network_openings", ["until"])


def downgrade() -> None:
    """The other way round."""
    op.drop_table("network_openings")
    op.drop_table("failed_attempts")
    op.drop_column("api_tokens", "ip")
