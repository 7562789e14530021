"""What an operator reads about reasons, log lines, answers and calls is complete, and no more."""

from __future__ import annotations

import re
from typing import get_args

from sqlalchemy import text, update

from app import advice
from app.advice import Advice
from app.config.templating import Unrenderable, ValueMissing
from app.db import Storage
from app.db.tables import jobs
from app.queue import Job, accept, claim, finish, heartbeat, readiness, record_health
from app.queue.limits import Change, Limits
from app.retry import Decision, JobState
from tests.docs import pages, source
from tests.docs.pages import AMPLIENCE, OPERATIONS
from tests.queue.making import claim_one, event, forward_plan

ACTIONS = ("app/actions", "app/worker/running.py")
TEMPLATES = frozenset({Unrenderable.reason, ValueMissing.reason})
DOOR = ("app/web/errors.py", "app/web/limits.py", "app/web/webhooks.py", "app/schemas")
# Where no code of ours names the reason: what became of an event that was taken, and what Flask
# says of a wrong path or method.
TAKEN = frozenset({"accepted", "ignored", "duplicate"})
OF_FLASK = frozenset({"not-found", "method-not-allowed"})
# Written down by the ledger, answered at the door.
NOT_STORABLE = "event-not-storable"


def test_every_reason_of_a_job_is_explained_and_no_other() -> None:
    section = pages.section(OPERATIONS, "Jobs: states and reasons")
    explained = pages.named(pages.rows(section, header="reason"))
    used = source.dashed(*ACTIONS) | source.given_as_reason(*ACTIONS, "app/queue")
    assert explained == used - {NOT_STORABLE} | TEMPLATES


def plain(cell: str) -> str:
    """A cell as it is read: without marks and addresses."""
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", cell).replace("`", "").strip()


def told(section: str, header: str, meaning: int, todo: int) -> dict[str, Advice]:
    return {
        slug: Advice(plain(row[meaning]), plain(row[todo]))
        for row in pages.rows(pages.section(OPERATIONS, section), header=header)
        for slug in re.findall(r"`([^`]+)`", row[0])
    }


def test_pages_and_alerts_give_the_same_advice_as_the_tables() -> None:
    assert told("Jobs: states and reasons", "reason", 2, 3) == advice.REASONS
    assert told("Alerts", "alert", 1, 2) == advice.ALERTS


def test_every_answer_at_the_door_is_explained_and_no_other() -> None:
    section = pages.section(OPERATIONS, "Answers at the door")
    explained = pages.named(pages.rows(section, header="reason"))
    used = source.dashed(*DOOR, "app/signature.py") - {"content-type"}
    assert explained == used | TAKEN | OF_FLASK | {NOT_STORABLE}


def test_every_log_event_is_explained_and_no_other() -> None:
    explained = pages.named(pages.rows(pages.section(OPERATIONS, "Logs"), header="event"))
    varying = {"destination.{}": {f"destination.{change}" for change in get_args(Change)}}
    assert explained == {
        name for event in source.log_events() for name in varying.get(event, {event})
    }


def test_every_state_of_a_job_is_explained_and_no_other() -> None:
    section = pages.section(OPERATIONS, "Jobs: states and reasons")
    assert pages.named(pages.rows(section, header="state")) == set(get_args(JobState))


def test_every_endpoint_of_amplience_is_listed_and_no_other() -> None:
    listed = pages.named(pages.rows(pages.text(AMPLIENCE), header="endpoint"))
    called = source.endpoints("app/amplience")
    assert {re.sub(r"^[A-Z]+ ", "", endpoint) for endpoint in listed} == called


def give_up(storage: Storage) -> Job:
    """Accept an event for one item and give its job up, a long time ago."""
    accept(storage, [(event(), [forward_plan()])])
    job = claim_one(storage)
    given_up = Decision("dead", "failed", "destination-unavailable", failures=8, progress={"n": 1})
    assert finish(storage, job, given_up).owned
    with storage.write() as connection:
        connection.execute(update(jobs).values(run_at=0))
    return job


def run_by_hand(storage: Storage, words: str) -> int:
    """Run the statement of the page that has these words in it; returns how many rows it met."""
    [statement] = [block for block in pages.blocks(OPERATIONS, "sql") if words in block]
    with storage.write() as connection:
        return connection.execute(text(statement)).rowcount


def test_statements_that_only_read_can_be_run(storage: Storage) -> None:
    give_up(storage)
    reading = [block for block in pages.blocks(OPERATIONS, "sql") if block.startswith("SELECT")]
    with storage.read() as connection:
        dead, story = (connection.execute(text(statement)).all() for statement in reading)
    assert [row.reason for row in dead] == ["destination-unavailable"]
    assert story == []


def test_dead_job_that_is_retried_by_hand_has_all_its_retries_again(storage: Storage) -> None:
    given_up = give_up(storage)
    heartbeat(storage, owner="worker-1", host="host", pid=1, running=[])
    assert run_by_hand(storage, "SET state = 'waiting'") == 1
    assert (readiness(storage).oldest_due_seconds or 0) < 60
    job = claim_one(storage)
    assert (job.id, job.attempt, job.failures, job.progress) == (given_up.id, 2, 0, {})


def test_dead_job_is_left_alone_by_hand_when_a_newer_one_has_followed(storage: Storage) -> None:
    give_up(storage)
    accept(storage, [(event(), [forward_plan()])])
    assert run_by_hand(storage, "SET state = 'waiting'") == 0


def test_paused_destination_that_is_resumed_by_hand_is_sent_to(storage: Storage) -> None:
    limits = {"forward:default": Limits("default")}
    accept(storage, [(event(), [forward_plan()])])
    record_health(storage, "default", "gone")
    assert claim(storage, owner="worker-1", wanted={"forward:default": 1}, limits=limits) == []
    assert run_by_hand(storage, "paused_at = NULL") == 1
    assert claim(storage, owner="worker-1", wanted={"forward:default": 1}, limits=limits) != []


def test_job_that_is_cancelled_by_hand_is_not_claimed(storage: Storage) -> None:
    give_up(storage)
    assert run_by_hand(storage, "SET state = 'waiting'") == 1
    assert run_by_hand(storage, "SET state = 'cancelled'") == 1
    assert claim(storage, owner="worker-2", wanted={"forward:default": 1}) == []
