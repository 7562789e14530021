from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select, update

from app.db import Storage
from app.db.tables import destination_states, jobs
from app.errors import NoSuchRecord, VerbRefused
from app.events import WebhookEvent
from app.queue import Job, accept, claim, finish, keep_message, kept_message, renew_lease
from app.queue.filters import EventFilter, JobFilter
from app.queue.operator import (
    cancel_job,
    pause,
    replay_event,
    replay_where,
    resume,
    retry_job,
    retry_where,
)
from app.queue.records import StoredEvent
from app.queue.search import find_event, show_event, show_job
from app.retry import Decision
from app.rules import Plan
from tests.queue.making import accept_items, claim_one, event, forward_plan, localize_plan

DEAD = Decision("dead", "failed", "destination-refused", "404", failures=8)


def row_of(storage: Storage, identifier: int) -> dict[str, Any]:
    with storage.read() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == identifier)).mappings().one()
        return dict(row)


def dead_job(storage: Storage, event_id: str | None = None, **changes: Any) -> Job:
    accept(storage, [(event(event_id), [forward_plan(**changes)])])
    job = claim_one(storage)
    finish(storage, job, DEAD)
    return job


def ended_in(storage: Storage, state: str) -> int:
    accept_items(storage, 1)
    job = claim_one(storage)
    if state != "running":
        finish(storage, job, DEAD)
    with storage.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(state=state))
    return job.id


def test_retried_dead_job_runs_now_with_all_its_retries_and_a_fresh_look(storage: Storage) -> None:
    accept(storage, [(event(), [localize_plan()])])
    job = claim_one(storage, queue="localize:main")
    renew_lease(storage, job, progress={"asked": ["fr-FR"], "asked_at": 1})
    finish(storage, job, Decision("dead", "failed", "unconfirmed", "not seen", failures=3))

    assert retry_job(storage, job.id) == "waiting"

    again = claim_one(storage, queue="localize:main")
    assert (again.id, again.attempt, again.failures, again.progress) == (job.id, 2, 0, {})
    row = row_of(storage, job.id)
    assert (row["reason"], row["message"], row["finished_at"]) == (None, None, None)


def test_retry_sends_the_bytes_that_were_kept(sqlite_storage: Storage) -> None:
    accept_items(sqlite_storage, 1)
    job = claim_one(sqlite_storage)
    keep_message(sqlite_storage, job, body=b"kept", content_type="text/plain")
    finish(sqlite_storage, job, DEAD)
    retry_job(sqlite_storage, job.id)
    assert kept_message(sqlite_storage, claim_one(sqlite_storage)) == (b"kept", "text/plain")


def test_retried_waiting_job_runs_now_and_knows_what_it_asked_for(storage: Storage) -> None:
    accept_items(storage, 1)
    job = claim_one(storage)
    later = Decision("waiting", "retry", "lost", delay=900, failures=4, progress={"asked_at": 1})
    finish(storage, job, later)
    assert claim(storage, owner="w", wanted={"forward:default": 1}) == []
    retry_job(storage, job.id)
    again = claim_one(storage)
    assert (again.failures, again.progress) == (0, {"asked_at": 1})


def test_retried_job_gives_way_to_a_newer_one_that_waits(storage: Storage) -> None:
    old = dead_job(storage)
    accept(storage, [(event("newer"), [forward_plan()])])
    assert retry_job(storage, old.id) == "superseded"
    assert row_of(storage, old.id)["superseded_by"] > old.id


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("running", "job-running"),
        ("succeeded", "job-done"),
        ("skipped", "job-done"),
        ("superseded", "job-done"),
    ],
)
@pytest.mark.parametrize("verb", [retry_job, cancel_job])
def test_job_in_the_wrong_state_is_refused_and_not_touched(
    sqlite_storage: Storage, verb: Any, state: str, reason: str
) -> None:
    identifier = ended_in(sqlite_storage, state)
    before = row_of(sqlite_storage, identifier)
    with pytest.raises(VerbRefused) as refused:
        verb(sqlite_storage, identifier)
    assert refused.value.reason == reason
    assert row_of(sqlite_storage, identifier) == before


@pytest.mark.parametrize("state", ["waiting", "dead"])
def test_cancelled_job_is_never_claimed_and_can_be_retried(storage: Storage, state: str) -> None:
    identifier = ended_in(storage, state)
    cancel_job(storage, identifier)
    assert claim(storage, owner="w", wanted={"forward:default": 1}) == []
    with pytest.raises(VerbRefused):
        cancel_job(storage, identifier)
    assert retry_job(storage, identifier) == "waiting"
    assert claim_one(storage).id == identifier


@pytest.mark.parametrize("verb", [retry_job, cancel_job])
def test_unknown_job_is_said_to_be_unknown(sqlite_storage: Storage, verb: Any) -> None:
    with pytest.raises(NoSuchRecord) as unknown:
        verb(sqlite_storage, 7)
    assert unknown.value.reason == "job-unknown"


