"""Usage of clients, and limits per day of keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table, and the columns of keys."""
    op.create_table(
        "usage",
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Double(), nullable=False),
        sa.Column("started", sa.Double()),
        sa.Column("finished", sa.Double(), nullable=False),
        sa.Column("model_seconds", sa.Double(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job", name="pk_usage"),
    )
    op.create_index("ix_usage_finished", "usage", ["finished"])
    op.add_column("api_keys", sa.Column("bytes_per_day", sa.BigInteger()))
    op.add_column("api_keys", sa.Column("seconds_per_day", sa.Integer()))
