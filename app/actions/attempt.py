"""One try of one job, as an action sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from app.config import Destination
from app.db import Storage
from app.queue import (
    Job,
    keep_message,
    keep_unless_newer,
    kept_message,
    newer_was_sent,
    renew_lease,
)
from app.queue.claim import due_next
from app.retry import Failed, Outcome


@dataclass(frozen=True)
class Attempt:
    """A claimed job, and what its action may ask of the ledger."""

    job: Job
    storage: Storage

    def hold(self, *, progress: Mapping[str, Any] | None = None) -> None:
        """Call this right before a side effect; raises `JobLost` when the job is another's now.

        `progress`, where given, replaces what the job remembers: the next attempt finds it even
        if this one's process ends within the side effect.
        """
        renew_lease(self.storage, self.job, progress=progress)

    def newer_was_sent(self) -> bool:
        """Tell whether the job's destination has taken a newer version of its item already."""
        return newer_was_sent(self.storage, self.job)

    def due_next(self, limit: int) -> list[tuple[int, Mapping[str, Any]]]:
        """Look at the jobs that will likely run next beside this one: their ids and arguments."""
        return due_next(self.storage, self.job, limit=limit)

    def kept_message(self) -> tuple[bytes, str] | None:
        """Return the body and content type that an earlier attempt of this job made, if any."""
        if self.job.attempt == 1:
            return None  # there was none
        return kept_message(self.storage, self.job)

    def keep_message(self, *, body: bytes, content_type: str) -> None:
        """Keep what is about to be sent, for every retry; holds the job as well."""
        keep_message(self.storage, self.job, body=body, content_type=content_type)

    def keep_unless_newer(self, *, body: bytes, content_type: str) -> bool:
        """Keep it unless `newer_was_sent`, in one step with that question; tells if it was kept."""
        return keep_unless_newer(self.storage, self.job, body=body, content_type=content_type)


class Action(Protocol):
    """What a job runs. Known failures leave as `AppError`; the worker turns them into outcomes."""

    def run(self, attempt: Attempt) -> Outcome:
        """Do the job's work, or what is left of it."""
        ...


class Sending(Protocol):
    """What a job runs that is for a destination."""

    def run(self, attempt: Attempt, destination: Destination) -> Outcome:
        """Do the job's work, or what is left of it."""
        ...


class ToDestination:
    """The action of jobs whose target is a destination; `destinations` by name."""

    def __init__(self, destinations: Mapping[str, Destination], sending: Sending) -> None:
        self._destinations = destinations
        self._sending = sending

    def run(self, attempt: Attempt) -> Outcome:
        """Run it with its destination; where that is configured no more, it waits for a person."""
        name = attempt.job.target
        destination = self._destinations.get(name)
        if destination is None:
            text = f"no destination is called {name!r}; add it and retry, or cancel the job"
            return Failed("unknown-destination", text, transient=False)
        return self._sending.run(attempt, destination)
