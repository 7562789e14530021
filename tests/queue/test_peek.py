"""The look ahead: it sees what the next claim would take, and takes nothing."""

from __future__ import annotations

from app.db import Storage
from app.queue import accept
from app.queue.claim import due_next
from tests.queue.making import accept_items, claim_one, event, forward_plan


def test_look_ahead_sees_due_jobs_of_the_same_queue_and_hub_in_order(storage: Storage) -> None:
    accept_items(storage, 4)
    accept(
        storage,
        [
            (event(), [forward_plan("later", delay=60.0)]),
            (event(), [forward_plan("elsewhere", queue="forward:other")]),
            (event(hub="outlet"), [forward_plan("of-another-hub")]),
        ],
    )
    job = claim_one(storage)
    found = due_next(storage, job, limit=10)
    assert [args["item_id"] for _, args in found] == ["item-1", "item-2", "item-3"]
    assert due_next(storage, job, limit=2) == found[:2]
    assert claim_one(storage).id == found[0][0]
