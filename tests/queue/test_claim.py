"""Claim: due jobs, once each, one at a time per key."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from app.db import Storage
from app.db.tables import jobs, now_ms
from app.queue import Job, accept, claim, due_times, finish, waiting_queues
from app.retry import Decision
from tests.queue.making import accept_items, claim_one, event, forward_plan, localize_plan

FORWARD, LOCALIZE = "forward:default", "localize:main"


def test_claimed_job_brings_its_event_and_counts_its_attempt(storage: Storage) -> None:
    accept(storage, [(event("e1"), [forward_plan(version=7)])])
    job = claim_one(storage)
    assert (job.event_id, job.label, job.attempt, job.version) == ("e1", "Spring banner", 1, 7)
    assert job.args == {"item_id": forward_plan().args["item_id"]}


def test_claimed_job_is_not_claimed_again(storage: Storage) -> None:
    accept_items(storage, 1)
    claim_one(storage)
    assert claim(storage, owner="worker-2", wanted={FORWARD: 5}) == []


def test_job_is_not_claimed_before_its_time(storage: Storage) -> None:
    accept_items(storage, 1)
    job = claim_one(storage)
    finish(storage, job, Decision("waiting", "retry", delay=60))
    assert claim(storage, owner="worker-1", wanted={FORWARD: 5}) == []


def test_only_the_wanted_number_of_each_queue_is_taken(storage: Storage) -> None:
    accept_items(storage, 5)
    accept(storage, [(event(), [localize_plan("a")]), (event(), [localize_plan("b")])])
    taken = claim(storage, owner="worker-1", wanted={FORWARD: 2, LOCALIZE: 1})
    assert Counter(job.queue for job in taken) == {FORWARD: 2, LOCALIZE: 1}


def test_two_jobs_of_one_key_never_run_together_and_run_in_order(storage: Storage) -> None:
    accept(storage, [(event("e1"), [localize_plan()]), (event("e2"), [localize_plan()])])
    first = claim_one(storage, queue=LOCALIZE)
    assert claim(storage, owner="worker-2", wanted={LOCALIZE: 5}) == []
    finish(storage, first, Decision("succeeded", "succeeded"))
    second = claim_one(storage, queue=LOCALIZE)
    assert (first.event_id, second.event_id) == ("e1", "e2")


def test_job_that_waits_to_look_again_holds_back_the_next_of_its_key(storage: Storage) -> None:
    accept(storage, [(event("e1"), [localize_plan()]), (event("e2"), [localize_plan()])])
    first = claim_one(storage, queue=LOCALIZE)
    finish(storage, first, Decision("waiting", "look-again", delay=60))
    assert claim(storage, owner="worker-2", wanted={LOCALIZE: 5}) == []


def test_database_refuses_two_running_jobs_of_one_key(storage: Storage) -> None:
    accept(storage, [(event("e1"), [localize_plan()]), (event("e2"), [localize_plan()])])
    with pytest.raises(IntegrityError), storage.write() as connection:
        connection.execute(update(jobs).values(state="running"))


def test_many_claimers_take_each_job_once(storage: Storage) -> None:
    accept_items(storage, 60)

    def take(number: int) -> list[Job]:
        taken: list[Job] = []
        for _ in range(40):
            taken += claim(storage, owner=f"worker-{number}", wanted={FORWARD: 3})
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [job.id for batch in pool.map(take, range(4)) for job in batch]
    assert len(taken) == len(set(taken)) == 60


def test_claimers_of_few_keys_never_overlap(storage: Storage) -> None:
    batch = [(event(), [localize_plan(f"item-{number % 3}")]) for number in range(30)]
    accept(storage, batch)
    running: Counter[str] = Counter()
    overlaps: list[str] = []
    done: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            for job in claim(storage, owner=f"worker-{number}", wanted={LOCALIZE: 2}):
                running[job.key] += 1
                if running[job.key] > 1:
                    overlaps.append(job.key)
                time.sleep(0.001)
                running[job.key] -= 1
                finish(storage, job, Decision("succeeded", "succeeded"))
                done.append(job.id)
            if len(done) == 30:
                return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert (overlaps, len(set(done)), len(done)) == ([], 30, 30)


def test_due_times_tell_when_each_queue_has_work(storage: Storage) -> None:
    accept_items(storage, 2)
    now, due = due_times(storage, [FORWARD, LOCALIZE])
    assert set(due) == {FORWARD}
    assert due[FORWARD] <= now


def test_queue_of_a_removed_rule_is_found(storage: Storage) -> None:
    accept_items(storage, 1, queue="forward:removed")
    assert waiting_queues(storage) == {"forward:removed"}


def test_clock_of_the_database_is_milliseconds_since_1970(storage: Storage) -> None:
    with storage.read() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
    assert abs(now / 1000 - time.time()) < 5
