"""Fills a database with finished work, as thirty days of traffic would have left it.

By SQL, because a million webhooks would take an hour. For the fill alone the indexes are made
afterwards and nothing waits for the disk; what is measured later runs with the service's own
settings.

    .venv/bin/python -m tools.benchmarks.filling URL COUNT      an empty database with our tables
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from string import Template
from typing import Any

from tools.stores import connected

DAYS = 30
DESTINATIONS = ("search", "mail", "shop", "archive")
# Jobs that are not done or that a person ended: the same number in every database.
_OTHERS = {"dead": 40, "waiting": 40, "cancelled": 60}
_EVENTS_PER_ITEM = 25
_DAY = 86_400_000

# For both databases; the `$terms` that differ are below. `h` scatters: events that follow each
# other in time have different items, labels and states.
_EVENTS = """
INSERT INTO webhook_events (hub, event_id, name, fingerprint, item_id, snapshot_id,
    snapshot_created, schema, label, locale, request_id, body, received_at, origin)
SELECT CASE WHEN h % 10 < 7 THEN 'main' WHEN h % 10 < 9 THEN 'outlet' ELSE 'lab' END,
    $uuid,
    CASE WHEN h % 20 < 17 THEN 'dynamic-content.snapshot.published'
         ELSE 'dynamic-content.content-item.created' END,
    $hex_i || $hex_h || 'c2ab33a5d2e1a2f35e7e9a6f1a1c0a8f5c3fbd2e8a4c1b07',
    $hex_item || '-7c1f-4c0e-9e55-1f2a3b4c5d6e', 'snapshot-' || $hex_h || i, at - 1500,
    'https://schemas.example.com/type-' || (h % 20) || '.json',
    CASE WHEN h % 10 = 0 THEN 'Banner ' WHEN h % 10 < 4 THEN 'Article ' ELSE 'Page ' END || i,
    CASE WHEN h % 3 = 0 THEN 'en-GB' END, 'request-' || $hex_i,
    $body, at, 'webhook'
FROM (SELECT i, h, CAST($start + (CAST($span AS BIGINT) * i) / $count AS BIGINT) AS at,
        (h % $items) * CAST(2654435761 AS BIGINT) % 4294967296 AS item
    FROM (SELECT i, i * CAST(2654435761 AS BIGINT) % 4294967296 AS h FROM $series) AS scattered
) AS timed
"""
# Ten events have eleven jobs.
_JOBS = """
INSERT INTO jobs (event, hub, rule, action, target, lane, key, version, args, state, reason,
    run_at, attempts, failures, created_at, started_at, finished_at)
SELECT e.id, e.hub, 'rule-' || place, 'forward', place, 'forward:' || place,
    'forward:' || place || ':' || e.hub || ':' || e.item_id, e.snapshot_created,
    $json, state, CASE state WHEN 'succeeded' THEN 'sent' ELSE 'newer-event' END,
    e.received_at, CASE WHEN state = 'superseded' THEN 0 WHEN h % 10 = 0 THEN 2 ELSE 1 END,
    CASE WHEN h % 10 = 0 THEN 1 ELSE 0 END, e.received_at, e.received_at + 200,
    e.received_at + 700
FROM (SELECT i, h, 1 + ((i - 1) * 10) / 11 AS event,
        CASE WHEN h % 8 < 5 THEN 'search' WHEN h % 8 < 7 THEN 'mail' ELSE 'shop' END AS place,
        CASE WHEN h % 10 < 8 THEN 'succeeded' WHEN h % 10 < 9 THEN 'superseded'
             ELSE 'skipped' END AS state
    FROM (SELECT i, i * CAST(2654435761 AS BIGINT) % 4294967296 / 7 AS h FROM $series) AS scattered
) AS planned JOIN webhook_events AS e ON e.id = planned.event ORDER BY i
"""
_ATTEMPTS = """
INSERT INTO attempts (job, number, owner, outcome, reason, detail, started_at, finished_at)
SELECT j.id, number, 'host.17.' || (j.id % 7),
    CASE WHEN number < j.attempts THEN 'retry' ELSE j.state END, j.reason, $detail,
    j.started_at, j.finished_at
FROM jobs AS j JOIN (SELECT 1 AS number UNION ALL SELECT 2) AS numbers ON number <= j.attempts
ORDER BY j.id, number
"""
_SENT = """
INSERT INTO sent_items (destination, hub, item_id, version, kind, sent_at)
SELECT DISTINCT j.target, j.hub, e.item_id, 1, 'published', 1
FROM jobs AS j JOIN webhook_events AS e ON e.id = j.event WHERE j.state = 'succeeded'
"""
# Evenly from the oldest to the newest, so that pruning walks past some and pages show some.
_UNFINISHED = """
UPDATE jobs SET state = '$state', reason = '$reason', run_at = $run_at,
    finished_at = CASE WHEN '$state' <> 'waiting' THEN finished_at END,
    attempts = 1, failures = 1
WHERE id IN (SELECT i * $step + $shift FROM $series)
"""

# Spread over the destinations, and none has begun.
_WAIT = """
UPDATE jobs SET state = 'waiting', reason = NULL, attempts = 0, failures = 0, run_at = $run_at,
    started_at = NULL, finished_at = NULL, target = $place, lane = 'forward:' || $place,
    key = 'forward:' || $place || ':' || hub || ':' || id
