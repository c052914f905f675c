"""Policy as code: changes, their impact, reviews, activations and enforcement points."""

from __future__ import annotations

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Each block belongs to one noun."""


def downgrade() -> None:
    """The other way round."""
