"""Given the outcome of an attempt: what becomes of the job, and when it is tried again.

Pure: no clock, no database, no randomness of its own. The worker obeys what is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from app.config import RetrySchedule
from app.config.settings import REFUSED_RETRY

# A peer may ask for more patience than our schedule, but not for ever: one day is the longest wait
# that still lets a job end while somebody remembers it.
LONGEST_RETRY_AFTER = 86_400
# How much later the next try comes when a peer says that it is overloaded, or is too slow to
# answer, and names no time itself (Standard Webhooks asks for a slow-down).
SLOW_DOWN = 3

# Amplience refuses, and not surely because of the job's item: its key, a firewall or a gateway may
# refuse every job. As reasons of a transient failure; of a final one they may be the item's.
REFUSALS = frozenset(
    {
        "amplience-unauthorized",
        "amplience-not-found",
        "amplience-refused",
        "unpublish-not-permitted",
    }
)


# How an outside place fares, as one attempt saw it: it answered, it did not, it wants no more.
Health = Literal["good", "bad", "gone"]


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """A job that is to be written together with the success of this one, for its event and rule.

    The fields are those of a plan. It is as old as the attempt, which saw what was when it began.
    """

    action: Literal["localize", "forward", "unpublish"]
    target: str
    queue: str
    key: str
    args: Mapping[str, Any]


@dataclass(frozen=True)
class Succeeded:
    """The job is done. `detail` is kept with the attempt, for the operator."""

    detail: Mapping[str, Any] = field(default_factory=dict)
    health: Health | None = None
    follow_up: tuple[FollowUp, ...] = ()


@dataclass(frozen=True)
class Superseded:
    """Something newer has been done already, so this must not be done any more."""

    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """There is nothing to do, and `reason` (a slug) says why."""

    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LookAgain:
    """Nothing failed; the world needs time. `after` in seconds; counts as no failure.

    `progress` replaces what the job remembers between its attempts. The action must set its own
    end: the ledger sets none.
    """

    reason: str
    after: float
    progress: Mapping[str, Any] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """The attempt failed. `transient`: the same may work later, `retry_after` seconds at least.

    `overloaded` says that the peer has too much to do: the next try comes later than planned.
    """

    reason: str
    message: str
    transient: bool
    retry_after: float | None = None
    progress: Mapping[str, Any] | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    health: Health | None = None
    overloaded: bool = False

    @property
    def is_refusal(self) -> bool:
        """Whether Amplience refused what it may take later."""
        return self.transient and self.reason in REFUSALS


Outcome = Succeeded | Skipped | Superseded | LookAgain | Failed
JobState = Literal["waiting", "running", "succeeded", "skipped", "superseded", "dead", "cancelled"]


@dataclass(frozen=True)
class Decision:
    """What the ledger is to write: the job's next state, and for `waiting` the delay in seconds.

    `failures` is the new count of failed tries; `progress` of None keeps what is there.
    """

    state: JobState
    outcome: str
    reason: str | None = None
    message: str | None = None
    delay: float = 0.0
    failures: int = 0
    progress: Mapping[str, Any] | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    health: Health | None = None
    follow_up: tuple[FollowUp, ...] = ()


def retry_after(header: str | None) -> float | None:
    """Seconds to wait, of a `Retry-After` header in either form (RFC 9110, section 10.2.3).

    None where the header is missing or makes no sense; at most a day.
    """
    if header is None:
        return None
    try:
        return float(Retry(retry_after_max=LONGEST_RETRY_AFTER).parse_retry_after(header))
    except (HTTPError, ValueError, OverflowError):
        return None


def decide(
    outcome: Outcome,
    *,
    failures: int,
    refusals: int = 0,
    schedule: RetrySchedule,
    spread: Callable[[], float],
) -> Decision:
    """Turn the outcome of an attempt into what becomes of its job.

    `failures` counts the failed tries before this one, and `refusals` those among them that were
    Amplience's refusals, which have a schedule of their own: neither kind uses up the other's
    tries. `spread` gives a number from -1 to 1 that the schedule's jitter is multiplied with.
    """
    match outcome:
        case Succeeded(detail=detail, health=health, follow_up=follow_up):
            return Decision(
                "succeeded",
                "succeeded",
                failures=failures,
                detail=detail,
                health=health,
                follow_up=follow_up,
            )
        case Superseded(reason=reason, detail=detail):
            return Decision("superseded", "superseded", reason, failures=failures, detail=detail)
        case Skipped(reason=reason, detail=detail):
            return Decision("skipped", "skipped", reason, failures=failures, detail=detail)
        case LookAgain():
            return Decision(
                "waiting",
                "look-again",
                outcome.reason,
                delay=outcome.after,
                failures=failures,
                progress=outcome.progress,
                detail=outcome.detail,
            )
        case Failed(is_refusal=True):
            return _after_failure(
                outcome, failures, tries=refusals, schedule=REFUSED_RETRY, spread=spread
            )
        case Failed():
            return _after_failure(
                outcome, failures, tries=failures - refusals, schedule=schedule, spread=spread
            )


def _after_failure(
    outcome: Failed,
    failures: int,
    *,
    tries: int,
    schedule: RetrySchedule,
    spread: Callable[[], float],
) -> Decision:
    failed = Decision(
        "dead",
        "failed",
        outcome.reason,
        outcome.message,
        failures=failures + 1,
        progress=outcome.progress,
        detail=outcome.detail,
        health=outcome.health,
    )
    if outcome.health == "gone":
        # The place is paused with its queue, and this job stays in it: who resumes it sends it.
        return replace(failed, state="waiting", outcome="retry", failures=failures)
    if not outcome.transient or tries >= len(schedule.delays):
        return failed
    delay = schedule.delays[tries] * (1 + schedule.jitter * spread())
    if outcome.retry_after is not None:
        delay = max(delay, min(outcome.retry_after, LONGEST_RETRY_AFTER))
    elif outcome.overloaded:
        delay *= SLOW_DOWN
    return replace(failed, state="waiting", outcome="retry", delay=delay)
