"""What an operator reads about reasons, log lines, answers and calls is complete, and no more."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import get_args

from sqlalchemy import text, update

from app.advice import REASONS
from app.config.templating import Unrenderable, ValueMissing
from app.db import Storage
from app.db.tables import jobs
from app.queue import Job, accept, claim, finish, heartbeat, readiness, record_health
from app.queue.limits import Change, Limits
from app.retry import Decision, JobState
from tests.docs import pages, source
from tests.docs.pages import AMPLIENCE, REFERENCE, ROOT, TROUBLESHOOT
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
    section = pages.section(REFERENCE, "Reasons")
    explained = pages.named(pages.rows(section, header="reason"))
    used = source.dashed(*ACTIONS) | source.given_as_reason(*ACTIONS, "app/queue")
    assert explained == used - {NOT_STORABLE} | TEMPLATES


def test_tables_made_of_the_code_are_up_to_date() -> None:
    checked = [sys.executable, "-m", "tools.docs", "--check"]
    done = subprocess.run(checked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_reason_names_states_of_a_job() -> None:
    states = set(get_args(JobState))
    assert {
        slug for slug, each in REASONS.items() if not states & set(each.states.split())
    } == set()


def test_every_response_to_a_webhook_is_explained_and_no_other() -> None:
    section = pages.section(REFERENCE, "Webhook responses")
    explained = pages.named(pages.rows(section, header="reason"))
    used = source.dashed(*DOOR, "app/signature.py") - {"content-type"}
    assert explained == used | TAKEN | OF_FLASK | {NOT_STORABLE}


def test_every_log_event_is_explained_and_no_other() -> None:
    explained = pages.named(pages.rows(pages.section(REFERENCE, "Log lines"), header="event"))
    varying = {"destination.{}": {f"destination.{change}" for change in get_args(Change)}}
    assert explained == {
        name for event in source.log_events() for name in varying.get(event, {event})
    }


def test_every_state_of_a_job_is_explained_and_no_other() -> None:
    section = pages.section(REFERENCE, "Job states")
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
    [statement] = [block for block in pages.blocks(TROUBLESHOOT, "sql") if words in block]
    with storage.write() as connection:
        return connection.execute(text(statement)).rowcount


def test_statements_that_only_read_can_be_run(storage: Storage) -> None:
    give_up(storage)
    reading = [block for block in pages.blocks(TROUBLESHOOT, "sql") if block.startswith("SELECT")]
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
