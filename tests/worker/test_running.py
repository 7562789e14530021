"""One attempt: what an action says or raises becomes the job's state."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from app.actions import Action, Attempt
from app.config import RetrySchedule
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
from app.ledger import counts
from app.retry import Outcome, Succeeded
from app.storage import Storage
from app.storage.tables import attempts
from app.worker import Runner
from app.worker.running import outcome_of
from tests.ledger.making import accept_items, claim_one


class Doing(Action):
    """An action that does what a test says."""

    def __init__(self, what: Callable[[], Outcome]) -> None:
        self._what = what

    def run(self, attempt: Attempt) -> Outcome:
        return self._what()


def run_one(storage: Storage, what: Callable[[], Outcome], *, action: str = "forward") -> None:
    accept_items(storage, 1)
    runner = Runner(
        storage=storage,
        actions={action: Doing(what)},
        schedule=lambda _: RetrySchedule(delays=(60.0,), jitter=0),
    )
    runner.run(claim_one(storage))


def raising(error: BaseException) -> Callable[[], Outcome]:
    def what() -> Outcome:
        raise error

    return what


@pytest.mark.parametrize(
    ("error", "reason", "transient"),
    [
        (Unauthorized("no", status=403), "amplience-unauthorized", False),
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
