"""Runs one attempt: action, decision, record. It knows nothing of threads and leases."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from app.actions import Action, Attempt
from app.config import RetrySchedule
from app.db import Storage
from app.errors import (
    AmplienceError,
    AppError,
    DestinationError,
    DestinationGone,
    JobLost,
    LeaseTooOld,
    NotFound,
    RateLimited,
    StorageUnavailable,
    TemplateFailed,
    Unauthorized,
    VersionConflict,
)
from app.observability import sentry, tracing
from app.queue import Change, Finished, Job, finish
from app.queue.job import refusals_of
from app.retry import Decision, Failed, Health, Outcome, decide
from app.transport import before_sending

_log = structlog.get_logger(__name__)

# The finishing write is tried again while the lease may still be ours.
_FINISH_WITHIN = 10.0
_REASONS: tuple[tuple[type[AppError], str], ...] = (
    (Unauthorized, "amplience-unauthorized"),
    (NotFound, "amplience-not-found"),
    (VersionConflict, "amplience-version-conflict"),
    (RateLimited, "amplience-rate-limited"),
    (StorageUnavailable, "storage-unavailable"),
)


def outcome_of(error: AppError) -> Failed:
    """Turn an error that an action let through into its outcome."""
    reason = next((slug for kind, slug in _REASONS if isinstance(error, kind)), None)
    retry_after: float | None = None
    transient = error.transient
    if isinstance(error, AmplienceError):
        transient = error.transient or error.refusing
        reason = reason or ("amplience-unavailable" if error.transient else "amplience-refused")
        retry_after = error.retry_after
    elif isinstance(error, DestinationError):
        refused = error.reason or "destination-refused"
        reason = "destination-unavailable" if error.transient else refused
        retry_after = error.retry_after
    detail: dict[str, object] = {}
    status = getattr(error, "status", None)
    if status is not None:
        detail["status"] = status
    if isinstance(error, DestinationError):
        detail |= error.exchange
        if error.answer:
            detail["answer"] = error.answer
    return Failed(
        reason=reason or "failed",
        message=str(error),
        transient=transient,
        retry_after=retry_after,
        detail=detail,
        health=_health_of(error),
        overloaded=status == 429 or getattr(error, "timed_out", False),
    )


def _health_of(error: AppError) -> Health | None:
    """Tell what a failed send says of its destination: a refusal is an answer, too."""
    if isinstance(error, TemplateFailed):
        return None  # it was not asked
    if isinstance(error, DestinationGone):
        return "gone"
    if isinstance(error, DestinationError):
        return "bad" if error.transient else "good"
    return None


def without_details(decision: Decision) -> Decision:
    """What is left of a decision whose details cannot be written.

    What was to follow from a success is not left out in silence: its job is dead instead.
    """
    bare = replace(decision, message=None, detail={}, progress=None, follow_up=())
    return replace(bare, state="dead", reason="internal-error") if decision.follow_up else bare


def given_back(job: Job) -> Decision:
    """What an attempt leaves that did nothing: its job, if it is still its own, is due at once."""
    return Decision("waiting", "released", "lost", failures=job.failures)


def _attributes(job: Job) -> tracing.Attributes:
    return {
        "dc_relay.event.id": job.event_id,
        "dc_relay.event.name": job.event_name,
        "dc_relay.job.id": job.id,
        "dc_relay.rule": job.rule,
        "dc_relay.action": job.action,
        "dc_relay.hub": job.hub,
        "dc_relay.destination": job.target if job.action in ("forward", "alert") else None,
        "dc_relay.attempt": job.attempt,
    }


def _tell(span: tracing.Span, outcome: Outcome, decision: Decision) -> None:
    tracing.add(
        span,
        {
            "dc_relay.outcome": decision.outcome,
            "dc_relay.state": decision.state,
            "dc_relay.reason": decision.reason,
        },
    )
    if isinstance(outcome, Failed) or decision.state == "dead":
        tracing.fail(span, decision.reason or decision.state)


def _ignore(job: Job, message: str) -> None:
    """Tell nobody of a refusal."""


class Runner:
    """Runs attempts of jobs with the actions it is given, by the name of the action.

    `on_refusal` is called for each attempt that Amplience refused, with what it answered.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        actions: Mapping[str, Action],
        schedule: Callable[[Job], RetrySchedule],
        on_refusal: Callable[[Job, str], None] = _ignore,
    ) -> None:
        self._storage = storage
        self._actions = actions
        self._schedule = schedule
        self._on_refusal = on_refusal

    def run(self, job: Job) -> None:
        """Run one attempt of a claimed job and record how it went."""
        with (
            structlog.contextvars.bound_contextvars(
                event_id=job.event_id,
                job_id=job.id,
                hub=job.hub,
                action=job.action,
                destination=job.target if job.action == "forward" else None,
            ),
            tracing.attempt(
                f"attempt {job.action}", kept=job.trace, attributes=_attributes(job)
            ) as span,
        ):
            started = time.monotonic()
            try:
                outcome = self._outcome(job)
            except JobLost as error:
                _log.warning("attempt.lost", attempt=job.attempt, detail=str(error))
                tracing.fail(span, "lost")
                if isinstance(error, LeaseTooOld):
                    self._finish(job, given_back(job))
                return
            decision = decide(
                outcome,
                failures=job.failures,
                refusals=self._refusals(job, outcome),
                schedule=self._schedule(job),
                spread=lambda: random.uniform(-1, 1),  # noqa: S311 - jitter is no secret
            )
            _tell(span, outcome, decision)
            self._record(job, decision, time.monotonic() - started)
            if isinstance(outcome, Failed) and outcome.is_refusal:
                self._on_refusal(job, outcome.message)

    def _refusals(self, job: Job, outcome: Outcome) -> int:
        if not (isinstance(outcome, Failed) and outcome.transient):
            return 0  # nothing is decided by it
        try:
            return refusals_of(self._storage, job)
        except StorageUnavailable:
            return 0

    def _outcome(self, job: Job) -> Outcome:
        action = self._actions.get(job.action)
        if action is None:
            return Failed("unknown-action", f"no action is called {job.action!r}", transient=False)
        _log.info("attempt.started", attempt=job.attempt, item_id=job.item_id)
        try:
            with before_sending(job.lease.check):
                return action.run(Attempt(job=job, storage=self._storage))
        except JobLost:
            raise
        except AppError as error:
            return outcome_of(error)
        except Exception as error:  # noqa: BLE001 - a bug in one job must not end the worker
            sentry.report(error, job_id=job.id)
            _log.exception("attempt.crashed", attempt=job.attempt)
            message = f"{type(error).__name__}: this is a fault of dc-relay; see its log"
            return Failed("internal-error", message, transient=True)

    def _record(self, job: Job, decision: Decision, seconds: float) -> None:
        finished = self._finish(job, decision)
        fields = {
            "attempt": job.attempt,
            "state": decision.state,
            "reason": decision.reason,
            "message": decision.message,
            "seconds": round(seconds, 3),
            "retry_in": round(decision.delay, 3) if decision.state == "waiting" else None,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        if finished.change is not None:
            _report_change(job.target, finished.change)
        if not finished.owned:
            _log.warning("attempt.late", **given, sent_again_by=finished.again)
            return
        if decision.state == "dead":
            _log.error("job.dead", **given)
            sentry.report("job is dead", reason=decision.reason, job_id=job.id, rule=job.rule)
        else:
            _log.info("attempt.finished", **given)

    def _finish(self, job: Job, decision: Decision) -> Finished:
        """Record an outcome; what cannot be recorded as it is loses its details, not its state."""
        try:
            return self._finish_in_time(job, decision)
        except Exception as error:  # noqa: BLE001 - unrecorded, its side effect would be repeated
            sentry.report(error, job_id=job.id)
            _log.exception("attempt.unrecordable", attempt=job.attempt, reason=decision.reason)
        try:
            return self._finish_in_time(job, without_details(decision))
        except Exception:  # noqa: BLE001 - the lease runs out
            _log.exception("attempt.unrecorded", attempt=job.attempt)
            return Finished(owned=False, change=None)

    def _finish_in_time(self, job: Job, decision: Decision) -> Finished:
        deadline = time.monotonic() + _FINISH_WITHIN
        while True:
            try:
                return finish(self._storage, job, decision)
            except StorageUnavailable as error:
                if time.monotonic() > deadline:
                    # The lease runs out and another attempt finds out what was done.
                    _log.error("attempt.unrecorded", detail=str(error))
                    return Finished(owned=False, change=None)
                time.sleep(0.5)


def _report_change(destination: str, change: Change) -> None:
    if change == "closed":
        _log.info("destination.closed", target=destination)
        sentry.report("destination closed", level="info", destination=destination)
    else:
        _log.error(f"destination.{change}", target=destination)
        sentry.report(f"destination {change}", destination=destination)
