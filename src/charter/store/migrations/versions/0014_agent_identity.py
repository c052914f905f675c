"""Agents: definitions and their instances, credentials bound to keys, signing keys with a schedule.

Every agent that is there becomes the one instance of a definition of its own, which allows exactly
what that agent was allowed. Credentials from before name no signing key and are not valid any more;
they would have lived for a quarter of an hour at most.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_CREDENTIALS = ("key_id", "thumbprint", "successor_id")


def upgrade() -> None:
    """Definitions first, then the agents that are instances of them."""
    _definitions()
    op.add_column("agents", sa.Column("definition_id", sa.Text(), nullable=True))
    op.add_column("agents", sa.Column("definition_version", sa.BigInteger(), nullable=True))
    op.add_column("agents", sa.Column("parent_id", sa.Text(), nullable=True))
    _adopt()
    for column in ("definition_id", "definition_version"):
        op.alter_column("agents", column, nullable=False)
    op.create_foreign_key(
        "fk_agents_definition_id", "agents", "agent_definitions", ["definition_id"], ["id"]
    )
    op.create_foreign_key("fk_agents_parent_id", "agents", "agents", ["parent_id"], ["id"])
    for column in ("definition_id", "parent_id"):
        op.create_index(f"ix_agents_{column}", "agents", [column])
    for column in _CREDENTIALS:
        op.add_column("agent_credentials", sa.Column(column, sa.Text(), nullable=True))
    op.add_column("agent_credentials", sa.Column("scope", ARRAY(sa.Text()), nullable=True))
    op.add_column(
        "agent_credentials", sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.create_index("ix_agent_credentials_key_id", "agent_credentials", ["key_id"])
    _keys()


def _definitions() -> None:
    op.create_table(
        "agent_definitions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("implied", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_agent_definitions"),
    )
    op.create_index(
        "uq_agent_definitions_live_name",
        "agent_definitions",
        ["name"],
        unique=True,
        postgresql_where=sa.text("NOT implied AND retired_at IS NULL"),
    )
    op.create_table(
        "agent_definition_versions",
        sa.Column("definition_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("team_id", sa.Text(), nullable=False),
        sa.Column("repositories", ARRAY(sa.Text()), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("max_session_seconds", sa.BigInteger(), nullable=True),
        sa.Column("run_by", ARRAY(sa.Text()), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("definition_id", "version", name="pk_agent_definition_versions"),
        sa.ForeignKeyConstraint(
            ["definition_id"],
            ["agent_definitions.id"],
            name="fk_agent_definition_versions_definition_id",
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name="fk_agent_definition_versions_team_id"
        ),
    )
    op.create_index(
        "ix_agent_definition_versions_team_id", "agent_definition_versions", ["team_id"]
    )


def _adopt() -> None:
    op.execute(
        "INSERT INTO agent_definitions (id, name, implied, version, created_by, created_at) "
        "SELECT 'def_' || substr(id, 5), name, true, 1, sponsor_id, created_at FROM agents"
    )
    op.execute(
        "INSERT INTO agent_definition_versions (definition_id, version, description, team_id, "
        "repositories, tier, run_by, why, made_by, made_at) "
        "SELECT 'def_' || substr(a.id, 5), 1, 'For one task.', a.team_id, "
        "coalesce(t.repositories, '{}'), a.tier, ARRAY['person:' || a.sponsor_id], '', "
        "a.sponsor_id, a.created_at "
        "FROM agents a LEFT JOIN tasks t ON t.agent_id = a.id"
    )
    op.execute("UPDATE agents SET definition_id = 'def_' || substr(id, 5), definition_version = 1")


def _keys() -> None:
    op.create_table(
        "shown_proofs",
        sa.Column("digest", BYTEA(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_shown_proofs"),
    )
    op.create_index("ix_shown_proofs_expires_at", "shown_proofs", ["expires_at"])
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("public_key", BYTEA(), nullable=False),
        sa.Column("made_on", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retired_by", sa.Text(), nullable=True),
        sa.Column("verifies_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_signing_keys"),
    )
    op.create_index(
        "ix_signing_keys_signing",
        "signing_keys",
        ["created_at"],
        postgresql_where=sa.text("retired_at IS NULL"),
    )


def downgrade() -> None:
    """The other way round."""
    op.drop_table("signing_keys")
    op.drop_table("shown_proofs")
    op.drop_index("ix_agent_credentials_key_id", table_name="agent_credentials")
    for column in ("superseded_at", "scope", *reversed(_CREDENTIALS)):
        op.drop_column("agent_credentials", column)
    for column in ("parent_id", "definition_version", "definition_id"):
        op.drop_column("agents", column)
    op.drop_table("agent_definition_versions")
    op.drop_table("agent_definitions")
