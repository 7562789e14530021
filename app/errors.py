"""Every failure has a name here, and the name says whose fault it is.

The bottom floor: it must know nothing of the rest of the service. `transient` says whether the
same call may succeed later by itself, and `refusing` whether Amplience's refusal may be about all
calls; the worker's retry decision reads nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


class AppError(Exception):
    """The service failed in a way that it knows."""

    transient = False


@dataclass(frozen=True)
class ConfigProblem:
    """One fault of the configuration: where it is, what is wrong, what to write instead."""

    place: str
    message: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f" {self.advice}" if self.advice else "")


class ConfigError(AppError):
    """The configuration cannot be used; `problems` lists every fault that was found."""

    def __init__(self, problems: list[ConfigProblem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


class RefusedRequest(AppError):
    """A request to us that is not taken: `status` is the answer, `reason` the stable slug.

    The slug is also the log field and the metric label, so it comes from code, never from input.
    `fields` names what is wrong inside a payload: place to messages.
    """

    def __init__(
        self,
        *,
        status: int,
        reason: str,
        detail: str,
        fields: dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.fields = fields


class WebhookRejected(RefusedRequest):
    """A webhook that is not accepted."""


class AmplienceError(AppError):
    """Amplience refused or did not answer.

    `status` is None when there was no answer. `code` is Amplience's own error code where the body
    carried one. `maybe_done` is true when the call may have been carried out all the same (no
    answer, or a 5xx): a write must then not be repeated before reading the state again.
    `refusing` is true when the refusal is not surely about the item of the call: a missing
    permission, a firewall's page, a gateway without its routes. Jobs are then tried again for an
    hour; it must never be read as a fact about the item.
    """

    refusing = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        maybe_done: bool = False,
        refusing: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        if refusing is not None:
            self.refusing = refusing
        self.retry_after = retry_after
        self.maybe_done = maybe_done


class Unauthorized(AmplienceError):
    """Amplience does not accept our credentials or permission (400 at /oauth/token, 401, 403).

    No item is named by that, and a firewall answers the same, so it is always `refusing`.
    """

    refusing = True


class NotFound(AmplienceError):
    """Amplience has no such thing, or not yet."""


class VersionConflict(AmplienceError):
    """Somebody saved the content item meanwhile: read it again and use its version."""


class Refused(AmplienceError):
    """Amplience understood the call and will not do it (another 4xx)."""


class RateLimited(AmplienceError):
    """Too many calls (429); `retry_after` in seconds where Amplience gave one."""

    transient = True


class Unavailable(AmplienceError):
    """No answer, or a 5xx."""

    transient = True


class DestinationError(AppError):
    """A destination did not take what it was sent. `status` is None when there was no answer.

    `timed_out`: it was too slow, so it may have taken it all the same. `exchange` is what was sent
    and answered, as far as it came to that: without secrets, to be kept with the attempt.
    """

    # A stable slug, where there is a better one than that the destination refused.
    reason: str | None = None

    def __init__(
        self,
        message: str,
        *,
        destination: str,
        status: int | None = None,
        retry_after: float | None = None,
        answer: str = "",
        timed_out: bool = False,
        exchange: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.destination = destination
        self.status = status
        self.retry_after = retry_after
        self.answer = answer
        self.timed_out = timed_out
        self.exchange = dict(exchange or {})


class DestinationRefused(DestinationError):
    """The destination will not take it, now or later."""


class TemplateFailed(DestinationRefused):
    """A template of the destination cannot be filled with this content: nothing was sent.

    `reason` is `template-undefined` (a value is not there, or null) or `template-invalid`.
    """

    def __init__(self, message: str, *, destination: str, reason: str) -> None:
        super().__init__(message, destination=destination)
        self.reason = reason


class DestinationGone(DestinationRefused):
    """The destination answered 410: it wants nothing more (Standard Webhooks)."""


class DestinationUnavailable(DestinationError):
    """No answer, 408, 425, 429 or 5xx: later it may."""

    transient = True


class StorageUnavailable(AppError):
    """The database did not take or give what was asked: gone, full, locked or too slow."""

    transient = True


class WriteConflict(StorageUnavailable):
    """Two transactions waited for each other, and this one gave way: done again, it passes."""


class SchemaMismatch(AppError):
    """The database's schema is not the one this code knows; the message says what to run."""


class JobLost(AppError):
    """This worker no longer owns the job: its lease ran out and another may have taken it."""


class LeaseTooOld(JobLost):
    """The lease was renewed too long ago to start a side effect; the job may still be ours."""


class NoSuchRecord(AppError):
    """There is no such event, job or destination; `reason` is a slug such as `job-unknown`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class VerbRefused(AppError):
    """A person asked for what the state of the thing does not allow; `reason` is a slug."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


# A chain this long has a loop in it.
_LONGEST_CHAIN = 12


def causes(problem: BaseException) -> Iterator[BaseException]:
    """The exception and what lies below it: each library wraps those of the system in its own."""
    current: BaseException | None = problem
    for _ in range(_LONGEST_CHAIN):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__
