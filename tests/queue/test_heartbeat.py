"""Heartbeat, renew, finish, release, reclaim: who may write, and what a late one may not."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from app.db import Storage
from app.db.tables import attempts, jobs
from app.errors import JobLost
from app.queue import (
    Job,
    accept,
    claim,
    counts,
    deregister,
    finish,
    heartbeat,
    keep_message,
    kept_message,
    readiness,
    reclaim,
    release,
    renew_lease,
)
from app.retry import Decision
from tests.queue.making import accept_items, claim_one, event, forward_plan

DONE = Decision("succeeded", "succeeded")
LATER = Decision("waiting", "retry", "destination-unavailable", failures=1)


def state_of(storage: Storage, job: Job) -> Any:
    with storage.read() as connection:
        return connection.execute(select(jobs).where(jobs.c.id == job.id)).one()


def outcomes(storage: Storage, job: Job) -> list[str]:
    with storage.read() as connection:
        statement = select(attempts.c.outcome).where(attempts.c.job == job.id)
        return list(connection.execute(statement.order_by(attempts.c.id)).scalars())


def run_out(storage: Storage) -> None:
    """Let every lease run out, as if its worker had not beaten for ten seconds."""
    with storage.write() as connection:
        connection.execute(update(jobs).values(lease_until=1))


def test_finished_job_has_its_state_and_its_attempt(storage: Storage) -> None:
    accept_items(storage, 1)
    job = claim_one(storage)
    assert finish(storage, job, Decision("succeeded", "succeeded", detail={"status": 200})).owned
    row = state_of(storage, job)
    assert (row.state, row.owner, row.finished_at is not None) == ("succeeded", None, True)
    with storage.read() as connection:
        tried = connection.execute(select(attempts)).one()
    assert (tried.number, tried.outcome, tried.detail) == (1, "succeeded", {"status": 200})
    assert tried.started_at <= tried.finished_at


def test_retry_keeps_count_progress_and_time(storage: Storage) -> None:
    accept_items(storage, 1)
    job = claim_one(storage)
    finish(storage, job, Decision("waiting", "retry", "x", failures=1, progress={"looks": 1}))
    again = claim_one(storage)
    assert (again.attempt, again.failures, again.progress) == (2, 1, {"looks": 1})


def test_progress_is_kept_when_a_decision_brings_none(storage: Storage) -> None:
    accept_items(storage, 1)
    finish(storage, claim_one(storage), Decision("waiting", "look-again", progress={"looks": 1}))
    finish(storage, claim_one(storage), LATER)
    assert claim_one(storage).progress == {"looks": 1}


def test_dead_job_keeps_its_reason_and_is_not_claimed(storage: Storage) -> None:
    accept_items(storage, 1)
    job = claim_one(storage)
    finish(storage, job, Decision("dead", "failed", "destination-refused", "HTTP 400"))
    row = state_of(storage, job)
    assert (row.state, row.reason, row.message) == ("dead", "destination-refused", "HTTP 400")
    assert claim(storage, owner="worker-1", wanted={job.queue: 1}) == []


def test_lost_job_is_taken_over_and_its_late_outcome_changes_nothing(storage: Storage) -> None:
    accept_items(storage, 1)
    slow = claim_one(storage, owner="slow")
    run_out(storage)
    assert list(reclaim(storage)) == [slow.id]
    quick = claim_one(storage, owner="quick")
    assert finish(storage, slow, Decision("dead", "failed", "x")).owned is False
    assert state_of(storage, slow).state == "running"
    assert finish(storage, quick, DONE).owned is True
    assert outcomes(storage, slow) == ["lost", "late", "succeeded"]


def test_job_whose_owner_beats_is_not_taken_over(storage: Storage) -> None:
    accept_items(storage, 1)
    job = claim_one(storage)
    run_out(storage)
    assert heartbeat(storage, owner="worker-1", host="h", pid=1, running=[job.id]) == {job.id: 1}
    assert reclaim(storage) == {}


def test_beat_does_not_renew_what_another_has_taken(storage: Storage) -> None:
    accept_items(storage, 1)
    job = claim_one(storage, owner="slow")
    run_out(storage)
    reclaim(storage)
    claim_one(storage, owner="quick")
    assert heartbeat(storage, owner="slow", host="h", pid=1, running=[job.id]) == {}


def test_beat_tells_which_attempt_it_renewed(storage: Storage) -> None:
    accept_items(storage, 1)
    lost = claim_one(storage)
    run_out(storage)
    reclaim(storage)
    again = claim_one(storage)
    renewed = heartbeat(storage, owner="worker-1", host="h", pid=1, running=[lost.id])
    assert (lost.attempt, renewed) == (1, {again.id: 2})


def test_hold_refuses_an_attempt_that_lost_its_job(storage: Storage) -> None:
    accept_items(storage, 1)
    slow = claim_one(storage, owner="slow")
    renew_lease(storage, slow)
    run_out(storage)
    reclaim(storage)
    with pytest.raises(JobLost):
        renew_lease(storage, slow)


def test_hold_refuses_an_earlier_attempt_of_the_same_worker(storage: Storage) -> None:
    accept_items(storage, 1)
    first = claim_one(storage)
    run_out(storage)
    reclaim(storage)
    claim_one(storage)
    with pytest.raises(JobLost):
        renew_lease(storage, first)


def test_progress_of_a_hold_outlives_its_attempt(storage: Storage) -> None:
    accept_items(storage, 1)
    renew_lease(storage, claim_one(storage), progress={"asked": ["fr-FR"]})
    run_out(storage)
    reclaim(storage)
    assert claim_one(storage).progress == {"asked": ["fr-FR"]}


def test_job_that_ends_its_process_three_times_is_poison(storage: Storage) -> None:
    accept_items(storage, 1)
    for _ in range(3):
        job = claim_one(storage)
        run_out(storage)
        reclaim(storage)
    row = state_of(storage, job)
    assert (row.state, row.reason, row.attempts) == ("dead", "poison", 3)
    assert outcomes(storage, job) == ["lost", "lost", "lost"]


def test_losses_are_forgotten_after_an_attempt_that_ended(storage: Storage) -> None:
    accept_items(storage, 1)
    for _ in range(2):
        claim_one(storage)
        run_out(storage)
        reclaim(storage)
    finish(storage, claim_one(storage), LATER)
    job = claim_one(storage)
    run_out(storage)
    reclaim(storage)
    assert state_of(storage, job).state == "waiting"


def test_released_job_can_be_started_at_once_and_counts_no_failure(storage: Storage) -> None:
    accept_items(storage, 2)
    claim(storage, owner="worker-1", wanted={"forward:default": 2})
    assert release(storage, owner="worker-1") == 2
    again = claim(storage, owner="worker-2", wanted={"forward:default": 2})
    assert [(job.failures, job.attempt) for job in again] == [(0, 2), (0, 2)]
    assert outcomes(storage, again[0]) == ["released"]


def test_failed_send_gives_way_to_a_newer_event_of_its_item(storage: Storage) -> None:
    accept(storage, [(event("e1"), [forward_plan(version=1)])])
    old = claim_one(storage)
    accept(storage, [(event("e2"), [forward_plan(version=2)])])
    finish(storage, old, LATER)
    row = state_of(storage, old)
    newer = claim_one(storage)
    assert (row.state, row.superseded_by, newer.event_id) == ("superseded", newer.id, "e2")


def test_failed_send_does_not_give_way_to_an_older_event(storage: Storage) -> None:
    accept(storage, [(event("e1"), [forward_plan(version=9)])])
    newer_content = claim_one(storage)
    accept(storage, [(event("e2"), [forward_plan(version=1)])])
    finish(storage, newer_content, LATER)
    assert state_of(storage, newer_content).state == "waiting"


def test_kept_message_stays_the_same_for_every_attempt(storage: Storage) -> None:
    accept_items(storage, 1)
    job = claim_one(storage)
    assert kept_message(storage, job) is None
    keep_message(storage, job, body=b"first", content_type="application/json")
    keep_message(storage, job, body=b"second", content_type="text/plain")
    assert kept_message(storage, job) == (b"first", "application/json")


def test_kept_message_goes_when_its_job_succeeded(storage: Storage) -> None:
    accept_items(storage, 1)
    job = claim_one(storage)
    keep_message(storage, job, body=b"first", content_type="application/json")
    finish(storage, job, DONE)
    assert kept_message(storage, job) is None


def test_attempt_that_lost_its_job_keeps_no_message(storage: Storage) -> None:
    accept_items(storage, 1)
    job = claim_one(storage)
    run_out(storage)
    reclaim(storage)
    with pytest.raises(JobLost):
        keep_message(storage, job, body=b"late", content_type="text/plain")
    assert kept_message(storage, job) is None


def test_readiness_tells_beat_and_oldest_due_job(storage: Storage) -> None:
    assert readiness(storage) == readiness(storage).__class__(None, None)
    accept_items(storage, 1)
    heartbeat(storage, owner="worker-1", host="h", pid=1, running=[])
    found = readiness(storage)
    assert found.worker_beat_age is not None
    assert 0 <= found.worker_beat_age < 5
    assert found.oldest_due_seconds is not None
    deregister(storage, owner="worker-1")
    assert readiness(storage).worker_beat_age is None


def test_counts_sum_up_the_ledger(storage: Storage) -> None:
    accept_items(storage, 3)
    finish(storage, claim_one(storage), DONE)
    found = counts(storage)
    assert (found.events, found.attempts) == (3, 1)
    assert found.jobs == {"succeeded": 1, "waiting": 2}


def test_jobs_that_were_lost_once_run_on_together(storage: Storage) -> None:
    accept_items(storage, 3)
    claim(storage, owner="worker-1", wanted={"forward:default": 3})
    run_out(storage)
    reclaim(storage)
    assert len(claim(storage, owner="worker-2", wanted={"forward:default": 9})) == 3


def test_jobs_that_were_lost_twice_run_one_at_a_time_beside_the_others(storage: Storage) -> None:
    accept_items(storage, 3)
    for _ in range(2):
        claim(storage, owner="worker-1", wanted={"forward:default": 3})
        run_out(storage)
        reclaim(storage)
    accept_items(storage, 1, key="fresh")
    first = claim(storage, owner="worker-2", wanted={"forward:default": 9})
    assert sorted(job.is_suspect for job in first) == [False, True]
    assert claim(storage, owner="worker-2", wanted={"forward:default": 9}, suspect=False) == []
    assert len(claim(storage, owner="worker-3", wanted={"forward:default": 9})) == 1


def test_bystander_of_a_poisonous_job_is_not_poisoned_with_it(storage: Storage) -> None:
    accept_items(storage, 6)
    poison = claim(storage, owner="w", wanted={"forward:default": 6})[0].id
    run_out(storage)
    reclaim(storage)
    done: set[int] = set()
    for _ in range(20):
        taken = claim(storage, owner="w", wanted={"forward:default": 6})
        if any(job.id == poison for job in taken):  # its process ends, with all that runs in it
            run_out(storage)
            reclaim(storage)
        else:
            done |= {job.id for job in taken if finish(storage, job, DONE)}
    assert counts(storage).jobs == {"dead": 1, "succeeded": 5}
    assert poison not in done
