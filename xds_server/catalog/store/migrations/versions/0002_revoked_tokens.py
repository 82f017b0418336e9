"""Tokens that were revoked: who took which one away, and when."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "revoked_tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("expires", sa.DateTime),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("revoked", sa.DateTime, nullable=False),
        sa.Column("revoked_by", sa.Text, nullable=False),
    )
