"""Passkeys; tokens and links say how and when their owner had proved who they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import BYTEA, JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_PROOF = ("method", "authenticated_at", "mfa")


def upgrade() -> None:
    """Tokens from before were made by people with one factor, at the latest when they were made."""
    op.create_table(
        "passkeys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("credential_id", BYTEA(), nullable=False),
        sa.Column("public_key", BYTEA(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("transports", JSONB(), nullable=False),
        sa.Column("aaguid", sa.Text(), nullable=False),
        sa.Column("backed_up", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name="fk_passkeys_person_id"),
        sa.PrimaryKeyConstraint("id", name="pk_passkeys"),
        sa.UniqueConstraint("credential_id", name="uq_passkeys_credential_id"),
    )
    op.create_index("ix_passkeys_person_id", "passkeys", ["person_id"])
    op.create_table(
        "passkey_challenges",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("bound_to", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_passkey_challenges"),
    )
    op.create_index("ix_passkey_challenges_expires_at", "passkey_challenges", ["expires_at"])
    op.add_column("sessions", sa.Column("user_agent", sa.Text(), nullable=True))
    op.add_column("sessions", sa.Column("passkey_id", sa.Text(), nullable=True))
    op.create_foreign_key("fk_sessions_passkey_id", "sessions", "passkeys", ["passkey_id"], ["id"])
    for table in ("sign_in_links", "api_tokens"):
        op.add_column(table, sa.Column("method", sa.Text(), nullable=True))
        op.add_column(
            table, sa.Column("authenticated_at", sa.DateTime(timezone=True), nullable=True)
        )
        op.add_column(table, sa.Column("mfa", sa.Boolean(), nullable=True))
    op.execute("UPDATE api_tokens SET method = 'link', authenticated_at = created_at, mfa = false")
    for column in _PROOF:
        op.alter_column("api_tokens", column, nullable=False)


def downgrade() -> None:
    """The other way round."""
    for table in ("api_tokens", "sign_in_links"):
        for column in _PROOF:
            op.drop_column(table, column)
    op.drop_constraint("fk_sessions_passkey_id", "sessions")
    op.drop_column("sessions", "passkey_id")
    op.drop_column("sessions", "user_agent")
    op.drop_table("passkey_challenges")
    op.drop_table("passkeys")
