from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.db import Storage
from app.db.tables import attempts, jobs, now_ms, webhook_events
from app.errors import NoSuchRecord
from app.events import instant
from app.queue import accept, claim, finish, heartbeat, pagination
from app.queue.filters import EventFilter, JobFilter
from app.queue.history import last_hour, recent
from app.queue.pagination import CursorInvalid, decode_cursor, encode_cursor
from app.queue.search import (
    count_events,
    count_jobs,
    find_event,
    list_events,
    list_jobs,
    show_event,
    show_job,
)
from app.queue.stats import list_destinations, overview
from app.retry import Decision
from app.rules import Plan
from tests.queue.making import accept_items, claim_one, forward_plan, localize_plan
from tests.queue.making import event as made_event

DEAD = Decision("dead", "failed", "destination-refused", "404", failures=1)


def fill(storage: Storage) -> None:
    """Three events: one dead for `search`, one that waits for `mail`, one that nobody wanted."""
    search = forward_plan("a", target="search", queue="forward:search")
    mail = forward_plan("b", target="mail", queue="forward:mail", rule="mail")
    spring = made_event("e1", item_id="item-1", label="Spring 100%", schema="https://x/Banner")
    autumn = made_event("e2", item_id="item-2", label="autumn_sale", hub="outlet")
    other = made_event("e3", item_id="item-1", label=None, name="dynamic-content.other")
    for entry in ((spring, [search]), (autumn, [mail]), (other, list[Plan]())):
        accept(storage, [entry])
    finish(storage, claim_one(storage, queue="forward:search"), DEAD)


EVENT_CASES: list[tuple[EventFilter, list[str]]] = [
    (EventFilter(), ["e3", "e2", "e1"]),
    (EventFilter(event_id="e2"), ["e2"]),
    (EventFilter(event_id="e2", hub="main"), []),
    (EventFilter(item_id="item-1"), ["e3", "e1"]),
    (EventFilter(label="SPRING"), ["e1"]),
    (EventFilter(label="100%"), ["e1"]),
    (EventFilter(label="%"), ["e1"]),
    (EventFilter(label="m_s"), []),
    (EventFilter(schema="banner"), ["e1"]),
    (EventFilter(name="dynamic-content.other"), ["e3"]),
    (EventFilter(hub="outlet"), ["e2"]),
    (EventFilter(origin="webhook"), ["e3", "e2", "e1"]),
    (EventFilter(origin="resync"), []),
    (EventFilter(state="dead"), ["e1"]),
    (EventFilter(state="waiting"), ["e2"]),
    (EventFilter(state="succeeded"), []),
    (EventFilter(target="mail"), ["e2"]),
    (EventFilter(target="mail", state="dead"), []),
    (EventFilter(target="search", state="dead", item_id="item-1"), ["e1"]),
]


def test_events_are_found_by_each_condition(storage: Storage) -> None:
    fill(storage)
    for wanted, expected in EVENT_CASES:
        found = [row.event_id for row in list_events(storage, wanted).rows]
        assert found == expected, wanted
        assert count_events(storage, wanted) == len(expected), wanted


JOB_CASES: list[tuple[JobFilter, int]] = [
    (JobFilter(), 2),
    (JobFilter(state="dead"), 1),
    (JobFilter(state="succeeded"), 0),
    (JobFilter(action="forward"), 2),
    (JobFilter(action="localize"), 0),
    (JobFilter(target="mail"), 1),
    (JobFilter(reason="destination-refused"), 1),
    (JobFilter(rule="mail"), 1),
    (JobFilter(hub="outlet"), 1),
    (JobFilter(item_id="item-1"), 1),
    (JobFilter(item_id="item-1", state="waiting"), 0),
]


def test_jobs_are_found_by_each_condition(storage: Storage) -> None:
    fill(storage)
    for wanted, expected in JOB_CASES:
        assert len(list_jobs(storage, wanted).rows) == expected, wanted
        assert count_jobs(storage, wanted) == expected, wanted


