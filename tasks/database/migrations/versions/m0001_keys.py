"""API keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("client", sa.String(16), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("endpoints", sa.JSON(none_as_null=True)),
        sa.Column("priority", sa.String(16), nullable=False),
        sa.Column("requests_per_minute", sa.Integer()),
        sa.Column("jobs_at_once", sa.Integer()),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double()),
        sa.Column("revoked", sa.Double()),
        sa.Column("last_used", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    changes = op.create_table(
        "key_changes",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_key_changes"),
    )
    op.bulk_insert(changes, [{"number": 0}])
