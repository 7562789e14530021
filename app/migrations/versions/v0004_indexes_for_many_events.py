"""Indexes that keep questions quick with many events, and the door's work small."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ACTIVE = "state = 'waiting' OR state = 'running'"
_DEAD = "state = 'dead'"
_ENDED = "finished_at IS NOT NULL"


def _create(name: str, columns: list[str], where: str) -> None:
    op.create_index(
        name,
        "jobs",
        columns,
        unique=False,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )


def upgrade() -> None:
    # SQLite uses it for `state = 'waiting'` only when it is written with OR.
    op.drop_index("jobs_active", table_name="jobs")
    _create("jobs_active", ["key", "id"], _ACTIVE)
    # Without the jobs that are not done: the door writes no entry any more.
    op.drop_index("jobs_finished", table_name="jobs")
    _create("jobs_finished", ["finished_at"], _ENDED)
    _create("jobs_ended", ["target", "state", "event"], _ENDED)
    _create("jobs_dead_groups", ["action", "target", "reason", "id"], _DEAD)
    _create("jobs_cancelled", ["id"], "state = 'cancelled'")
    op.create_index("event_conflicts_last", "event_conflicts", ["last_at"], unique=False)
