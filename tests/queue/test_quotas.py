"""Quotas: never more uses in any sliding window, whoever asks, and none is wasted."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Sequence

import pytest
from sqlalchemy import insert, select, update

from app.db import Storage
from app.db.tables import now_ms, quota_slots
from app.queue.quotas import MARGIN_MS, Choice, choose, reserve, reserve_publish

LIMIT, PERIOD_MS, ROUNDS = 8, 250, 4
Use = tuple[float, float]


@pytest.mark.parametrize(
    ("free_at", "limit", "choice"),
    [
        ({}, 2, Choice(0)),
        ({0: 1500}, 2, Choice(1)),
        ({0: 1500, 1: 900}, 2, Choice(1)),
        ({0: 1000, 1: 1500}, 2, Choice(0)),
        ({0: 1500, 1: 1200}, 2, Choice(None, 200)),
        # Three still count and one is allowed: the second to go makes no room yet.
        ({0: 1500, 1: 1200, 2: 1900}, 1, Choice(None, 900)),
        ({0: 1500, 1: 1200, 2: 1900}, 2, Choice(None, 500)),
        ({}, 0, Choice(None, 1000)),
    ],
)
def test_slot_is_chosen_by_what_still_counts(
    free_at: dict[int, int], limit: int, choice: Choice
) -> None:
    assert choose(free_at, now=1000, limit=limit) == choice


def test_last_use_is_taken_and_the_next_is_told_how_long_to_wait(storage: Storage) -> None:
    assert [reserve(storage, "publish", limit=2, period_ms=60_000) for _ in range(2)] == [0.0, 0.0]
    assert 59 < reserve(storage, "publish", limit=2, period_ms=60_000) <= 60.05


def test_each_quota_has_uses_of_its_own(storage: Storage) -> None:
    assert reserve(storage, "publish", limit=1, period_ms=60_000) == 0.0
    assert reserve(storage, "other", limit=1, period_ms=60_000) == 0.0
    assert reserve(storage, "publish", limit=1, period_ms=60_000) > 0


def test_bulk_work_leaves_room_for_others(storage: Storage) -> None:
    def bulk() -> float:
        return reserve(storage, "publish", limit=5, period_ms=60_000, keep_free=2)

    assert [bulk() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bulk() > 0
    assert [reserve(storage, "publish", limit=5, period_ms=60_000) for _ in range(2)] == [0.0, 0.0]
    assert reserve(storage, "publish", limit=5, period_ms=60_000) > 0


@pytest.mark.parametrize(("per_minute", "bulk"), [(50, 40), (7, 5), (2, 1), (1, 1)])
def test_bulk_leaves_a_fifth_of_the_minute(storage: Storage, per_minute: int, bulk: int) -> None:
    taken = 0
    while reserve_publish(storage, per_minute=per_minute, bulk=True) == 0.0:
        taken += 1
    assert taken == bulk


def test_smaller_quota_counts_what_was_used_before(storage: Storage) -> None:
    for _ in range(4):
        assert reserve(storage, "publish", limit=4, period_ms=60_000) == 0.0
    assert reserve(storage, "publish", limit=2, period_ms=60_000) > 0


def test_clock_that_was_set_back_blocks_no_longer_than_one_period(storage: Storage) -> None:
    with storage.write() as connection:
        later = connection.execute(select(now_ms())).scalar_one() + 3_600_000
        connection.execute(insert(quota_slots).values(quota="publish", slot=0, free_at=later))
    wait = reserve(storage, "publish", limit=1, period_ms=100)
    assert 0 < wait <= (100 + MARGIN_MS) / 1000
    with storage.write() as connection:
        connection.execute(update(quota_slots).values(free_at=now_ms()))
    assert reserve(storage, "publish", limit=1, period_ms=100) == 0.0


def use_up(url: str, count: int) -> list[Use]:
    """Two threads take `count` uses; each is known to lie between the two times it comes with."""
    storage = Storage(url)
    uses: list[Use] = []
    lock = threading.Lock()
    left = iter(range(count))

    def take() -> None:
        while True:
            with lock:
                if next(left, None) is None:
                    return
            while True:
                before = time.time()
                wait = reserve(storage, "publish", limit=LIMIT, period_ms=PERIOD_MS)
                if wait == 0.0:
                    with lock:
                        uses.append((before, time.time()))
                    break
                time.sleep(wait)

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    storage.close()
    return uses


def most_in_any_window(uses: Sequence[Use], seconds: float) -> int:
    """The largest number of uses that surely lie within one window."""
    return max(
        sum(1 for before, after in uses if before >= start and after < start + seconds)
        for start, _ in uses
    )


def test_no_window_holds_more_over_threads_and_processes(
    storage: Storage, database_url: str
) -> None:
    each = LIMIT * ROUNDS // 2
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        uses = [use for part in pool.starmap(use_up, [(database_url, each)] * 2) for use in part]
    assert len(uses) == LIMIT * ROUNDS
    assert most_in_any_window(uses, PERIOD_MS / 1000) <= LIMIT
