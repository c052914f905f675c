"""Notifications: channels, preferences, links to approval requests, and the outbox of messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _at(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _bytes(name: str, *, null: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, postgresql.BYTEA(), nullable=null)


def upgrade() -> None:
    """Notices from before count as dispatched: nobody wants mails about last year."""
    op.add_column("notices", sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE notices SET dispatched_at = created_at")
    op.create_index(
        op.f("ix_notices_to_dispatch"),
        "notices",
        ["id"],
        postgresql_where=sa.text("dispatched_at IS NULL"),
    )
    op.create_table(
        "notification_channels",
        _text("id"),
        _text("kind"),
        _text("name"),
        _text("team_id", null=True),
        sa.Column("kinds", postgresql.ARRAY(sa.Text()), nullable=False),
        _bytes("url_sealed", null=True),
        _text("url_file", null=True),
        _text("shown"),
        _bytes("secret_sealed", null=True),
        _text("secret_file", null=True),
        _text("created_by"),
        _at("created_at"),
        _at("removed_at", null=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_channels")),
        sa.UniqueConstraint("name", name=op.f("uq_notification_channels_name")),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_notification_channels_team_id")
        ),
    )
    op.create_table(
        "notification_preferences",
        _text("person_id"),
        _text("kind"),
        _text("when"),
        sa.PrimaryKeyConstraint("person_id", "kind", name=op.f("pk_notification_preferences")),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_notification_preferences_person_id")
        ),
    )
    op.create_table(
        "approval_links",
        _text("id"),
        _text("approval_id"),
        _text("person_id"),
        _bytes("nonce"),
        _bytes("token_hash"),
        _text("address"),
        _at("made_at"),
        _at("expires_at"),
        _at("used_at", null=True),
        _at("ended_at", null=True),
        _text("ended_by", null=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval_links")),
        sa.ForeignKeyConstraint(
            ["approval_id"], ["approvals.id"], name=op.f("fk_approval_links_approval_id")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_approval_links_person_id")
        ),
    )
    op.create_index(
        op.f("ix_approval_links_approval_id_person_id"),
        "approval_links",
        ["approval_id", "person_id"],
    )
    _deliveries()


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        _text("id"),
        _text("via"),
        _text("channel_id", null=True),
        _text("person_id", null=True),
        _text("notice_id"),
        _text("link_id", null=True),
        _text("kind"),
        _text("message"),
        _text("resource_kind", null=True),
        _text("resource_id", null=True),
        _text("dedupe_key"),
        sa.Column("digest", sa.Boolean(), nullable=False),
        _at("created_at"),
        _at("next_attempt_at"),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        _text("state"),
        _text("reason", null=True),
        _at("settled_at", null=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_deliveries_dedupe_key")),
        sa.ForeignKeyConstraint(
            ["channel_id"],
            ["notification_channels.id"],
            name=op.f("fk_deliveries_channel_id"),
        ),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_deliveries_person_id")),
        sa.ForeignKeyConstraint(
            ["notice_id"], ["notices.id"], name=op.f("fk_deliveries_notice_id")
        ),
        sa.ForeignKeyConstraint(
            ["link_id"], ["approval_links.id"], name=op.f("fk_deliveries_link_id")
        ),
    )
    op.create_index(
        op.f("ix_deliveries_due"),
        "deliveries",
        ["next_attempt_at"],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(op.f("ix_deliveries_state_id"), "deliveries", ["state", "id"])
    op.create_index(
        op.f("ix_deliveries_person_id_resource_id"), "deliveries", ["person_id", "resource_id"]
    )


def downgrade() -> None:
    """The other way round."""
    for table in (
        "deliveries",
        "approval_links",
        "notification_preferences",
        "notification_channels",
    ):
        op.drop_table(table)
    op.drop_index(op.f("ix_notices_to_dispatch"), table_name="notices")
    op.drop_column("notices", "dispatched_at")