def test_events_are_found_by_when_they_were_received(storage: Storage) -> None:
    accept(storage, [(made_event(f"e{number}"), []) for number in range(4)])
    with storage.write() as connection:
        received = webhook_events.c.received_at
        connection.execute(update(webhook_events).values(received_at=webhook_events.c.id * 1000))
        assert connection.execute(select(received)).first() is not None
    start, end = instant(2000), instant(4000)

    def found(**span: Any) -> list[str]:
        return [row.event_id for row in list_events(storage, EventFilter(**span)).rows]

    assert found(received_from=start, received_to=end) == ["e2", "e1"]
    assert found(received_from=end) == ["e3"]
    assert found(received_to=start) == ["e0"]
    assert found(received_from=end + timedelta(days=1)) == []
    assert found(received_to=instant(0)) == []


def pages(read: Callable[[str | None], pagination.Page[Any]]) -> list[list[int]]:
    found, cursor = [], None
    while True:
        page = read(cursor)
        found.append([row.id for row in page.rows])
        cursor = page.next
        if cursor is None:
            return found


def test_pages_miss_and_repeat_nothing_while_events_come_in(sqlite_storage: Storage) -> None:
    storage = sqlite_storage
    accept_items(storage, 5)

    def read(cursor: str | None) -> pagination.Page[Any]:
        accept_items(storage, 1)
        return list_events(storage, limit=2, cursor=cursor)

    assert pages(read) == [[6, 5], [4, 3], [2, 1]]


