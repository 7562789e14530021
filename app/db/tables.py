"""The tables. Times are milliseconds since 1970 (UTC), by the database's own clock.

Whole numbers compare and add the same way on both databases; `now_ms()` is the clock.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON as _JSON
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    ForeignKey,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    ScalarSelect,
    String,
    Table,
    Text,
    UniqueConstraint,
    case,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

# Tables and migrations move together; a test compares them with the newest migration.
SCHEMA_REVISION = "0009"

metadata = MetaData()
_LARGEST_COUNT = (1 << 31) - 1
_Id = BigInteger().with_variant(Integer, "sqlite")


class now_ms(FunctionElement[int]):  # noqa: N801 - it is a SQL function
    """The database's clock, in milliseconds since 1970."""

    type = BigInteger()
    inherit_cache = True


@compiles(now_ms, "sqlite")
def _now_sqlite(_element: now_ms, _compiler: Any, **_options: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


@compiles(now_ms, "postgresql")
def _now_postgresql(_element: now_ms, _compiler: Any, **_options: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"


def this_moment() -> ScalarSelect[int]:
    """The clock, for a condition that something is earlier or later than now.

    PostgreSQL reads `now_ms()` anew for each row, so that no index helps to find what is earlier;
    a query of its own is read once, and does.
    """
    return select(now_ms()).scalar_subquery()


def one_more(column: ColumnElement[int]) -> ColumnElement[int]:
    """A count and one; a count that is as large as its column takes stays, and fails nothing."""
    return case((column < _LARGEST_COUNT, column + 1), else_=column)


# What came in. The raw body is kept: it is the evidence, and what a replay starts from.
webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("hub", String(100), nullable=False),
    Column("event_id", String(200), nullable=False),
    Column("name", String(200), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("item_id", String(200)),
    Column("snapshot_id", String(200)),
    Column("snapshot_created", BigInteger),
    Column("schema", Text),
    Column("label", Text),
    Column("locale", String(100)),
    Column("request_id", String(200)),
    Column("body", LargeBinary, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    # Who asked: `webhook`, or a command or schedule that made the event itself.
    Column("origin", String(20), nullable=False, server_default="webhook"),
    # The sender's place in a trace: `traceparent`, and after a blank its `tracestate`.
    Column("trace", Text),
    UniqueConstraint("hub", "event_id", name="webhook_events_once"),
    Index("webhook_events_received", "received_at"),
    Index("webhook_events_item", "item_id"),
)

# The root items of a snapshot of several, without the first, which is in the event's own row.
event_items = Table(
    "event_items",
    metadata,
    Column("event", _Id, ForeignKey("webhook_events.id"), primary_key=True, autoincrement=False),
    Column("item_id", String(200), primary_key=True),
    Index("event_items_item", "item_id"),
)

# A known id that came with another payload: kept aside, counted, never acted on.
event_conflicts = Table(
    "event_conflicts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("hub", String(100), nullable=False),
    Column("event_id", String(200), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("times", Integer, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    UniqueConstraint("hub", "event_id", "fingerprint", name="event_conflicts_once"),
    Index("event_conflicts_last", "last_at"),
)

# One rule applied to one event for one target.
jobs = Table(
    "jobs",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("event", _Id, ForeignKey("webhook_events.id"), nullable=False),
    Column("hub", String(100), nullable=False),
    Column("rule", Text, nullable=False),
    Column("action", String(20), nullable=False),
    Column("target", String(200), nullable=False),
    Column("lane", String(250), nullable=False),
    Column("key", String(500), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("args", _JSON, nullable=False),
    Column("state", String(20), nullable=False),
    Column("reason", String(100)),
    Column("message", Text),
    Column("progress", _JSON(none_as_null=True)),
    Column("run_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("losses", Integer, nullable=False, server_default="0"),
    Column("owner", String(100)),
    Column("lease_until", BigInteger),
    Column("started_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("superseded_by", _Id),
    # The job that this one does again, because a person asked for it.
    Column("replay_of", _Id),
    Index("jobs_event", "event"),
)


def in_state(table: FromClause, *states: str) -> ColumnElement[bool]:
    """The condition that a job is in one of these states, as both databases' planners want it.

    The states stand in the statement itself: with a parameter in their place SQLite prepares the
    statement again at each use, and PostgreSQL's generic plans cannot tell that an index which
    holds, say, the waiting jobs only has all that is asked for. Several are joined by OR, as in
    the index of the active jobs: SQLite sees that `waiting` is one of `waiting OR running`, and
    does not see it of `IN (...)`.
    """
    column: ColumnElement[str] = table.c.state
    return or_(*(column == literal_column(f"'{state}'") for state in states))


_WAITING = text("state = 'waiting'")
_RUNNING = text("state = 'running'")
_ACTIVE = text("state = 'waiting' OR state = 'running'")
_ENDED = text("finished_at IS NOT NULL")
Index(
    "jobs_due",
    jobs.c.lane,
    jobs.c.run_at,
    jobs.c.id,
    sqlite_where=_WAITING,
    postgresql_where=_WAITING,
)
Index("jobs_active", jobs.c.key, jobs.c.id, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE)
# The rule "never two running for one key" is kept by this index, not by a look before the claim:
# two claims at the same moment cannot see each other.
Index(
    "jobs_one_running",
    jobs.c.key,
    unique=True,
    sqlite_where=_RUNNING,
    postgresql_where=_RUNNING,
)
# Dead jobs wait for a person, who looks at the newest first.
_DEAD = text("state = 'dead'")
Index("jobs_dead", jobs.c.finished_at, jobs.c.id, sqlite_where=_DEAD, postgresql_where=_DEAD)
# Each group of them is counted and listed, newest first.
Index(
    "jobs_dead_groups",
    jobs.c.action,
    jobs.c.target,
    jobs.c.reason,
    jobs.c.id,
    sqlite_where=_DEAD,
    postgresql_where=_DEAD,
)
# A person cancelled them, so they are few.
_CANCELLED = text("state = 'cancelled'")
Index("jobs_cancelled", jobs.c.id, sqlite_where=_CANCELLED, postgresql_where=_CANCELLED)
Index("jobs_leases", jobs.c.lease_until, sqlite_where=_RUNNING, postgresql_where=_RUNNING)

# These hold what came to an end, and are written once for each job, then: not at the door.
Index("jobs_finished", jobs.c.finished_at, sqlite_where=_ENDED, postgresql_where=_ENDED)
# The events that have an ended job for a target, in a state.
Index(
    "jobs_ended",
    jobs.c.target,
    jobs.c.state,
    jobs.c.event,
    sqlite_where=_ENDED,
    postgresql_where=_ENDED,
)

# Each try that ended, with its outcome. A try that still runs is seen in the job itself.
attempts = Table(
    "attempts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("job", _Id, ForeignKey("jobs.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("owner", String(100)),
    Column("outcome", String(20), nullable=False),
    Column("reason", String(100)),
    Column("message", Text),
    Column("detail", _JSON(none_as_null=True)),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger, nullable=False),
    Index("attempts_job", "job"),
)

# What is sent to a destination, byte for byte, so that every retry sends the same.
messages = Table(
    "messages",
    metadata,
    Column("job", _Id, ForeignKey("jobs.id"), primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
    Column("content_type", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

# How a destination fares, shared by all processes; a missing row means that all is well.
destination_states = Table(
    "destination_states",
    metadata,
    Column("name", String(200), primary_key=True),
    # A paused destination keeps its queue and is sent nothing.
    Column("paused_at", BigInteger),
    Column("paused_reason", String(100)),
    # `closed` (all is well), `open` (nothing is sent until `probe_at`), `half-open` (one probe).
    Column("breaker", String(20), nullable=False, server_default="closed"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("opened_at", BigInteger),
    Column("probe_at", BigInteger),
    Column("openings", Integer, nullable=False, server_default="0"),
    Column("closed_at", BigInteger),
    # After the breaker closed: how many jobs at once it may have until it has proven itself.
    Column("places", Integer),
    # The bucket of its `rate`: thousandths of a send that may start now, and since when.
    Column("tokens", BigInteger),
    Column("tokens_at", BigInteger),
)

# What a destination was last sent of an item by each rule: no older version may follow, and a
# resync finds what is no longer published. Without a rule it counts for all (written before 0009).
sent_items = Table(
    "sent_items",
    metadata,
    Column("destination", String(200), primary_key=True),
    Column("hub", String(100), primary_key=True),
    Column("item_id", String(200), primary_key=True),
    Column("rule", Text, primary_key=True, server_default=""),
    Column("version", BigInteger, nullable=False),
    # `published` or `deleted`.
    Column("kind", String(20), nullable=False),
    Column("schema", Text),
    Column("sent_at", BigInteger, nullable=False),
)

# A quota is a row per slot: slot n may be used again when `free_at` has come.
quota_slots = Table(
    "quota_slots",
    metadata,
    Column("quota", String(100), primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("free_at", BigInteger, nullable=False),
)
Index("quota_slots_free", quota_slots.c.quota, quota_slots.c.free_at)

# A long command that can be taken up again: where it stands.
bulk_runs = Table(
    "bulk_runs",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("kind", String(50), nullable=False),
    Column("args", _JSON, nullable=False),
    Column("position", _JSON(none_as_null=True)),
    Column("counts", _JSON, nullable=False),
    # `running`, `done`.
    Column("state", String(20), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

# Small facts that a schedule must remember, such as how far a log has been read.
marks = Table(
    "marks",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("value", _JSON(none_as_null=True)),
    Column("updated_at", BigInteger, nullable=False),
)

# Sign of life of each worker process.
beats = Table(
    "beats",
    metadata,
    Column("owner", String(100), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("beat_at", BigInteger, nullable=False),
)
