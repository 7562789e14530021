"""The worker's loop: it finds work at once, keeps to its limits, and leaves nothing behind."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import ProgrammingError

from app.db import Storage, upgrade_schema
from app.db.tables import jobs
from app.errors import JobLost, LeaseTooOld
from app.queue import Job, accept, claim, counts, due_times, finish, heartbeat, readiness
from app.retry import Decision
from app.worker import Worker, WorkerOptions
from app.worker.waking import FileBell
from tests.queue.making import accept_items, event, forward_plan
from tests.relay import eventually

LANE = "forward:default"
DONE = Decision("succeeded", "succeeded")


def options(**changes: float) -> WorkerOptions:
    values: dict[str, float] = {
        "threads": 4,
        "per_queue": 4,
        "beat_every": 0.05,
        "grace": 2,
        "idle": 0.5,
    }
    return WorkerOptions(**{**values, **changes})  # type: ignore[arg-type]


@contextmanager
def at_work(
    storage: Storage,
    run_job: Callable[[Job], None],
    *,
    queues: tuple[str, ...] = (LANE,),
    **changes: float,
) -> Iterator[Worker]:
    worker = Worker(storage=storage, run_job=run_job, queues=queues, options=options(**changes))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(10)
        assert not thread.is_alive()


def succeeding(storage: Storage) -> Callable[[Job], None]:
    def run(job: Job) -> None:
        finish(storage, job, DONE)

    return run


def test_jobs_are_done(storage: Storage) -> None:
    accept_items(storage, 20)
    with at_work(storage, succeeding(storage)):
        assert eventually(lambda: counts(storage).jobs == {"succeeded": 20})


def test_worker_beats_again_after_a_fault(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, beats = [RuntimeError("a fault of ours")], []

    def faulty(*arguments: Any, **named: Any) -> None:
        if faults:
            raise faults.pop()
        beats.append(heartbeat(*arguments, **named))

    monkeypatch.setattr("app.worker.loop.heartbeat", faulty)
    with at_work(storage, succeeding(storage)):
        assert eventually(lambda: len(beats) > 1)


def test_worker_goes_on_after_a_fault_in_a_claim(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [ProgrammingError("SELECT", {}, Exception("the table is away"))] * 2

    def faulty(*arguments: Any, **named: Any) -> list[Job]:
        if faults:
            raise faults.pop()
        return claim(*arguments, **named)

    monkeypatch.setattr("app.worker.loop.claim", faulty)
    accept_items(storage, 3)
    with at_work(storage, succeeding(storage)):
        assert eventually(lambda: counts(storage).jobs == {"succeeded": 3})


def test_heartbeat_renews_no_lease_of_another_attempt(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker lost the job while it stood still, and has claimed it again since."""
    beats, go_on, stopped = threading.Semaphore(0), threading.Event(), list[JobLost]()

    def of_the_next(*_: Any, running: list[int], **__: Any) -> dict[int, int]:
        beats.release()
        return dict.fromkeys(running, 2)

    def run(job: Job) -> None:
        while beats.acquire(blocking=False):
            pass  # those of before the claim
        for _ in range(4):
            assert beats.acquire(timeout=5)
        try:
            job.lease.check()
        except LeaseTooOld as error:
            stopped.append(error)
        go_on.set()

    monkeypatch.setattr("app.worker.loop.heartbeat", of_the_next)
    monkeypatch.setattr("app.queue.job.OLDEST_LEASE", 0.1)
    accept_items(storage, 1)
    with at_work(storage, run):
        assert go_on.wait(20)
    assert len(stopped) == 1


def test_bell_of_a_file_that_cannot_be_read_is_silent(sqlite_url: str) -> None:
    with closing(Storage(sqlite_url)) as storage:
        upgrade_schema(storage)
        bell = FileBell(storage)
        bell._cursor.close()
        bell.wait(0.05)
        bell._cursor = bell._connection.cursor()
        accept(storage, [(event(), [])])
        started = time.monotonic()
        bell.wait(10)
        assert time.monotonic() - started < 10
        bell.close()


def test_new_job_wakes_a_worker_that_would_sleep_for_long(storage: Storage) -> None:
    started: list[float] = []

    def run(job: Job) -> None:
        started.append(time.monotonic())
        finish(storage, job, DONE)

    with at_work(storage, run, idle=30):
        time.sleep(0.5)
        accepted = time.monotonic()
        accept(storage, [(event(), [forward_plan()])])
        assert eventually(lambda: bool(started))
    assert started[0] - accepted < 2


def test_job_that_waits_is_started_when_its_time_comes(storage: Storage) -> None:
    runs: list[float] = []

    def run(job: Job) -> None:
        runs.append(time.monotonic())
        later = Decision("waiting", "retry", delay=0.4)
        finish(storage, job, later if job.attempt == 1 else DONE)

    accept_items(storage, 1)
    with at_work(storage, run, idle=30):
        assert eventually(lambda: len(runs) == 2)
    assert 0.35 < runs[1] - runs[0] < 3


