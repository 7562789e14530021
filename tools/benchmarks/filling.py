"""Fills a ledger with work that is done, as thirty days of traffic would have left it.

Set by set in the database itself, because a million events through the door would take an hour.
For the fill alone the big indexes are made afterwards and nothing waits for the disk; what is
measured later runs on the service's own connections with the service's own settings.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from string import Template

from sqlalchemy import Connection, Index, text

from app.storage import Storage
from app.storage.tables import attempts, jobs, webhook_events

DAYS = 30
DESTINATIONS = ("search", "mail", "shop", "archive")
# Work that is not done or that a person ended, the same in every ledger: it is the rest that grows.
_OTHERS = {"dead": 40, "waiting": 40, "cancelled": 60}
_EVENTS_PER_ITEM = 25
_FILLED = (webhook_events, jobs, attempts)
_DAY = 86_400_000

# Written for both databases; the `$terms` that differ are below. `h` scatters: neighbours
# in time are no neighbours by item, label or state.
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
FROM (SELECT i, h, $first + ((i - 1) * 10) / 11 AS event,
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
WHERE j.event >= $first ORDER BY j.id, number
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
}


def fill(storage: Storage, count: int, now: int) -> None:
    """Fill an empty ledger with `count` events of the thirty days before `now`, and their work."""
    with storage.engine.connect() as connection:
        _hurry(connection, storage)
        # SQLite makes an index with full pages, which the next thirty events by item would all
        # split; one that grew has room, as after thirty days.
        grown = {"webhook_events_item"} if storage.is_sqlite else set()
        indexes = [index for table in _FILLED for index in table.indexes]
        later = [index for index in indexes if index.name not in grown]
        with connection.begin():
            _drop(connection, storage, later)
            _events(connection, storage, count, first=1, start=now - DAYS * _DAY, span=DAYS * _DAY)
            _unfinished(connection, storage, count, now)
            connection.execute(text(_SENT))
            _make(connection, storage, later)
        _settle(connection, storage)
        connection.invalidate()  # it was in a hurry; no other use of it


def fill_waiting(storage: Storage, count: int, now: int, places: Sequence[str]) -> None:
    """Fill an empty ledger with `count` jobs of these destinations that are due in an hour."""
    cases = " ".join(f"WHEN {number} THEN '{place}'" for number, place in enumerate(places))
    place = f"(CASE id % {len(places)} {cases} END)"
    with storage.write() as connection:
        when = {"start": now - _DAY, "span": _DAY, "items": count}
        _run(connection, storage, _EVENTS, count=count, **when)
        _run(connection, storage, _JOBS, count=count, first=1)
        _run(connection, storage, _WAIT, run_at=now + 3_600_000, place=place)
    with storage.engine.connect() as connection:
        _settle(connection, storage)
        connection.invalidate()


def add_old(storage: Storage, count: int, now: int) -> None:
    """Add finished events that came in forty days ago, one after the other within a minute."""
    with storage.write() as connection:
        last = connection.execute(text("SELECT max(id) FROM webhook_events")).scalar_one()
        _events(connection, storage, count, first=last + 1, start=now - 40 * _DAY, span=60_000)


def _events(
    connection: Connection, storage: Storage, count: int, *, first: int, start: int, span: int
) -> None:
    items = max(1, count // _EVENTS_PER_ITEM)
    when = {"start": start, "span": span, "items": items}
    _run(connection, storage, _EVENTS, count=count, **when)
    _run(connection, storage, _JOBS, count=count * 11 // 10, first=first)
    _run(connection, storage, _ATTEMPTS, first=first)


def _unfinished(connection: Connection, storage: Storage, count: int, now: int) -> None:
    for shift, (state, number) in enumerate(_OTHERS.items()):
        step = count * 11 // 10 // number
        values = {"state": state, "reason": "destination-refused", "run_at": now + 3_600_000}
        _run(connection, storage, _UNFINISHED, count=number, step=step, shift=-5 * shift, **values)


def _run(connection: Connection, storage: Storage, statement: str, **values: object) -> None:
    # By the driver itself: nothing in it is a parameter, whatever it looks like.
    terms = _SQLITE if storage.is_sqlite else _POSTGRES
    written = Template(Template(statement).safe_substitute(terms)).substitute(values)
    with contextlib.closing(connection.connection.cursor()) as cursor:
        cursor.execute(written)


def _hurry(connection: Connection, storage: Storage) -> None:
    hurried = (
        ("foreign_keys = OFF", "synchronous = OFF", "cache_size = -1200000", "temp_store = MEMORY")
        if storage.is_sqlite
        else (
            "session_replication_role = replica",
            "synchronous_commit = off",
            "statement_timeout = 0",
            "maintenance_work_mem = '256MB'",
            "work_mem = '128MB'",
        )
    )
    with contextlib.closing(connection.connection.cursor()) as cursor:
        for setting in hurried:
            cursor.execute(f"PRAGMA {setting}" if storage.is_sqlite else f"SET {setting}")
    connection.connection.commit()


def _drop(connection: Connection, storage: Storage, later: list[Index]) -> None:
    for index in later:
        index.drop(connection)
    if not storage.is_sqlite:
        once = "ALTER TABLE webhook_events DROP CONSTRAINT webhook_events_once"
        connection.execute(text(once))


def _make(connection: Connection, storage: Storage, later: list[Index]) -> None:
    if not storage.is_sqlite:
        connection.execute(
            text(
                "ALTER TABLE webhook_events"
                " ADD CONSTRAINT webhook_events_once UNIQUE (hub, event_id)"
            )
        )
    for index in later:
        index.create(connection)


def _settle(connection: Connection, storage: Storage) -> None:
    """Leave it as the service itself does: autovacuum has been there; SQLite has no statistics."""
    raw = connection.connection.driver_connection
    assert raw is not None
    if storage.is_sqlite:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        raw.autocommit = True
        raw.execute("VACUUM ANALYZE")
        raw.execute("CHECKPOINT")
