"""What was sent is remembered for each rule: two rules may send one item in two ways.

What was sent before counts for every rule: the rule is empty.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KEY = ["destination", "hub", "item_id", "rule"]


def upgrade() -> None:
    rule = sa.Column("rule", sa.Text(), nullable=False, server_default="")
    if op.get_bind().dialect.name != "sqlite":
        op.add_column("sent_items", rule)
        op.drop_constraint("sent_items_pkey", "sent_items", type_="primary")
        op.create_primary_key("sent_items_pkey", "sent_items", _KEY)
        return
    op.rename_table("sent_items", "sent_items_before")
    op.create_table(
        "sent_items",
        sa.Column("destination", sa.String(200), nullable=False),
        sa.Column("hub", sa.String(100), nullable=False),
        sa.Column("item_id", sa.String(200), nullable=False),
        rule,
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("schema", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*_KEY),
    )
    columns = "destination, hub, item_id, version, kind, schema, sent_at"
    op.execute(f"INSERT INTO sent_items ({columns}) SELECT {columns} FROM sent_items_before")  # noqa: S608 - our own names
    op.drop_table("sent_items_before")
