"""Single sign-on: who people are to a provider, what its groups gave, and what its logouts end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OPENED = ("sessions", "api_tokens")
_GIVEN = ("team_members", "role_bindings")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """What is there already was given by hand and opened without a provider."""
    op.create_table(
        "external_identities",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("last_used_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_external_identities"),
        sa.UniqueConstraint("issuer", "subject", name="uq_external_identities_issuer_subject"),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name="fk_external_identities_person_id"
        ),
    )
    op.create_index("ix_external_identities_person_id", "external_identities", ["person_id"])
    op.create_table(
        "used_attempts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_used_attempts"),
    )
    op.create_table(
        "provider_logouts",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("sid", sa.Text(), nullable=True),
        sa.Column("issued_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("issuer", "jti", name="pk_provider_logouts"),
    )
    for table in _GIVEN:
        op.add_column(table, sa.Column("source", sa.Text(), nullable=True))
    for table in _OPENED:
        op.add_column(table, sa.Column("identity_id", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("provider_subject", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("provider_sid", sa.Text(), nullable=True))
        op.create_foreign_key(
            f"fk_{table}_identity_id", table, "external_identities", ["identity_id"], ["id"]
        )
        op.create_index(f"ix_{table}_identity_id", table, ["identity_id"])
    op.add_column("sign_in_links", sa.Column("challenge", sa.Text(), nullable=True))
    op.add_column("sign_in_links", sa.Column("session_id", sa.Text(), nullable=True))
    op.create_foreign_key(
        "fk_sign_in_links_session_id", "sign_in_links", "sessions", ["session_id"], ["id"]
    )


def downgrade() -> None:
    """The other way round."""
    op.drop_constraint("fk_sign_in_links_session_id", "sign_in_links")
    op.drop_column("sign_in_links", "session_id")
    op.drop_column("sign_in_links", "challenge")
    for table in _OPENED:
        op.drop_index(f"ix_{table}_identity_id", table)
        op.drop_constraint(f"fk_{table}_identity_id", table)
        for column in ("provider_sid", "provider_subject", "identity_id"):
            op.drop_column(table, column)
    for table in _GIVEN:
        op.drop_column(table, "source")
    for table in ("provider_logouts", "used_attempts", "external_identities"):
        op.drop_table(table)
