"""One attempt: what an action says or raises becomes the job's state."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from app.actions import Action, Attempt
from app.config import Destination, RetrySchedule
from app.db import Storage
from app.db.tables import attempts, jobs
from app.destinations.message import Message
from app.destinations.sending import DestinationClient
from app.errors import (
    AppError,
    DestinationRefused,
    DestinationUnavailable,
    JobLost,
    NotFound,
    RateLimited,
    Refused,
    StorageUnavailable,
    Unauthorized,
    Unavailable,
    VersionConflict,
)
from app.queue import counts, finish
from app.queue.job import OLDEST_LEASE, Lease
from app.retry import Decision, Failed, FollowUp, Outcome, Succeeded
from app.worker import Runner
from app.worker.running import outcome_of
from tests.queue.making import accept_items, claim_one
from tests.servers import Reply, ScriptedServer


class Doing(Action):
    """An action that does what a test says."""

    def __init__(self, what: Callable[[], Outcome]) -> None:
        self._what = what

    def run(self, attempt: Attempt) -> Outcome:
        return self._what()


def runner_in(
    storage: Storage, what: Callable[[], Outcome], told: list[str], *, action: str = "forward"
) -> Runner:
    return Runner(
        storage=storage,
        actions={action: Doing(what)},
        schedule=lambda _: RetrySchedule(delays=(60.0,), jitter=0),
        on_refusal=lambda _, message: told.append(message),
    )


def run_one(storage: Storage, what: Callable[[], Outcome], *, action: str = "forward") -> None:
    accept_items(storage, 1)
    runner_in(storage, what, [], action=action).run(claim_one(storage))


def raising(error: BaseException) -> Callable[[], Outcome]:
    def what() -> Outcome:
        raise error

    return what


@pytest.mark.parametrize(
    ("error", "reason", "transient"),
    [
        (Unauthorized("no", status=403), "amplience-unauthorized", True),
        (NotFound("no", status=404, refusing=True), "amplience-not-found", True),
        (Refused("no", status=400, refusing=True), "amplience-refused", True),
        (NotFound("no", status=404), "amplience-not-found", False),
        (VersionConflict("no", status=409), "amplience-version-conflict", False),
        (Refused("no", status=400), "amplience-refused", False),
        (RateLimited("no", status=429, retry_after=3), "amplience-rate-limited", True),
        (Unavailable("no", status=503), "amplience-unavailable", True),
        (DestinationRefused("no", destination="d", status=400), "destination-refused", False),
        (DestinationUnavailable("no", destination="d"), "destination-unavailable", True),
        (StorageUnavailable("no"), "storage-unavailable", True),
    ],
)
def test_error_becomes_a_failure_with_a_reason(
    error: AppError, reason: str, transient: bool
) -> None:
    outcome = outcome_of(error)
    assert (outcome.reason, outcome.transient) == (reason, transient)
    assert outcome.retry_after == getattr(error, "retry_after", None)


def failing(reason: str, *, times: int) -> Callable[[Storage], None]:
    """Have the claimed job fail so often before."""

    def fail(storage: Storage) -> None:
        for failures in range(1, times + 1):
            again = Decision("waiting", "retry", reason, failures=failures)
            assert finish(storage, claim_one(storage), again).owned

    return fail


@pytest.mark.parametrize(
    ("before", "error", "state"),
    [
        # Of a schedule with one retry.
        (failing("destination-unavailable", times=1), Unavailable("no", status=503), "dead"),
        (failing("amplience-refused", times=5), Unavailable("no", status=503), "waiting"),
        (failing("amplience-unavailable", times=9), Unauthorized("no", status=403), "waiting"),
        (failing("amplience-refused", times=6), Unauthorized("no", status=403), "waiting"),
        (failing("amplience-refused", times=7), Unauthorized("no", status=403), "dead"),
    ],
)
def test_refusals_and_failures_do_not_use_up_each_others_tries(
    storage: Storage, before: Callable[[Storage], None], error: AppError, state: str
) -> None:
    accept_items(storage, 1)
    before(storage)
    runner_in(storage, raising(error), []).run(claim_one(storage))
    assert counts(storage).jobs == {state: 1}


def test_each_refused_attempt_is_told(storage: Storage) -> None:
    told: list[str] = []
    accept_items(storage, 1)
    runner = runner_in(storage, raising(Unauthorized("HTTP 403", status=403)), told)
    runner.run(claim_one(storage))
    assert told == ["HTTP 403"]


def test_outcome_of_the_action_is_recorded(storage: Storage) -> None:
    run_one(storage, lambda: Succeeded({"status": 200}))
    assert counts(storage).jobs == {"succeeded": 1}


def test_transient_error_leaves_the_job_waiting(storage: Storage) -> None:
    run_one(storage, raising(Unavailable("HTTP 503", status=503)))
    assert counts(storage).jobs == {"waiting": 1}


def test_final_error_makes_the_job_dead(storage: Storage) -> None:
    run_one(storage, raising(DestinationRefused("HTTP 400", destination="d", status=400)))
    assert counts(storage).jobs == {"dead": 1}


def test_fault_in_our_code_is_retried_and_told_without_its_text(storage: Storage) -> None:
    run_one(storage, raising(KeyError("a secret")))
    with storage.read() as connection:
        row = connection.execute(select(attempts)).one()
    assert (row.outcome, row.reason) == ("retry", "internal-error")
    assert "a secret" not in row.message


def test_lost_job_is_left_to_whoever_has_it_now(storage: Storage) -> None:
    run_one(storage, raising(JobLost("lost")))
    assert counts(storage).jobs == {"running": 1}
    assert counts(storage).attempts == 0


def test_unknown_action_is_dead_with_a_reason(storage: Storage) -> None:
    run_one(storage, Succeeded, action="another")
    assert counts(storage).jobs == {"dead": 1}


def post(url: str) -> Callable[[], Outcome]:
    """An action that sends something to a destination."""

    def what() -> Outcome:
        place = Destination(name="search", url=url, allow_private=True)
        message = Message(b"{}", "application/json", "msg-1")
        with closing(DestinationClient()) as client:
            client.send(place, message, now=datetime.now(UTC))
        return Succeeded()

    return what


def test_old_lease_sends_nothing_and_gives_its_job_back(storage: Storage) -> None:
    """The worker stood still after it had made sure that the job is its own."""
    accept_items(storage, 1)
    job = replace(claim_one(storage), lease=Lease(time.monotonic() - OLDEST_LEASE - 0.1))
    with closing(ScriptedServer(lambda _: Reply())) as server:
        runner_in(storage, post(server.url), []).run(job)
        assert server.received == []
        again = claim_one(storage)
        assert (again.attempt, again.failures, again.losses) == (2, 0, 0)
        runner_in(storage, post(server.url), []).run(again)
        assert len(server.received) == 1
    assert counts(storage).jobs == {"succeeded": 1}


def test_outcome_that_cannot_be_recorded_as_it_is_keeps_its_state_and_reason(
    storage: Storage,
) -> None:
    def what() -> Outcome:
        return Failed("amplience-refused", "no", transient=False, detail={"answer": object()})

    run_one(storage, what)
    with storage.read() as connection:
        row = connection.execute(select(jobs.c.state, jobs.c.reason, jobs.c.attempts)).one()
    assert tuple(row) == ("dead", "amplience-refused", 1)


def test_success_whose_follow_up_cannot_be_recorded_waits_for_a_person(storage: Storage) -> None:
    later = FollowUp(action="forward", target="d", queue="l", key="k", args={"a": object()})
    run_one(storage, lambda: Succeeded(follow_up=(later,)))
    with storage.read() as connection:
        row = connection.execute(select(jobs.c.state, jobs.c.reason, jobs.c.attempts)).one()
    assert tuple(row) == ("dead", "internal-error", 1)
