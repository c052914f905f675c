"""Policy as code: changes, their impact, reviews, activations and enforcement points."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _governance() -> None:
    """Reviews of the policy, and how often rules spoke."""
    # reviews of the policy
    op.create_table(
        "governance_reviews",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("committee", postgresql.JSONB(), nullable=False),
        sa.Column("minutes", sa.Text(), nullable=False),
        sa.Column("findings", postgresql.JSONB(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["closed_by"], ["people.id"], name=op.f("fk_governance_reviews_closed_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_governance_reviews")),
    )
    op.create_index(
        "uq_governance_reviews_scheduled",
        "governance_reviews",
        ["kind"],
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL AND trigger = 'calendar'"),
    )
    op.create_index(op.f("ix_governance_reviews_due_at"), "governance_reviews", ["due_at"])
    # how often rules spoke
    op.create_table(
        "rule_usage",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("exemption", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_decision_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day", "rule", "effect", "said", "exemption", name=op.f("pk_rule_usage")
        ),
    )
    op.create_index(op.f("ix_rule_usage_rule_day"), "rule_usage", ["rule", "day"])
    op.create_table(
        "rule_usage_position",
        sa.Column("single_row", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.CheckConstraint("single_row", name=op.f("ck_rule_usage_position_only_one")),
        sa.PrimaryKeyConstraint("single_row", name=op.f("pk_rule_usage_position")),
    )


def _impact() -> None:
    """Impact analyses and shadows."""
    op.create_table(
        "impact_runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("change_id", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("base_digest", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("cursor_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cursor_id", sa.Text(), nullable=True),
        sa.Column("total", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("busy_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("report", postgresql.JSONB(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_impact_runs")),
    )
    op.create_index(op.f("ix_impact_runs_change_id"), "impact_runs", ["change_id"], unique=False)
    op.create_index(
        "ix_impact_runs_open",
        "impact_runs",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_table(
        "shadow_runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("change_id", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cursor_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cursor_id", sa.Text(), nullable=False),
        sa.Column("seen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("differing", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("report", postgresql.JSONB(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shadow_runs")),
    )
    op.create_index(
        "ix_shadow_runs_active",
        "shadow_runs",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_index(op.f("ix_shadow_runs_change_id"), "shadow_runs", ["change_id"], unique=False)
    op.create_table(
        "tried_bundles",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("files", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tried_bundles")),
    )
    op.create_table(
        "shadow_differences",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("rules", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name=op.f("fk_shadow_differences_decision_id")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["shadow_runs.id"], name=op.f("fk_shadow_differences_run_id")
        ),
        sa.PrimaryKeyConstraint("run_id", "decision_id", name=op.f("pk_shadow_differences")),
    )


def _no_impact() -> None:
    op.drop_table("shadow_differences")
    op.drop_table("tried_bundles")
    op.drop_index(op.f("ix_shadow_runs_change_id"), table_name="shadow_runs")
    op.drop_index(
        "ix_shadow_runs_active",
        table_name="shadow_runs",
        postgresql_where=sa.text("state = 'active'"),
    )
    op.drop_table("shadow_runs")
    op.drop_index(
        "ix_impact_runs_open",
        table_name="impact_runs",
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.drop_index(op.f("ix_impact_runs_change_id"), table_name="impact_runs")
    op.drop_table("impact_runs")


def _policy_changes() -> None:
    """Changes, reviews, activations, failures, and the repository that is watched."""
    op.create_table(
        "policy_changes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("branch", sa.Text(), nullable=True),
        sa.Column("commit", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("author_ids", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("edits", postgresql.JSONB(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("base_digest", sa.Text(), nullable=True),
        sa.Column("conflict", sa.Text(), nullable=True),
        sa.Column("checks", postgresql.JSONB(), nullable=True),
        sa.Column("impact_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("promoted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("previous_digest", sa.Text(), nullable=True),
        sa.Column("monitor", postgresql.JSONB(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_changes")),
    )
    op.create_index(
        op.f("ix_policy_changes_created_at_id"),
        "policy_changes",
        ["created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_policy_changes_open",
        "policy_changes",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_index(
        "uq_policy_changes_slot",
        "policy_changes",
        [sa.text("(true)")],
        unique=True,
        postgresql_where=sa.text("state IN ('staged', 'monitored')"),
    )
    op.create_table(
        "policy_failures",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("digest", "kind", name=op.f("pk_policy_failures")),
    )
    op.create_table(
        "policy_source",
        sa.Column("single_row", sa.Boolean(), nullable=False),
        sa.Column("next_fetch_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("single_row", name=op.f("ck_policy_source_one_row")),
        sa.PrimaryKeyConstraint("single_row", name=op.f("pk_policy_source")),
    )
    op.create_table(
        "policy_source_heads",
        sa.Column("branch", sa.Text(), nullable=False),
        sa.Column("commit", sa.Text(), nullable=False),
        sa.Column("change_id", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("branch", name=op.f("pk_policy_source_heads")),
    )
    op.create_table(
        "policy_activations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("change_id", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["bundles.digest"], name=op.f("fk_policy_activations_digest")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_activations")),
    )
    op.create_index(op.f("ix_policy_activations_at"), "policy_activations", ["at"], unique=False)
    op.create_table(
        "policy_reviews",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("change_id", sa.Text(), nullable=False),
        sa.Column("reviewer_id", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("base_digest", sa.Text(), nullable=False),
        sa.Column("impact_id", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["change_id"], ["policy_changes.id"], name=op.f("fk_policy_reviews_change_id")
        ),
        sa.ForeignKeyConstraint(
            ["reviewer_id"], ["people.id"], name=op.f("fk_policy_reviews_reviewer_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_reviews")),
    )
    op.create_index(
        op.f("ix_policy_reviews_change_id"), "policy_reviews", ["change_id"], unique=False
    )
    op.add_column("bundles", sa.Column("signature", sa.Text(), nullable=True))


def _no_policy_changes() -> None:
    """The other way round."""
    op.drop_column("bundles", "signature")
    op.drop_index(op.f("ix_policy_reviews_change_id"), table_name="policy_reviews")
    op.drop_table("policy_reviews")
    op.drop_index(op.f("ix_policy_activations_at"), table_name="policy_activations")
    op.drop_table("policy_activations")
    op.drop_table("policy_source_heads")
    op.drop_table("policy_source")
    op.drop_table("policy_failures")
    op.drop_index(
        "uq_policy_changes_slot",
        table_name="policy_changes",
        postgresql_where=sa.text("state IN ('staged', 'monitored')"),
    )
    op.drop_index(
        "ix_policy_changes_open",
        table_name="policy_changes",
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.drop_index(op.f("ix_policy_changes_created_at_id"), table_name="policy_changes")
    op.drop_table("policy_changes")


def upgrade() -> None:
    """Each block belongs to one noun."""
    _impact()
    _governance()
    _create_enforcement_points()
    _policy_changes()


def downgrade() -> None:
    """The other way round."""
    _no_policy_changes()
    _no_impact()
    for table in ("rule_usage_position", "rule_usage", "governance_reviews"):
        op.drop_table(table)
    op.drop_table("reported_decisions")
    op.drop_table("enforcement_points")


def _create_enforcement_points() -> None:
    op.create_table(
        "enforcement_points",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("previous_hash", postgresql.BYTEA(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settings", postgresql.JSONB(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rotated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_status", postgresql.JSONB(), nullable=True),
        sa.Column("last_status_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enforcement_points")),
        sa.UniqueConstraint("name", name=op.f("uq_enforcement_points_name")),
    )
    op.create_table(
        "reported_decisions",
        sa.Column("point_id", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("effect", sa.Text(), nullable=True),
        sa.Column("erased", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["point_id"],
            ["enforcement_points.id"],
            name=op.f("fk_reported_decisions_point_id"),
        ),
        sa.PrimaryKeyConstraint("point_id", "decision_id", name=op.f("pk_reported_decisions")),
    )
    op.create_index(
        op.f("ix_reported_decisions_point_id_at"), "reported_decisions", ["point_id", "at"]
    )
