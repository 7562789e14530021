"""Versions are the time at which an event arrived, no longer a date that it named.

So a job that may still run gets the time at which it was made, and what was sent is never newer
than the moment at which it was sent: a date in the future would keep out all that comes after.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "UPDATE jobs SET version = created_at"
        " WHERE state IN ('waiting', 'running', 'dead', 'cancelled')"
    )
    op.execute("UPDATE sent_items SET version = sent_at WHERE version > sent_at")
