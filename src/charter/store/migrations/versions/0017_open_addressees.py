"""To whom open requests are put is found without those of settled ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_SETTLED = """
UPDATE approval_addressees SET open = false
FROM approvals WHERE approvals.id = approval_id AND approvals.state <> 'pending'
"""


def upgrade() -> None:
    """An inbox reads an index as long as what waits, not as what ever waited."""
    op.add_column(
        "approval_addressees",
        sa.Column("open", sa.Boolean(), server_default="true", nullable=False),
    )
    op.execute(_SETTLED)
    op.create_index(
        "ix_approval_addressees_open",
        "approval_addressees",
        ["addressee", "approval_id", "since"],
        postgresql_where=sa.text("open"),
    )


def downgrade() -> None:
    """The other way round."""
    op.drop_index("ix_approval_addressees_open", "approval_addressees")
    op.drop_column("approval_addressees", "open")