"""

_SQLITE = {
    "uuid": "lower(hex(randomblob(16)))",
    "hex_i": "printf('%08x', i)",
    "hex_h": "printf('%08x', h)",
    "hex_item": "printf('%08x', item)",
    "body": 'CAST(\'{"id":"\' || i || \'","payload":"%s"}\' AS BLOB)' % ("x" * 270),
    "json": "'{\"item_id\":\"' || e.item_id || '\"}'",
    "detail": '\'{"status":200,"ms":12}\'',
    "series": "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $count)"
    " SELECT i FROM n)",
    # SQLite makes an index with full pages, which the next events by item would all split; one
    # that grew has room, as after thirty days.
    "indexes": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    " AND tbl_name IN ('webhook_events', 'jobs', 'attempts') AND name <> 'webhook_events_item'",
}
_POSTGRES = {
    "uuid": "CAST(gen_random_uuid() AS text)",
    "hex_i": "lpad(to_hex(i), 8, '0')",
    "hex_h": "lpad(to_hex(h), 8, '0')",
    "hex_item": "lpad(to_hex(item), 8, '0')",
    "body": 'CAST(\'{"id":"\' || i || \'","payload":"%s"}\' AS bytea)' % ("x" * 270),
    "json": "CAST('{\"item_id\":\"' || e.item_id || '\"}' AS json)",
    "detail": 'CAST(\'{"status":200,"ms":12}\' AS json)',
    "series": "generate_series(1, $count) AS n(i)",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes"
    " WHERE tablename IN ('webhook_events', 'jobs', 'attempts')"
    " AND indexname NOT IN (SELECT conname FROM pg_constraint)",
}
_HURRIED_SQLITE = (
    "PRAGMA foreign_keys = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -1200000",
    "PRAGMA temp_store = MEMORY",
)
_HURRIED_POSTGRES = (
    "SET session_replication_role = replica",
    "SET synchronous_commit = off",
    "SET maintenance_work_mem = '256MB'",
    "SET work_mem = '128MB'",
)
_AFTER_POSTGRES = ("VACUUM ANALYZE", "CHECKPOINT")


class _Filler:
    """Runs the statements above in one of the two databases."""

    def __init__(self, connection: Any, *, is_sqlite: bool) -> None:
        self._connection = connection
        self._terms = _SQLITE if is_sqlite else _POSTGRES
        self._is_sqlite = is_sqlite
        self.hurried = _HURRIED_SQLITE if is_sqlite else _HURRIED_POSTGRES

    def __call__(self, statement: str, **values: object) -> None:
        terms = Template(statement).safe_substitute(self._terms)
        self._connection.execute(Template(terms).substitute(values))

    @contextmanager
    def without_indexes(self) -> Iterator[None]:
        """Make the indexes of the filled tables again after the block."""
        found = self._connection.execute(self._terms["indexes"]).fetchall()
        for name, _ in found:
            self._connection.execute(f"DROP INDEX {name}")
        yield
        for _, statement in found:
            self._connection.execute(statement)

    def settle(self) -> None:
        """Leave it as the service does: autovacuum has been there; SQLite has no statistics."""
        after = ("PRAGMA wal_checkpoint(TRUNCATE)",) if self._is_sqlite else _AFTER_POSTGRES
        for statement in after:
            self._connection.execute(statement)


def fill(url: str, count: int, now: int) -> None:
    """Fill an empty database with `count` events of the thirty days before `now`, in ms."""
    with connected(url) as connection:
        run = _Filler(connection, is_sqlite=url.startswith("sqlite"))
        for setting in run.hurried:
            connection.execute(setting)
        with run.without_indexes():
            _events(run, count, start=now - DAYS * _DAY, span=DAYS * _DAY)
            for shift, (state, number) in enumerate(_OTHERS.items()):
                values = {"state": state, "reason": "destination-refused"}
                step = {"count": number, "step": count * 11 // 10 // number, "shift": -5 * shift}
                run(_UNFINISHED, run_at=now + 3_600_000, **values, **step)
            run(_SENT)
        run.settle()


def fill_waiting(url: str, count: int, now: int, places: Sequence[str]) -> None:
    """Fill an empty database with `count` jobs for these destinations that are due in an hour."""
    cases = " ".join(f"WHEN {number} THEN '{place}'" for number, place in enumerate(places))
    with connected(url) as connection:
        run = _Filler(connection, is_sqlite=url.startswith("sqlite"))
        run(_EVENTS, count=count, start=now - _DAY, span=_DAY, items=count)
        run(_JOBS, count=count)
        run(_WAIT, run_at=now + 3_600_000, place=f"(CASE id % {len(places)} {cases} END)")
        run.settle()


def _events(run: _Filler, count: int, *, start: int, span: int) -> None:
    items = max(1, count // _EVENTS_PER_ITEM)
    run(_EVENTS, count=count, start=start, span=span, items=items)
    run(_JOBS, count=count * 11 // 10)
    run(_ATTEMPTS)


if __name__ == "__main__":
    fill(sys.argv[1], int(sys.argv[2]), time.time_ns() // 1_000_000)