def test_replay_makes_a_job_that_names_the_one_it_does_again(storage: Storage) -> None:
    accept(storage, [(event("an-event"), [forward_plan()])])
    job = claim_one(storage)
    finish(storage, job, Decision("succeeded", "succeeded"))
    number = find_event(storage, "an-event")

    replayed = replay_event(storage, number, [forward_plan(), localize_plan()])

    forward, localize = (show_job(storage, identifier).job for identifier in replayed.made)
    assert (forward.replay_of, localize.replay_of) == (job.id, None)
    assert (forward.state, localize.state) == ("waiting", "waiting")
    assert replayed.active == ()
    assert claim_one(storage).event_id == "an-event"


def test_replay_finds_what_waits_or_runs_already(storage: Storage) -> None:
    accept(storage, [(event("an-event"), [forward_plan(), localize_plan()])])
    running = claim_one(storage)
    number = find_event(storage, "an-event")
    replayed = replay_event(storage, number, [forward_plan(), localize_plan()])
    assert replayed.made == ()
    assert len(replayed.active) == 2
    assert running.id in replayed.active
    again = replay_event(storage, number, [forward_plan(rule="another")])
    assert len(again.made) == 1


def test_replay_of_a_dead_job_takes_its_place(storage: Storage) -> None:
    job = dead_job(storage, "an-event")
    [made] = replay_event(storage, find_event(storage, "an-event"), [forward_plan()]).made
    row = row_of(storage, job.id)
    assert (row["state"], row["reason"], row["superseded_by"]) == ("superseded", "replayed", made)


def test_replay_is_as_old_as_its_event(sqlite_storage: Storage) -> None:
    accept(sqlite_storage, [(event("old"), [])])
    number = find_event(sqlite_storage, "old")
    received = show_event(sqlite_storage, number).event.received_at
    [made] = replay_event(sqlite_storage, number, [forward_plan()]).made
    assert received is not None
    assert row_of(sqlite_storage, made)["version"] == round(received.timestamp() * 1000)


def test_replay_at_the_same_moment_by_four_makes_one_job(storage: Storage) -> None:
    accept(storage, [(event("an-event"), [])])
    number = find_event(storage, "an-event")
    made: list[int] = []
    barrier = threading.Barrier(4)

    def replay() -> None:
        barrier.wait()
        made.extend(replay_event(storage, number, [forward_plan()]).made)

    threads = [threading.Thread(target=replay) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_replay_of_an_unknown_event_is_refused(sqlite_storage: Storage) -> None:
    with pytest.raises(NoSuchRecord) as unknown:
        replay_event(sqlite_storage, 99, [])
    assert unknown.value.reason == "event-unknown"


def test_retry_where_goes_page_by_page_and_leaves_the_rest(storage: Storage) -> None:
    for number in range(5):
        dead_job(storage, key=f"forward:default:main:{number}")
    other = dead_job(storage, key="other", target="other")
    wanted = JobFilter(state="dead", target="default")
    first = retry_where(storage, wanted, limit=3)
    second = retry_where(storage, wanted, limit=3, cursor=first.next)
    assert (first.jobs, second.jobs, second.next) == (3, 2, None)
    assert row_of(storage, other.id)["state"] == "dead"


def test_retry_where_sends_only_the_newest_of_one_item(sqlite_storage: Storage) -> None:
    first, second = dead_job(sqlite_storage), dead_job(sqlite_storage)
    done = retry_where(sqlite_storage, JobFilter(state="dead"))
    assert (done.jobs, done.superseded) == (1, 1)
    states = [row_of(sqlite_storage, job.id)["state"] for job in (first, second)]
    assert states == ["superseded", "waiting"]


def test_replay_where_counts_what_it_could_not_do(storage: Storage) -> None:
    batch: list[tuple[WebhookEvent, list[Plan]]] = [
        (event(f"e{number}", label="Spring"), []) for number in range(3)
    ]
    accept(storage, [*batch, (event("other", label="Autumn"), [])])

    def plan(stored: StoredEvent) -> Sequence[Plan]:
        if stored.id == find_event(storage, "e1"):
            raise VerbRefused("event-not-replayable", "")
        return [forward_plan(f"item-{stored.id}")]

    done = replay_where(storage, EventFilter(label="spring"), plan)
    assert (done.events, done.jobs, done.active, done.next) == (2, 2, 0, None)
    assert done.refused == {"event-not-replayable": 1}
    again = replay_where(storage, EventFilter(label="spring"), plan)
    assert (again.jobs, again.active) == (0, 2)


def state_of(storage: Storage, name: str) -> tuple[bool, str | None, int | None]:
    with storage.read() as connection:
        row = connection.execute(
            select(destination_states).where(destination_states.c.name == name)
        ).one()
        return row.paused_at is not None, row.paused_reason, row.probe_at


def test_pause_and_resume_keep_what_else_is_known(storage: Storage) -> None:
    with storage.write() as connection:
        connection.execute(
            destination_states.insert().values(
                name="search", breaker="open", failures=5, probe_at=1 << 50
            )
        )
    pause(storage, "search", "x" * 200)
    assert state_of(storage, "search") == (True, "x" * 100, 1 << 50)
    resume(storage, "search")
    paused, reason, probe_at = state_of(storage, "search")
    assert (paused, reason) == (False, None)
    assert probe_at is not None
    assert probe_at < 1 << 50
    pause(storage, "new", "maintenance")
    assert state_of(storage, "new") == (True, "maintenance", None)
