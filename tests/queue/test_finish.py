"""Attempts that end, or keep their messages, at the same moment: each has its own outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event as events
from sqlalchemy import select, update

from app.db import Storage
from app.db.tables import attempts, destination_states, jobs, sent_items
from app.errors import JobLost
from app.queue import (
    Job,
    accept,
    claim,
    finish,
    keep_message,
    keep_unless_newer,
    kept_message,
    reclaim,
    record_health,
    renew_lease,
)
from app.queue.finish import Finished
from app.retry import Decision
from tests.queue.making import ITEM, accept_items, at_once, claim_one, event, forward_plan

LANE = "forward:default"
DONE = Decision("succeeded", "succeeded", health="good")
LATER = Decision("waiting", "retry", "away", failures=1, delay=60, health="bad")
DEAD = Decision("dead", "dead", "refused", "no", failures=2, progress={"looks": 3})


def claim_many(storage: Storage, count: int) -> list[Job]:
    return claim(storage, owner="worker-1", wanted={LANE: count})


def lose(storage: Storage, job: Job) -> None:
    with storage.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(lease_until=1))
    reclaim(storage)


@contextmanager
def statements(storage: Storage) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    events.listen(storage.engine, "before_cursor_execute", note)
    yield seen
    events.remove(storage.engine, "before_cursor_execute", note)


def test_attempts_that_end_together_have_each_its_own_outcome(storage: Storage) -> None:
    accept_items(storage, 4)
    done, later, dead, late = claimed = claim_many(storage, 4)
    lose(storage, late)
    decisions = (DONE, LATER, DEAD, DONE)
    asks = [partial(finish, storage, *each) for each in zip(claimed, decisions, strict=True)]
    owned = Finished(owned=True, change=None)
    assert at_once(storage, *asks) == [owned, owned, owned, Finished(owned=False, change=None)]
    with storage.read() as connection:
        states = {row.id: row for row in connection.execute(select(jobs))}
        tries = {row.job: row for row in connection.execute(select(attempts).order_by("id"))}
    assert [states[job.id].state for job in claimed] == ["succeeded", "waiting", "dead", "waiting"]
    assert [tries[job.id].outcome for job in claimed] == ["succeeded", "retry", "dead", "late"]
    assert tries[dead.id].started_at is not None
    assert (states[later.id].finished_at, states[later.id].failures) == (None, 1)
    assert states[later.id].run_at > states[done.id].finished_at
    assert (states[dead.id].progress, states[dead.id].message) == ({"looks": 3}, "no")
    assert states[done.id].progress is None


def test_late_attempt_ends_beside_the_one_that_took_its_place(storage: Storage) -> None:
    accept_items(storage, 1)
    first = claim_one(storage)
    lose(storage, first)
    second = claim_one(storage)
    asks = [partial(finish, storage, first, DEAD), partial(finish, storage, second, DONE)]
    assert [each.owned for each in at_once(storage, *asks)] == [False, True]
    with storage.read() as connection:
        assert connection.execute(select(jobs.c.state)).scalar_one() == "succeeded"


def test_statements_do_not_grow_with_what_ends_together(storage: Storage) -> None:
    accept_items(storage, 9)
    one, *others = claim_many(storage, 9)
    with statements(storage) as alone:
        finish(storage, one, DONE)
    with statements(storage) as many:
        at_once(storage, *(partial(finish, storage, each, DONE) for each in others))
    # And those of the transaction that they waited behind.
    assert len(many) <= len(alone) + 1


def test_two_versions_of_an_item_that_end_together_leave_the_newer(storage: Storage) -> None:
    plans = [forward_plan(key=f"k{n}", version=n) for n in (7, 9, 8)]
    accept(storage, [(event(), plans)])
    claimed = claim_many(storage, 3)
    at_once(storage, *(partial(finish, storage, each, DONE) for each in claimed))
    with storage.read() as connection:
        assert connection.execute(select(sent_items.c.version)).scalar_one() == 9


def test_text_from_outside_is_recorded_whatever_is_in_it(storage: Storage) -> None:
    accept_items(storage, 1)
    [job] = claim_many(storage, 1)
    text = "half \ud83d of a character, \0, and \\u0000 as it is written"
    decision = Decision("dead", "failed", "refused", text, progress={text: 1}, detail={"a": [text]})
    assert finish(storage, job, decision).owned
    with storage.read() as connection:
        row = connection.execute(select(jobs.c.state, jobs.c.message, jobs.c.progress)).one()
        detail = connection.execute(select(attempts.c.detail)).scalar_one()
    kept = "half \ufffd of a character, \ufffd, and \\u0000 as it is written"
    assert tuple(row) == ("dead", kept, {kept: 1})
    assert detail == {"a": [kept]}


def test_progress_from_outside_is_written_whatever_is_in_it(storage: Storage) -> None:
    accept_items(storage, 1)
    [job] = claim_many(storage, 1)
    renew_lease(storage, job, progress={"answer": "\ud83d\0"})
    with storage.read() as connection:
        kept = connection.execute(select(jobs.c.progress)).scalar_one()
    assert kept == {"answer": "\ufffd\ufffd"}


def test_what_cannot_be_recorded_harms_no_other(storage: Storage) -> None:
    accept_items(storage, 2)
    good, bad = claim_many(storage, 2)
    wrong = Decision("dead", "dead", "refused", detail={"a": object()}, failures=1)
    asks = [partial(finish, storage, good, DONE), partial(finish, storage, bad, wrong)]
    ended, refused = at_once(storage, *asks)
    assert (ended.owned, isinstance(refused, TypeError)) == (True, True)


def test_newest_is_sent_again_where_an_older_version_is_taken_late(storage: Storage) -> None:
    accept(storage, [(event("old"), [forward_plan()])])
    old = claim_one(storage)
    lose(storage, old)
    again = claim_one(storage, owner="worker-2")
    finish(storage, again, DONE)
    accept(storage, [(event("new"), [forward_plan()])])
    new = claim_one(storage, owner="worker-2")
    late = finish(storage, old, DONE)
    assert late.owned is False
    # Whether the one that runs has been sent already, nobody knows.
    finish(storage, new, DONE)
    resent = claim_one(storage, owner="worker-2")
    assert (resent.id, resent.event_id, resent.args) == (late.again, "new", new.args)
    finish(storage, resent, DONE)
    assert finish(storage, old, DONE).again is not None


def test_newest_of_the_rule_is_sent_again_whatever_other_rules_sent(storage: Storage) -> None:
    accept(storage, [(event("old"), [forward_plan(rule="a")])])
    old = claim_one(storage)
    lose(storage, old)
    finish(storage, claim_one(storage, owner="worker-2"), DONE)
    accept(storage, [(event("new"), [forward_plan(rule="a"), forward_plan(rule="b")])])
    finish(storage, claim_one(storage, owner="worker-2"), DONE)
    again = finish(storage, old, DONE).again  # and that of the other rule waits
    resent = [claim_one(storage, owner="worker-2")]
    finish(storage, resent[0], DONE)
    resent.append(claim_one(storage, owner="worker-2"))
    assert [(job.event_id, job.rule) for job in resent] == [("new", "b"), ("new", "a")]
    assert resent[1].id == again


def test_late_deletion_is_followed_by_the_newest_of_every_rule(storage: Storage) -> None:
    gone = {"kind": "deleted", "item_id": ITEM}
    accept(storage, [(event("gone"), [forward_plan(rule="c", args=gone)])])
    old = claim_one(storage)
    lose(storage, old)
    finish(storage, claim_one(storage, owner="worker-2"), DONE)
    accept(storage, [(event("new"), [forward_plan(rule="a"), forward_plan(rule="b")])])
    for _ in range(2):
        finish(storage, claim_one(storage, owner="worker-2"), DONE)
    finish(storage, old, DONE)
    rules = []
    for _ in range(2):
        job = claim_one(storage, owner="worker-2")
        finish(storage, job, DONE)
        rules.append((job.event_id, job.rule))
    assert rules == [("new", "a"), ("new", "b")]


@pytest.mark.parametrize(("outcome", "repeats"), [(LATER, True), (DEAD, False)])
def test_late_send_without_an_answer_may_have_been_taken(
    storage: Storage, outcome: Decision, repeats: bool
) -> None:
    accept(storage, [(event("old"), [forward_plan()])])
    old = claim_one(storage)
    lose(storage, old)
    for _ in range(2):
        finish(storage, claim_one(storage, owner="worker-2"), DONE)
        accept(storage, [(event(), [forward_plan()])])
    finish(storage, claim_one(storage, owner="worker-2"), DONE)
    assert (finish(storage, old, outcome).again is not None) is repeats


def test_late_success_with_nothing_newer_sends_nothing_again(storage: Storage) -> None:
    accept(storage, [(event("only"), [forward_plan()])])
    old = claim_one(storage)
    lose(storage, old)
    finish(storage, claim_one(storage, owner="worker-2"), DONE)
    assert finish(storage, old, DONE).again is None
    accept(storage, [(event("waits"), [forward_plan()])])
    assert finish(storage, old, DONE).again is None


def test_good_answer_after_a_bad_one_of_the_same_moment_counts_last(storage: Storage) -> None:
    record_health(storage, "default", "good")
    accept_items(storage, 2)
    bad, good = claim_many(storage, 2)
    at_once(storage, partial(finish, storage, bad, LATER), partial(finish, storage, good, DONE))
    with storage.read() as connection:
        assert connection.execute(select(destination_states.c.failures)).scalar_one() == 0


def test_messages_that_are_kept_together_know_of_newer_ones(storage: Storage) -> None:
    accept(storage, [(event(), [forward_plan(version=9)])])
    finish(storage, claim_one(storage), DONE)
    older = forward_plan(version=5)
    accept(storage, [(event(), [older, forward_plan("b"), forward_plan("c")])])
    old, fresh, lost = claimed = claim_many(storage, 3)
    lose(storage, lost)
    asks = [
        partial(keep_unless_newer, storage, job, body=b"body", content_type="text/plain")
        for job in claimed
    ]
    superseded, kept, refused = at_once(storage, *asks)
    assert (superseded, kept, isinstance(refused, JobLost)) == (False, True, True)
    messages = [kept_message(storage, job) for job in claimed]
    assert messages == [None, (b"body", "text/plain"), None]
    keep_message(storage, old, body=b"all the same", content_type="text/plain")
    assert kept_message(storage, old) == (b"all the same", "text/plain")
    assert keep_unless_newer(storage, fresh, body=b"other", content_type="text/plain") is True
    assert kept_message(storage, fresh) == (b"body", "text/plain")


def test_answer_with_a_nul_ends_its_job_like_any_other(storage: Storage) -> None:
    accept(storage, [(event("e1"), [forward_plan()])])
    detail = {"answer": {"body": ["a\0b", "as text: \\u0000"], "status": 400}}
    decision = Decision("dead", "failed", "refused", "it said a\0b", detail=detail)
    assert finish(storage, claim_one(storage), decision).owned
    with storage.read() as connection:
        row = connection.execute(select(attempts.c.message, attempts.c.detail)).one()
    assert row.message == "it said a\N{REPLACEMENT CHARACTER}b"
    assert row.detail["answer"] == {
        "body": ["a\N{REPLACEMENT CHARACTER}b", "as text: \\u0000"],
        "status": 400,
    }
