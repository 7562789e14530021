"""Bodies are compressed with LZ4 where PostgreSQL has it: with pglz, it costs most of an event.

Only what is written from now on; what is there stays as it is, and is read as before. A server that
was built without it goes on as before (https://www.postgresql.org/docs/current/storage-toast.html).
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_METHODS = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql" or not connection.scalar(sa.text(_METHODS)):
        return
    for table in ("webhook_events", "event_conflicts", "messages"):
        op.execute(f"ALTER TABLE {table} ALTER COLUMN body SET COMPRESSION lz4")