def test_search_without_an_index_goes_on_window_by_window(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = sqlite_storage
    labels = ["Spring" if number in (0, 1, 17, 18) else "Autumn" for number in range(20)]
    accept(storage, [(made_event(label=label), []) for label in labels])
    monkeypatch.setattr(pagination, "_WINDOW", 3)
    monkeypatch.setattr(pagination, "_WINDOWS", 2)
    wanted = EventFilter(label="spring")
    found = pages(lambda cursor: list_events(storage, wanted, limit=1, cursor=cursor))
    # An empty page says: nothing so far, go on.
    assert [page for page in found if page] == [[19], [18], [2], [1]]
    assert [] in found


@pytest.mark.parametrize(
    "text", ["", "abc", "MA", "LTE", "MTI=", "é", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"]
)
def test_cursor_of_nobody_is_refused(text: str) -> None:
    with pytest.raises(CursorInvalid):
        decode_cursor(text)


def test_cursor_is_read_as_it_was_written() -> None:
    assert decode_cursor(None) is None
    for number in (1, 63, 1 << 40, (1 << 63) - 1):
        assert decode_cursor(encode_cursor(number)) == number


def test_story_has_body_jobs_attempts_and_conflicts(storage: Storage) -> None:
    accept(storage, [(made_event("e1", body=b"first"), [forward_plan(), localize_plan()])])
    accept(storage, [(made_event("e1", body=b"other", payload={"id": "x"}), [])])
    job = claim_one(storage)
    finish(storage, job, Decision("waiting", "retry", "lost", "no answer", delay=0, failures=1))
    finish(storage, claim_one(storage), DEAD)

    story = show_event(storage, find_event(storage, "e1"))

    forward, localize = story.jobs
    assert story.body == b"first"
    assert story.event.states == {"dead": 1, "waiting": 1}
    assert [one.outcome for one in forward.attempts] == ["retry", "failed"]
    assert [one.number for one in forward.attempts] == [1, 2]
    assert localize.attempts == ()
    assert [conflict.times for conflict in story.conflicts] == [1]
    assert show_job(storage, forward.job.id) == forward


def test_unknown_ids_are_said_to_be_unknown(sqlite_storage: Storage) -> None:
    for read, reason in (
        (lambda: show_event(sqlite_storage, 1), "event-unknown"),
        (lambda: find_event(sqlite_storage, "1"), "event-unknown"),
        (lambda: find_event(sqlite_storage, "9" * 30), "event-unknown"),
        (lambda: show_job(sqlite_storage, 1), "job-unknown"),
    ):
        with pytest.raises(NoSuchRecord) as unknown:
            read()
        assert unknown.value.reason == reason


def test_event_is_found_by_amplience_id_before_its_number(sqlite_storage: Storage) -> None:
    accept(sqlite_storage, [(made_event("7"), []), (made_event("1"), [])])
    assert find_event(sqlite_storage, "1") == 2
    assert find_event(sqlite_storage, "2") == 2
    accept(sqlite_storage, [(made_event("7", hub="outlet"), [])])
    assert find_event(sqlite_storage, "7") == 3


def test_overview_counts_what_is_not_done(storage: Storage) -> None:
    assert overview(storage).beat_age is None
    fill(storage)
    accept_items(storage, 2)
    claim(storage, owner="w", wanted={"forward:default": 1})
    heartbeat(storage, owner="w", host="h", pid=1, running=[])

    found = overview(storage)

    assert (found.waiting, found.running, found.dead, found.workers) == (2, 1, 1, 1)
    assert [(queue.name, queue.waiting, queue.running) for queue in found.queues] == [
        ("forward:default", 1, 1),
        ("forward:mail", 1, 0),
    ]
    [group] = found.dead_groups
    assert (group.reason, group.target, group.jobs) == ("destination-refused", "search", 1)
    assert found.oldest_age is not None
    assert 0 <= found.oldest_age < 30


def test_destinations_are_the_configured_ones_and_those_with_a_queue(storage: Storage) -> None:
    fill(storage)
    rows = list_destinations(storage, ["search", "new"])
    assert [(row.name, row.configured, row.waiting, row.dead) for row in rows] == [
        ("search", True, 0, 1),
        ("new", True, 0, 0),
        ("mail", False, 1, 0),
    ]


def test_last_hour_has_sixty_minutes_with_what_happened(storage: Storage) -> None:
    fill(storage)
    with storage.write() as connection:
        connection.execute(
            update(webhook_events)
            .where(webhook_events.c.event_id == "e1")
            .values(received_at=now_ms() - 30 * 60_000)
        )
        connection.execute(
            update(webhook_events)
            .where(webhook_events.c.event_id == "e2")
            .values(received_at=now_ms() - 2 * 3_600_000)
        )
    minutes = last_hour(storage)
    assert len(minutes) == 60
    assert [minute.received for minute in minutes if minute.received] == [1, 1]
    assert minutes[29].received + minutes[28].received == 1
    assert sum(minute.ended["dead"] for minute in minutes) == 1


def test_recent_is_the_last_minute_only(storage: Storage) -> None:
    accept_items(storage, 2)
    for job in claim(storage, owner="w", wanted={"forward:default": 2}):
        finish(storage, job, DEAD)
    with storage.write() as connection:
        old = now_ms() - 120_000
        connection.execute(update(attempts).where(attempts.c.job == 1).values(finished_at=old))
        connection.execute(update(jobs).where(jobs.c.id == 1).values(finished_at=old))
    found = recent(storage)
    assert [(row.action, row.outcome, row.count) for row in found.attempts] == [
        ("forward", "failed", 1)
    ]
    assert found.ended == {("forward", "dead"): 1}


def test_events_by_state_or_target_come_in_pages_each_event_once(storage: Storage) -> None:
    plans = [forward_plan("a"), forward_plan("b", rule="again"), localize_plan("c")]
    accept(storage, [(made_event(f"e{number}"), plans[: number % 4]) for number in range(8)])
    with storage.write() as connection:
        connection.execute(
            update(jobs)
            .where(jobs.c.target == "default", jobs.c.event <= 6)
            .values(state="skipped", finished_at=now_ms())
        )

    def found(**wanted: str) -> list[list[int]]:
        chosen = EventFilter(**wanted)  # type: ignore[arg-type]
        return pages(lambda cursor: list_events(storage, chosen, limit=2, cursor=cursor))

    assert found(state="skipped") == [[6, 4], [3, 2]]
    assert found(target="default") == [[8, 7], [6, 4], [3, 2]]
    assert found(target="main", state="waiting") == [[8, 4]]
    assert found(target="main", state="skipped") == [[]]
    # Of the seventh, the eighth took the place.
    assert found(state="waiting") == [[8, 4]]


def test_jobs_in_a_rare_state_come_in_pages(storage: Storage) -> None:
    accept_items(storage, 7)
    with storage.write() as connection:
        changed = {"state": "cancelled", "finished_at": now_ms()}
        connection.execute(update(jobs).where(jobs.c.id.in_([2, 3, 6])).values(changed))

    def found(state: str) -> list[list[int]]:
        chosen = JobFilter(state=state)
        return pages(lambda cursor: list_jobs(storage, chosen, limit=2, cursor=cursor))

    assert found("cancelled") == [[6, 3], [2]]
    assert found("waiting") == [[7, 5], [4, 1]]
