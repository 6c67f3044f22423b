"""Webhooks of clients."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "webhooks",
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("hook", sa.String()),
        sa.Column("rotation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("overlap_until", sa.Double()),
        sa.PrimaryKeyConstraint("client", name="pk_webhooks"),
    )
