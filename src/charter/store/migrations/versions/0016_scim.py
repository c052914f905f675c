"""SCIM: who switched an account off, and one live user name to a directory."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Whoever is switched off already was switched off by hand."""
    op.add_column("people", sa.Column("deactivated_by", sa.Text(), nullable=True))
    op.execute(
        "CREATE UNIQUE INDEX uq_people_user_name ON people "
        "(directory, lower(scim ->> 'userName')) WHERE removed_at IS NULL"
    )


def downgrade() -> None:
    """The other way round."""
    op.execute("DROP INDEX uq_people_user_name")
    op.drop_column("people", "deactivated_by")
