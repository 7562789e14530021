"""How fast a destination is sent to: rate, concurrency, breaker, pause; over all processes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from app.db import Storage
from app.db.tables import destination_states
from app.queue import Job, Limits, claim, due_times, finish, record_health
from app.queue.limits import OPEN_AFTER
from app.retry import Decision
from tests.queue.making import accept_items

LANE = "forward:default"
DONE = Decision("succeeded", "succeeded")
GOOD = Decision("succeeded", "succeeded", health="good")


def take(storage: Storage, limits: Limits, count: int = 100, owner: str = "w") -> list[Job]:
    return claim(storage, owner=owner, wanted={LANE: count}, limits={LANE: limits})


def fail(storage: Storage, times: int) -> list[str | None]:
    return [record_health(storage, "default", "bad") for _ in range(times)]


def set_state(storage: Storage, **values: object) -> None:
    with storage.write() as connection:
        connection.execute(update(destination_states).values(**values))


def breaker(storage: Storage) -> str:
    with storage.read() as connection:
        return str(connection.execute(select(destination_states.c.breaker)).scalar_one())


def test_concurrency_holds_over_all_workers(storage: Storage) -> None:
    accept_items(storage, 20)
    limits = Limits("default", concurrency=5)
    with ThreadPoolExecutor(4) as pool:
        taken = [
            job
            for batch in pool.map(lambda n: take(storage, limits, 4, f"w{n}"), range(8))
            for job in batch
        ]
    assert len(taken) == 5
    finish(storage, taken[0], DONE)
    assert len(take(storage, limits)) == 1


def test_rate_gives_a_second_s_worth_and_then_so_many_a_second(storage: Storage) -> None:
    accept_items(storage, 60)
    limits = Limits("default", rate=20)
    began = time.monotonic()
    first = len(take(storage, limits))
    time.sleep(0.3)
    more = len(take(storage, limits))
    seconds = time.monotonic() - began
    assert first == 20
    assert 1 <= more <= 20 * seconds + 1


def test_rate_below_one_a_second_starts_one(storage: Storage) -> None:
    accept_items(storage, 3)
    limits = Limits("default", rate=0.5)
    assert len(take(storage, limits)) == 1
    assert take(storage, limits) == []


def test_time_of_a_queue_that_is_held_is_when_it_may_start(storage: Storage) -> None:
    accept_items(storage, 3)
    limits = Limits("default", rate=2)
    take(storage, limits)
    accept_items(storage, 1)
    now, due = due_times(storage, [LANE], {LANE: limits})
    assert 0 < due[LANE] - now < 1000
    now, due = due_times(storage, [LANE])
    assert due[LANE] <= now


def test_breaker_opens_once_after_failures_in_a_row(storage: Storage) -> None:
    accept_items(storage, 3)
    assert fail(storage, OPEN_AFTER + 2) == [None] * (OPEN_AFTER - 1) + ["opened", None, None]
    assert take(storage, Limits("default")) == []


def test_success_in_between_starts_the_count_again(storage: Storage) -> None:
    fail(storage, OPEN_AFTER - 1)
    assert record_health(storage, "default", "good") is None
    assert fail(storage, OPEN_AFTER - 1) == [None] * (OPEN_AFTER - 1)


def test_open_breaker_admits_one_probe_after_its_pause(storage: Storage) -> None:
    accept_items(storage, 5)
    fail(storage, OPEN_AFTER)
    set_state(storage, probe_at=1)
    limits = Limits("default")
    assert len(take(storage, limits)) == 1
    assert take(storage, limits) == []
    assert breaker(storage) == "half-open"


def closed_again(storage: Storage, limits: Limits) -> None:
    """Open its breaker, and close it with a good probe."""
    fail(storage, OPEN_AFTER)
    set_state(storage, probe_at=1)
    [probe] = take(storage, limits)
    assert finish(storage, probe, GOOD).change == "closed"


def test_good_probe_closes_the_breaker_and_good_answers_let_more_start(storage: Storage) -> None:
    accept_items(storage, 40)
    limits = Limits("default", concurrency=8)
    closed_again(storage, limits)
    started = []
    for _ in range(5):
        jobs = take(storage, limits)
        started.append(len(jobs))
        for job in jobs:
            finish(storage, job, GOOD)
    assert started == [1, 2, 4, 8, 8]


def test_destination_that_does_not_answer_is_given_no_more(storage: Storage) -> None:
    accept_items(storage, 10)
    limits = Limits("default", concurrency=8)
    closed_again(storage, limits)
    assert len(take(storage, limits)) == 1
    set_state(storage, closed_at=1)
    assert take(storage, limits) == []


def test_bad_answer_in_the_slow_start_begins_it_again(storage: Storage) -> None:
    accept_items(storage, 20)
    limits = Limits("default", concurrency=8)
    closed_again(storage, limits)
    for _ in range(2):
        for job in take(storage, limits):
            finish(storage, job, GOOD)
    assert fail(storage, 1) == [None]
    assert len(take(storage, limits)) == 1
    assert fail(storage, OPEN_AFTER - 1)[-1] == "opened"
    assert take(storage, limits) == []


def test_slow_start_ends(storage: Storage) -> None:
    accept_items(storage, 90)
    limits = Limits("default")
    closed_again(storage, limits)
    for _ in range(64):
        record_health(storage, "default", "good")
    assert len(take(storage, limits)) == 89


def test_bad_probe_opens_it_for_longer(storage: Storage) -> None:
    accept_items(storage, 5)
    fail(storage, OPEN_AFTER)
    pauses = []
    for _ in range(3):
        set_state(storage, probe_at=1)
        assert len(take(storage, Limits("default"))) == 1
        record_health(storage, "default", "bad")
        now, due = due_times(storage, [LANE], {LANE: Limits("default")})
        pauses.append(due[LANE] - now)
    assert [round(pause / 10_000) for pause in pauses] == [2, 4, 8]


def test_probe_of_a_worker_that_was_killed_is_followed_by_another(storage: Storage) -> None:
    accept_items(storage, 5)
    fail(storage, OPEN_AFTER)
    set_state(storage, probe_at=1)
    take(storage, Limits("default"))
    set_state(storage, probe_at=1)
    assert len(take(storage, Limits("default"))) == 1


def test_gone_destination_is_paused_with_its_queue(storage: Storage) -> None:
    accept_items(storage, 5)
    assert record_health(storage, "default", "gone") == "paused"
    assert record_health(storage, "default", "gone") is None
    assert take(storage, Limits("default")) == []


@pytest.mark.parametrize("health", ["good", "bad"])
def test_health_of_one_destination_leaves_others_alone(storage: Storage, health: str) -> None:
    accept_items(storage, 2)
    for _ in range(OPEN_AFTER):
        record_health(storage, "another", "bad" if health == "bad" else "good")
    assert len(take(storage, Limits("default"))) == 2


def test_queue_without_limits_is_not_held(storage: Storage) -> None:
    accept_items(storage, 3)
    assert len(claim(storage, owner="w", wanted={LANE: 5})) == 3


def test_workers_that_claim_for_the_same_destinations_do_not_wait_for_each_other(
    storage: Storage,
) -> None:
    queues = [f"forward:{name}" for name in ("one", "two", "three", "four")]
    limits = {queue: Limits(queue.partition(":")[2], concurrency=5) for queue in queues}

    def claim_often(number: int) -> int:
        wanted = dict.fromkeys(queues if number % 2 else reversed(queues), 1)
        # On PostgreSQL a deadlock would be a `StorageUnavailable` here.
        return sum(
            len(claim(storage, owner=f"w{number}", wanted=wanted, limits=limits)) for _ in range(25)
        )

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(claim_often, range(4))) == 0
