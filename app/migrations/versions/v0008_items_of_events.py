"""The root items of a snapshot beside its first one, by which its event is found."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "event_items",
        sa.Column("event", _ID, nullable=False),
        sa.Column("item_id", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["event"], ["webhook_events.id"]),
        sa.PrimaryKeyConstraint("event", "item_id"),
    )
    op.create_index("event_items_item", "event_items", ["item_id"], unique=False)
