"""Charts are counted once: what is kept and what is counted anew must add up to the same."""

from __future__ import annotations

from sqlalchemy import select, update

from app.db import Storage
from app.db.tables import jobs, now_ms, webhook_events
from app.queue import finish
from app.queue.history import keep_history, last_day, last_hour
from app.queue.operator import retry_job
from app.retry import Decision
from tests.queue.making import accept_items, claim_one

MINUTE = 60_000
DEAD = Decision("dead", "failed", "destination-refused")


def move(storage: Storage, minutes: int, identifier: int) -> None:
    """Let an event have come in, and its job have ended, so many minutes ago."""
    with storage.write() as connection:
        then = connection.execute(select(now_ms())).scalar_one() - minutes * MINUTE
        connection.execute(
            update(webhook_events).where(webhook_events.c.id == identifier).values(received_at=then)
        )
        ended = jobs.c.finished_at.is_not(None)
        connection.execute(
            update(jobs).where(jobs.c.event == identifier, ended).values(finished_at=then)
        )


def fill(storage: Storage) -> None:
    """Four dead jobs: of this minute, of half an hour, of three hours and of three days ago."""
    accept_items(storage, 4)
    for _ in range(4):
        finish(storage, claim_one(storage), DEAD)
    for identifier, minutes in ((2, 30), (3, 180), (4, 3 * 1440)):
        move(storage, minutes, identifier)


def seen(storage: Storage) -> tuple[list[int], list[int], int, int]:
    minutes, hours = last_hour(storage), last_day(storage)
    return (
        [number for number, one in enumerate(minutes) if one.received],
        [number for number, one in enumerate(hours) if one.received],
        sum(one.ended["dead"] for one in minutes),
        sum(one.ended["dead"] for one in hours),
    )


def test_charts_are_the_same_whether_a_worker_has_counted_or_not(storage: Storage) -> None:
    fill(storage)
    before = seen(storage)
    assert before[2:] == (2, 3)
    keep_history(storage)
    assert seen(storage) == before
    keep_history(storage)
    assert seen(storage) == before


def test_what_comes_after_the_count_is_added(storage: Storage) -> None:
    fill(storage)
    keep_history(storage)
    accept_items(storage, 1)
    finish(storage, claim_one(storage), DEAD)
    assert seen(storage)[2:] == (3, 4)


def test_job_that_is_retried_stays_in_the_minute_in_which_it_ended(sqlite_storage: Storage) -> None:
    fill(sqlite_storage)
    keep_history(sqlite_storage)
    retry_job(sqlite_storage, 2)
    assert seen(sqlite_storage)[2:] == (2, 3)


def test_kept_row_does_not_grow(sqlite_storage: Storage) -> None:
    fill(sqlite_storage)
    keep_history(sqlite_storage)
    for minutes in (90, 2000):
        move(sqlite_storage, minutes, 2)
        with sqlite_storage.write() as connection:
            connection.exec_driver_sql("DELETE FROM marks")
        keep_history(sqlite_storage)
        with sqlite_storage.read() as connection:
            [value] = connection.exec_driver_sql("SELECT value FROM marks").one()
        assert value.count("received") <= 3
