"""Accept: an event and its jobs are written together, once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.event import listen, remove
from sqlalchemy.exc import OperationalError

from app.db import GroupCommit, Storage
from app.db.tables import event_conflicts, jobs, webhook_events
from app.errors import StorageUnavailable
from app.events import WebhookEvent
from app.queue import Accepted, accept
from app.rules import Plan
from tests.queue.making import claim_one, event, forward_plan, localize_plan


def count(storage: Storage, table: object) -> int:
    with storage.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]


def test_event_and_its_jobs_are_written_together(storage: Storage) -> None:
    answer = accept(storage, [(event("e1"), [forward_plan(), localize_plan()])])
    assert answer == [Accepted("accepted", 2)]
    assert (count(storage, webhook_events), count(storage, jobs)) == (1, 2)


def test_event_that_no_rule_wants_is_kept(storage: Storage) -> None:
    assert accept(storage, [(event("e1"), [])]) == [Accepted("ignored", 0)]
    assert count(storage, webhook_events) == 1


def test_duplicate_event_adds_no_job(storage: Storage) -> None:
    accept(storage, [(event("e1"), [forward_plan()])])
    again = accept(storage, [(event("e1", request_id="another"), [forward_plan()])])
    assert again == [Accepted("duplicate", 0)]
    assert (count(storage, webhook_events), count(storage, jobs)) == (1, 1)


def test_known_id_with_another_payload_is_kept_aside_and_counted(storage: Storage) -> None:
    accept(storage, [(event("e1"), [forward_plan()])])
    for _ in range(3):
        answer = accept(storage, [(event("e1", payload={"id": "other"}), [forward_plan()])])
        assert answer == [Accepted("conflict", 0)]
    with storage.read() as connection:
        row = connection.execute(select(event_conflicts.c.event_id, event_conflicts.c.times)).one()
    assert tuple(row) == ("e1", 3)
    assert count(storage, jobs) == 1


def test_same_id_of_another_hub_is_another_event(storage: Storage) -> None:
    accept(storage, [(event("e1", hub="main"), [])])
    assert accept(storage, [(event("e1", hub="second"), [])]) == [Accepted("ignored")]


def test_same_event_twice_in_one_group_is_written_once(storage: Storage) -> None:
    answers = accept(storage, [(event("e1"), [forward_plan()]), (event("e1"), [forward_plan()])])
    assert answers == [Accepted("accepted", 1), Accepted("duplicate")]


def test_one_event_that_cannot_be_stored_harms_no_other_of_its_group(storage: Storage) -> None:
    bad = event("bad", label="\ud800")
    answers = accept(
        storage, [(event("e1"), [forward_plan()]), (bad, []), (event("e2"), [forward_plan()])]
    )
    assert answers[0] == answers[2] == Accepted("accepted", 1)
    assert getattr(answers[1], "reason", None) == "event-not-storable"
    assert count(storage, webhook_events) == 2


def test_failure_while_writing_jobs_leaves_no_event(storage: Storage) -> None:
    broken = forward_plan(key="\ud800")
    answers = accept(storage, [(event("e1"), [broken])])
    assert getattr(answers[0], "status", None) == 422
    assert (count(storage, webhook_events), count(storage, jobs)) == (0, 0)


def test_newer_event_supersedes_the_waiting_send_of_the_same_item(storage: Storage) -> None:
    accept(storage, [(event("e1"), [forward_plan(version=1)])])
    accept(storage, [(event("e2"), [forward_plan(version=2)])])
    with storage.read() as connection:
        rows = connection.execute(
            select(jobs.c.state, jobs.c.superseded_by).order_by(jobs.c.id)
        ).all()
    assert [row[0] for row in rows] == ["superseded", "waiting"]
    assert rows[0][1] == 2


def test_event_is_written_with_what_it_supersedes_or_not_at_all(storage: Storage) -> None:
    """So a sender that repeats it has the older job superseded, and is no duplicate."""
    accept(storage, [(event("e1"), [forward_plan()])])

    def cut(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE jobs"):
            raise OperationalError("cut", {}, Exception("the connection was cut"))

    listen(storage.engine, "before_cursor_execute", cut)
    with pytest.raises(StorageUnavailable):
        accept(storage, [(event("e2"), [forward_plan()])])
    remove(storage.engine, "before_cursor_execute", cut)
    assert count(storage, webhook_events) == 1
    assert accept(storage, [(event("e2"), [forward_plan()])]) == [Accepted("accepted", 1)]
    assert claim_one(storage).event_id == "e2"


@pytest.mark.parametrize("events", ["same", "other"])
def test_same_items_in_two_orders_by_many_at_once_refuse_nobody(
    storage: Storage, events: str
) -> None:
    """One order of locks: no deadlock between web processes, whatever arrives in which order."""
    rounds, senders = 25, 4
    together = threading.Barrier(senders)

    def send(sender: int) -> list[object]:
        answers: list[object] = []
        for number in range(rounds):
            name = str(number) if events == "same" else f"{number}-by-{sender}"
            batch = [
                (event(f"{name}-{part}", body=b"{}"), [forward_plan(f"item-{part}")])
                for part in range(6)
            ]
            together.wait(30)
            answers += accept(storage, batch if sender % 2 else batch[::-1])
        return answers

    with ThreadPoolExecutor(senders) as threads:
        answers = [answer for told in threads.map(send, range(senders)) for answer in told]
    new = rounds * 6 * (1 if events == "same" else senders)
    assert answers.count(Accepted("accepted", 1)) == new
    assert answers.count(Accepted("duplicate")) == len(answers) - new


def test_localize_jobs_of_one_item_do_not_supersede_each_other(storage: Storage) -> None:
    accept(storage, [(event("e1"), [localize_plan()])])
    accept(storage, [(event("e2"), [localize_plan()])])
    with storage.read() as connection:
        states = connection.execute(select(jobs.c.state)).scalars().all()
    assert states == ["waiting", "waiting"]


@pytest.mark.parametrize("through", ["transactions", "group-commit"])
def test_event_posted_300_times_at_once_makes_one_set_of_jobs(
    storage: Storage, through: str
) -> None:
    barrier = threading.Barrier(20)
    group: GroupCommit[tuple[WebhookEvent, Sequence[Plan]], Accepted] = GroupCommit(
        lambda batch: accept(storage, batch)
    )

    def post(_: int) -> str:
        plans = [forward_plan(), localize_plan()]
        if through == "group-commit":
            return group.commit((event("e1"), plans)).status
        answer = accept(storage, [(event("e1"), plans)])[0]
        return str(answer.status)

    def start_together() -> None:
        barrier.wait(5)

    with ThreadPoolExecutor(20, initializer=start_together) as pool:
        statuses = list(pool.map(post, range(300)))
    group.close()
    assert (statuses.count("accepted"), statuses.count("duplicate")) == (1, 299)
    assert count(storage, jobs) == 2