def test_one_queue_cannot_take_every_thread(storage: Storage) -> None:
    hang, queues = threading.Event(), Counter[str]()

    def run(job: Job) -> None:
        queues[job.queue] += 1
        if job.queue == "forward:slow":
            hang.wait(10)
        finish(storage, job, DONE)

    accept_items(storage, 10, queue="forward:slow")
    batch = [(event(), [forward_plan(f"quick-{number}")]) for number in range(5)]
    accept(storage, batch)
    with at_work(storage, run, queues=(LANE, "forward:slow"), per_queue=2):
        assert eventually(lambda: queues[LANE] == 5)
        assert queues["forward:slow"] == 2
        hang.set()
        assert eventually(lambda: queues["forward:slow"] == 10)


def test_nothing_is_asked_of_the_database_while_every_thread_is_busy(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang, looks = threading.Event(), Counter[str]()

    def look(*what: Any) -> tuple[int, dict[str, int]]:
        looks["due"] += 1
        return due_times(*what)

    def run(job: Job) -> None:
        hang.wait(10)
        finish(storage, job, DONE)

    monkeypatch.setattr("app.worker.loop.due_times", look)
    accept_items(storage, 6)
    with at_work(storage, run, per_queue=2, idle=0.05) as worker:
        assert eventually(lambda: counts(storage).jobs == {"running": 2, "waiting": 4})
        before = looks["due"]
        for _ in range(5):  # whatever rings, and when nothing does
            worker._bell.ring()
            time.sleep(0.06)
        assert looks["due"] == before
        hang.set()
        assert eventually(lambda: counts(storage).jobs == {"succeeded": 6})


def test_queue_of_a_removed_rule_is_worked_as_well(storage: Storage) -> None:
    accept_items(storage, 2, queue="forward:removed")
    with at_work(storage, succeeding(storage)):
        assert eventually(lambda: counts(storage).jobs == {"succeeded": 2})


def test_stopping_worker_lets_running_jobs_finish_and_takes_no_new_ones(storage: Storage) -> None:
    go, started = threading.Event(), threading.Event()

    def run(job: Job) -> None:
        started.set()
        go.wait(5)
        finish(storage, job, DONE)

    accept_items(storage, 3)
    with at_work(storage, run, threads=1, per_queue=1) as worker:
        assert started.wait(5)
        worker.stop()
        time.sleep(0.1)
        go.set()
    assert counts(storage).jobs == {"succeeded": 1, "waiting": 2}


def test_job_that_outlasts_the_grace_is_given_back(storage: Storage) -> None:
    go, started = threading.Event(), threading.Event()

    def run(_: Job) -> None:
        started.set()
        go.wait(5)

    accept_items(storage, 1)
    with at_work(storage, run, grace=0.1) as worker:
        assert started.wait(5)
        worker.stop()
    again = claim(storage, owner="another", wanted={LANE: 1})
    go.set()
    assert [job.attempt for job in again] == [2]


def test_worker_beats_while_it_works_and_is_forgotten_when_it_ends(storage: Storage) -> None:
    with at_work(storage, lambda _: None):
        assert eventually(lambda: readiness(storage).worker_beat_age is not None)
    assert readiness(storage).worker_beat_age is None


def test_long_job_is_not_taken_over_while_its_worker_beats(storage: Storage) -> None:
    attempts: list[int] = []

    def run(job: Job) -> None:
        attempts.append(job.attempt)
        with storage.write() as connection:  # the lease is about to end
            connection.execute(update(jobs).values(lease_until=jobs.c.lease_until - 9_800))
        time.sleep(0.6)
        finish(storage, job, DONE)

    accept_items(storage, 1)
    with at_work(storage, run):
        assert eventually(lambda: counts(storage).jobs == {"succeeded": 1})
    assert attempts == [1]


def test_job_of_a_dead_worker_is_taken_over(storage: Storage) -> None:
    accept_items(storage, 1)
    claim(storage, owner="dead", wanted={LANE: 1})
    with storage.write() as connection:
        connection.execute(update(jobs).values(lease_until=1))
    with at_work(storage, succeeding(storage)):
        assert eventually(lambda: counts(storage).jobs == {"succeeded": 1})


def test_job_whose_code_breaks_out_does_not_end_the_worker(storage: Storage) -> None:
    def run(job: Job) -> None:
        if job.args["item_id"] == "item-0":
            raise RuntimeError("a fault of ours")
        finish(storage, job, DONE)

    accept_items(storage, 3)
    with at_work(storage, run):
        assert eventually(lambda: counts(storage).jobs.get("succeeded") == 2)


def test_workers_share_the_work_and_no_key_runs_twice_at_once(storage: Storage) -> None:
    lock, running, overlaps, done = threading.Lock(), Counter[str](), list[str](), list[int]()

    def run(job: Job) -> None:
        with lock:
            running[job.key] += 1
            if running[job.key] > 1:
                overlaps.append(job.key)
        time.sleep(0.002)
        with lock:
            running[job.key] -= 1
            done.append(job.id)
        finish(storage, job, DONE)

    batch = [
        (event(), [forward_plan(f"item-{n % 7}", action="localize", queue=LANE)]) for n in range(70)
    ]
    accept(storage, batch)
    with at_work(storage, run), at_work(storage, run), at_work(storage, run):
        assert eventually(lambda: counts(storage).jobs == {"succeeded": 70}, timeout=20)
    assert (overlaps, sorted(done)) == ([], list(range(1, 71)))
