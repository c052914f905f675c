"""Directories: people and teams that an identity provider keeps, and the tokens it does so with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import BYTEA, JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_PEOPLE = ("source", "directory", "external_id", "scim", "manager_id", "updated_at", "removed_at")
_TEAMS = ("directory", "external_id", "scim", "updated_at", "removed_at")


def upgrade() -> None:
    """Everybody who is there already came by hand."""
    for table in ("people", "teams"):
        op.add_column(table, sa.Column("directory", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("external_id", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("scim", JSONB(), nullable=True))
        op.add_column(table, sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True))
        op.add_column(table, sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True))
        op.create_index(f"ix_{table}_directory_external_id", table, ["directory", "external_id"])
    op.add_column("people", sa.Column("source", sa.Text(), server_default="local", nullable=False))
    op.add_column("people", sa.Column("manager_id", sa.Text(), nullable=True))
    op.create_foreign_key("fk_people_manager_id", "people", "people", ["manager_id"], ["id"])
    op.create_index("ix_people_manager_id", "people", ["manager_id"])
    op.create_table(
        "scim_tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("secret_hash", BYTEA(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_scim_tokens"),
        sa.UniqueConstraint("name", name="uq_scim_tokens_name"),
    )


def downgrade() -> None:
    """The other way round."""
    op.drop_table("scim_tokens")
    op.drop_index("ix_people_manager_id", "people")
    op.drop_constraint("fk_people_manager_id", "people")
    for table, columns in (("people", _PEOPLE), ("teams", _TEAMS)):
        op.drop_index(f"ix_{table}_directory_external_id", table)
        for column in columns:
            op.drop_column(table, column)
