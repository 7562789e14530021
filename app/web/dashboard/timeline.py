"""One job's story as steps, and what comes next. Pure: what the ledger says in, words out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.advice import Advice, of_reason
from app.queue.records import AttemptRow, JobRow, JobStory
from app.queue.stats import DestinationRow
from app.web.dashboard.wording import OUTCOMES, duration, relative

# Shown by themselves; the rest of an attempt's detail follows as it is.
_EXCHANGE = ("method", "url", "status", "milliseconds", "answer", "bytes")

# What is longer than any exchange was not measured.
_LONGEST_MS = 1e12

# A cancelled job's reason is why it was not done before a person took it away.
_VERDICTS = {
    "dead": "Given up",
    "waiting": "Not done yet",
    "skipped": "Skipped",
    "superseded": "Superseded",
}


@dataclass(frozen=True)
class Tried:
    """One attempt in words. `answer` is what a destination answered, `more` what else was kept."""

    number: int
    outcome: str
    words: str
    reason: str | None
    message: str | None
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float | None
    owner: str | None
    exchange: str | None
    answer: str | None
    more: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Next:
    """What comes next of a job: a sentence, and the moment it speaks of, if there is one."""

    text: str
    at: datetime | None = None


@dataclass(frozen=True)
class Line:
    """A job with its attempts, what comes next, and what a person may do."""

    job: JobRow
    tried: tuple[Tried, ...]
    next: Next
    message_bytes: int | None

    @property
    def verdict(self) -> str | None:
        """How a job stands for which a reason was given, in a word or two; else None."""
        return _VERDICTS.get(self.job.state) if self.job.reason else None

    @property
    def why(self) -> str:
        """What was met; where an attempt before the last one said it, nothing."""
        is_of_the_end = self.job.state in ("dead", "waiting")
        return (self.job.message or "") if is_of_the_end else ""

    @property
    def advice(self) -> Advice | None:
        """What its reason means, and what to do."""
        return of_reason(self.job.reason)

    @property
    def took(self) -> float | None:
        """Seconds from when it was asked for until it had succeeded."""
        job = self.job
        return _between(job.created_at, job.finished_at) if job.state == "succeeded" else None

    @property
    def may_retry(self) -> bool:
        """Whether the ledger would take a retry."""
        return self.job.state in ("waiting", "dead", "cancelled")

    @property
    def may_cancel(self) -> bool:
        """Whether the ledger would take a cancellation."""
        return self.job.state in ("waiting", "dead")


def line(story: JobStory, places: Mapping[str, DestinationRow], now: datetime) -> Line:
    """Tell one job; `places` are the destinations that are known, by name."""
    job = story.job
    place = places.get(job.target) if job.action == "forward" else None
    return Line(
        job=job,
        tried=tuple(_tried(attempt) for attempt in story.attempts),
        next=_waiting(job, place, now) if job.state == "waiting" else _not_waiting(job, now),
        message_bytes=story.message_bytes,
    )


def _tried(attempt: AttemptRow) -> Tried:
    started = attempt.started_at
    answer, status = attempt.detail.get("answer"), attempt.detail.get("status")
    # The line on what was sent says the same, and more.
    is_said = status is not None and (attempt.message or "").endswith(f"answered {status}")
    return Tried(
        number=attempt.number,
        outcome=attempt.outcome,
        words=OUTCOMES.get(attempt.outcome, attempt.outcome),
        reason=attempt.reason,
        message=None if is_said else attempt.message,
        started_at=started,
        finished_at=attempt.finished_at,
        seconds=_between(started, attempt.finished_at),
        owner=attempt.owner,
        exchange=_exchange(attempt.detail),
        answer=str(answer) if answer else None,
        more=tuple(
            (name.replace("_", " "), _plain(value))
            for name, value in attempt.detail.items()
            if name not in _EXCHANGE
        ),
    )


def _between(begin: datetime | None, end: datetime | None) -> float | None:
    return None if begin is None or end is None else max(0.0, (end - begin).total_seconds())


def _exchange(detail: Mapping[str, Any]) -> str | None:
    """What was sent and answered, in one line: `POST https://… answered 503 in 0.2 s`."""
    if detail.get("status") is None:
        return None
    text = f"answered {detail['status']}"
    if detail.get("method"):
        text = f"{detail['method']} {detail.get('url', '')} {text}"
    took = detail.get("milliseconds")
    if isinstance(took, int | float) and abs(took) < _LONGEST_MS:
        text += f" in {duration(took / 1000)}"
    if detail.get("bytes"):
        text += f" ({detail['bytes']} bytes sent)"
    return text


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _waiting(job: JobRow, place: DestinationRow | None, now: datetime) -> Next:
    if place and place.paused_at:
        return Next(f"Waits in the queue: {job.target} is paused. It is sent after a resume.")
    which = "Next try" if job.attempts else "First try"
    if place and place.breaker != "closed":
        text = (
            f"Waits in the queue: {job.target} failed too often, and its breaker is "
            f"{place.breaker}. One job is sent to see whether it is back"
        )
        if place.probe_at is None or place.probe_at <= now:
            return Next(f"{text}, as soon as a worker is free.")
        return Next(text, place.probe_at)
    if job.run_at is None:
        return Next(f"{which} at an unknown time.")
    if job.run_at > now:
        return Next(which, job.run_at)
    return Next(f"{which} as soon as a worker is free; due", job.run_at)


def _not_waiting(job: JobRow, now: datetime) -> Next:
    match job.state:
        case "running":
            lease = f"; its lease ends {relative(job.lease_until, now)}" if job.lease_until else ""
            return Next(f"Attempt {job.attempts} is running ({job.owner or 'a worker'}{lease}).")
        case "dead":
            return Next("Given up. Mend the cause and retry it; nothing happens by itself.")
        case "superseded":
            return Next("Nothing more: something newer took its place.")
        case "skipped":
            return Next("Nothing more: there was nothing to do.")
        case "cancelled":
            return Next("Nothing more: a person cancelled it.")
        case _:
            return Next("Nothing more: it is done.")
