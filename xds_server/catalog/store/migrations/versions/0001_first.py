"""Revisions, what they changed, what is in force, and API tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables. They are written out here, as `tables` will go on to change."""
    op.create_table(
        "revisions",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("time", sa.DateTime, nullable=False, index=True),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("refers_to", sa.Integer),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_table(
        "changes",
        sa.Column("revision", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("origin", sa.Text),
        sa.Column("line", sa.Integer),
        sa.Column("document", sa.Text),
    )
    op.create_index("changes_by_record", "changes", ["kind", "name", "revision"])
    op.create_table(
        "current",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False, index=True),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("expires", sa.DateTime),
        sa.Column("author", sa.Text, nullable=False),
    )
