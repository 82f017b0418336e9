"""What the replicas that share a store tell each other of their parts of the fleet."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables. A crash of PostgreSQL may empty them: nothing in them is history, and all is told anew."""
    prefixes = ["UNLOGGED"] if op.get_bind().dialect.name == "postgresql" else []
    op.create_table(
        "replicas",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("delivered", sa.Integer, nullable=False),
        sa.Column("forgotten", sa.Integer, nullable=False),
        sa.Column("alive", sa.DateTime(timezone=True), nullable=False),
        prefixes=prefixes,
    )
    op.create_table(
        "replica_parts",
        sa.Column("replica", sa.String(32), sa.ForeignKey("replicas.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        prefixes=prefixes,
    )
    op.create_index("replica_parts_by_number", "replica_parts", ["replica", "number"])
