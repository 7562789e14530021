"""Prune: what is finished leaves after its time; what waits for somebody stays."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from app.db import Storage
from app.db.tables import attempts, event_conflicts, jobs, messages, webhook_events
from app.queue import accept, finish, keep_message, prune
from app.retry import Decision, JobState
from tests.queue.making import accept_items, claim_one, event, forward_plan, localize_plan

MONTH = 30 * 86_400_000


def grow_old(storage: Storage, milliseconds: int = MONTH + 60_000) -> None:
    with storage.write() as connection:
        moved = webhook_events.c.received_at - milliseconds
        connection.execute(update(webhook_events).values(received_at=moved))


def left(storage: Storage) -> list[int]:
    with storage.read() as connection:
        tables = (webhook_events, jobs, attempts, messages)
        return [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables
        ]


def end(storage: Storage, state: JobState) -> None:
    accept_items(storage, 1)
    finish(storage, claim_one(storage), Decision(state, state))


@pytest.mark.parametrize("state", ["succeeded", "skipped", "superseded", "cancelled"])
def test_finished_event_leaves_with_everything_that_is_its(
    storage: Storage, state: JobState
) -> None:
    end(storage, state)
    grow_old(storage)
    assert prune(storage, older_than_ms=MONTH) == 1
    assert left(storage) == [0, 0, 0, 0]


def test_event_that_no_rule_wanted_leaves_too(storage: Storage) -> None:
    accept(storage, [(event(), [])])
    grow_old(storage)
    assert prune(storage, older_than_ms=MONTH) == 1


@pytest.mark.parametrize("state", ["dead", "waiting"])
def test_dead_and_waiting_jobs_keep_their_event(storage: Storage, state: JobState) -> None:
    accept_items(storage, 1)
    job = claim_one(storage)
    keep_message(storage, job, body=b"x", content_type="text/plain")
    finish(storage, job, Decision(state, "retry", delay=3600))
    grow_old(storage)
    assert prune(storage, older_than_ms=MONTH) == 0
    assert left(storage) == [1, 1, 1, 1]


def test_event_stays_while_one_of_its_jobs_is_not_finished(storage: Storage) -> None:
    accept(storage, [(event(), [forward_plan(), localize_plan()])])
    finish(storage, claim_one(storage), Decision("succeeded", "succeeded"))
    grow_old(storage)
    assert prune(storage, older_than_ms=MONTH) == 0


def test_young_event_stays_and_its_id_stays_known(storage: Storage) -> None:
    end(storage, "succeeded")
    grow_old(storage, MONTH - 60_000)
    assert prune(storage, older_than_ms=MONTH) == 0


def test_pruning_goes_in_batches(storage: Storage) -> None:
    accept(storage, [(event(), []) for _ in range(5)])
    grow_old(storage)
    assert [prune(storage, older_than_ms=MONTH, batch=2) for _ in range(4)] == [2, 2, 1, 0]


def test_old_conflicts_leave(storage: Storage) -> None:
    accept(storage, [(event("e"), [])])
    accept(storage, [(event("e", payload={"id": "other"}), [])])
    with storage.write() as connection:
        connection.execute(update(event_conflicts).values(last_at=1))
    prune(storage, older_than_ms=MONTH)
    with storage.read() as connection:
        assert connection.execute(select(event_conflicts)).all() == []
