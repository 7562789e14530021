"""Group commit: who waits at the same moment shares a transaction, and each gets its own answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from app.db import GroupCommit, Storage
from app.errors import StorageUnavailable, WebhookRejected
from app.events import WebhookEvent
from app.queue import Accepted, accept, counts
from app.queue.insert_events import Batch
from app.rules import Plan
from tests.queue.making import event, forward_plan

Entry = tuple[WebhookEvent, Sequence[Plan]]

PLANS = [forward_plan()]


@dataclass
class Writer:
    """Stands for the transaction: each group is written when `open` is set."""

    open: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    groups: list[list[str]] = field(default_factory=list)
    error: Exception | None = None

    def write(self, batch: Batch) -> list[Accepted | WebhookRejected]:
        self.begun.release()
        assert self.open.wait(5)
        if self.error:
            raise self.error
        self.groups.append([each.id for each, _ in batch])
        return [Accepted("accepted", 1) for _ in batch]


@contextmanager
def grouping(
    write: Callable[[Batch], list[Accepted | WebhookRejected]],
    *,
    timeout: float = 5,
    waiting: int = 1000,
) -> Iterator[tuple[GroupCommit[Entry, Accepted], Callable[[str], Future[Accepted]]]]:
    """A group commit, and how to ask it for one event from a thread of its own."""
    group = GroupCommit(write, timeout=timeout, waiting=waiting)
    with ThreadPoolExecutor(64) as threads:
        yield group, lambda name: threads.submit(group.commit, (event(name), PLANS))
        group.close()


def queued(group: GroupCommit[Entry, Accepted], count: int) -> None:
    """Wait until so many stand in line."""
    deadline = time.monotonic() + 5
    while len(group._line) != count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_requests_that_wait_at_the_same_moment_share_one_transaction() -> None:
    writer = Writer()
    with grouping(writer.write) as (group, ask):
        asked = [ask("first")]
        writer.begun.acquire()
        asked += [ask(f"later-{number}") for number in range(20)]
        queued(group, 20)
        writer.open.set()
        assert [future.result(5).status for future in asked] == ["accepted"] * 21
    first, later = writer.groups
    assert first == ["first"]
    assert sorted(later) == sorted(f"later-{number}" for number in range(20))


def test_no_request_is_answered_before_its_own_commit() -> None:
    writer = Writer()
    with grouping(writer.write) as (group, ask):
        first = ask("first")
        writer.begun.acquire()
        later = ask("later")
        queued(group, 1)
        assert not first.done()
        assert not later.done()
        writer.open.set()
        assert first.result(5)
        assert later.result(5)


def test_failed_transaction_fails_its_own_group_and_no_other() -> None:
    writer = Writer(error=StorageUnavailable("the disk is full"))
    writer.open.set()
    with grouping(writer.write) as (_, ask):
        with pytest.raises(StorageUnavailable, match="the disk is full"):
            ask("first").result(5)
        writer.error = None
        assert ask("second").result(5).status == "accepted"


def test_request_that_gave_up_waiting_is_not_written() -> None:
    writer = Writer()
    with grouping(writer.write, timeout=0.1) as (group, ask):
        first = ask("first")
        writer.begun.acquire()
        later = ask("later")
        queued(group, 1)
        for future in (first, later):
            with pytest.raises(StorageUnavailable):
                future.result(5)
        writer.open.set()
    # Of the first one nobody knows; the sender's repeat will be a duplicate.
    assert writer.groups == [["first"]]


def test_who_gives_up_while_it_is_written_does_not_keep_an_answer_from_those_behind() -> None:
    first, second = Writer(), Writer()
    writers = iter((first, second))
    with grouping(lambda batch: next(writers).write(batch), timeout=1) as (group, ask):
        ask("first")
        first.begun.acquire()
        gives_up = ask("gives up")
        queued(group, 1)
        time.sleep(0.5)
        behind = [ask(f"behind-{number}") for number in range(3)]
        queued(group, 4)
        first.open.set()
        second.begun.acquire()
        assert isinstance(gives_up.exception(5), StorageUnavailable)
        second.open.set()
        assert [future.result(5).status for future in behind] == ["accepted"] * 3


def test_stuck_database_is_waited_for_by_nobody_else() -> None:
    writer = Writer()
    with grouping(writer.write, timeout=0.1) as (_, ask):
        with pytest.raises(StorageUnavailable, match="in time"):
            ask("first").result(5)
        time.sleep(0.05)
        with pytest.raises(StorageUnavailable, match="too many"):
            ask("second").result(5)
        writer.open.set()


def test_line_that_is_too_long_refuses_at_once() -> None:
    writer = Writer()
    with grouping(writer.write, waiting=1) as (group, ask):
        first = ask("first")
        writer.begun.acquire()
        second = ask("second")
        queued(group, 1)
        with pytest.raises(StorageUnavailable):
            ask("third").result(5)
        writer.open.set()
        assert [first.result(5).status, second.result(5).status] == ["accepted"] * 2


def test_closing_writes_what_is_waiting_and_takes_nothing_more() -> None:
    writer = Writer()
    with grouping(writer.write) as (group, ask):
        asked = [ask("first")]
        writer.begun.acquire()
        asked += [ask(f"later-{number}") for number in range(3)]
        queued(group, 3)
        closing = threading.Thread(target=group.close)
        closing.start()
        while not group._closed:
            time.sleep(0.001)
        with pytest.raises(StorageUnavailable):
            group.commit((event(), PLANS))
        writer.open.set()
        closing.join(5)
        assert [future.result(5).status for future in asked] == ["accepted"] * 4
        assert not closing.is_alive()


def test_event_that_cannot_be_stored_harms_no_other_of_its_group(storage: Storage) -> None:
    gate = Writer()

    def write(batch: Batch) -> list[Accepted | WebhookRejected]:
        gate.write(batch)
        return accept(storage, batch)

    with grouping(write) as (group, ask):
        good = [ask("good-0")]
        gate.begun.acquire()
        good += [ask(f"good-{number}") for number in (1, 2, 3)]
        # Half of a surrogate pair: JSON can hold it, no database can.
        bad = ask("bad-\ud800")
        queued(group, 4)
        gate.open.set()
        assert [future.result(5) for future in good] == [Accepted("accepted", 1)] * 4
        with pytest.raises(WebhookRejected) as refused:
            bad.result(5)
    assert (refused.value.status, refused.value.reason) == (422, "event-not-storable")
    assert counts(storage).events == 4


def test_every_answer_of_a_crowd_is_committed_once(storage: Storage) -> None:
    with grouping(lambda batch: accept(storage, batch)) as (_, ask):
        answers = [ask(f"event-{number % 40}") for number in range(160)]
        statuses = [future.result(10).status for future in answers]
    assert statuses.count("accepted") == 40
    assert statuses.count("duplicate") == 120
    assert counts(storage).events == 40
