"""What a destination answers, and what it means. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.config import Destination
from app.errors import (
    DestinationError,
    DestinationGone,
    DestinationRefused,
    DestinationUnavailable,
)

LONGEST_EXCERPT = 2000
# What a peer may ask us to repeat later (with the 5xx).
_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Answer:
    """What a destination answered: the beginning of its body, and how long it all took.

    `bytes` are those of the body that was sent, before any compression.
    """

    status: int
    body: str = field(repr=False)
    milliseconds: int
    method: str = "POST"
    url: str = "…"
    bytes: int = 0

    def detail(self) -> dict[str, object]:
        """What was sent and answered, without secrets: to be kept with the attempt."""
        return {
            "method": self.method,
            "url": self.url,
            "bytes": self.bytes,
            "status": self.status,
            "milliseconds": self.milliseconds,
            "answer": self.body,
        }


def refusal(
    destination: Destination, answer: Answer, status: int, wait: float | None
) -> DestinationError:
    """The error that an answer with this status is; `wait` of its `Retry-After`, in seconds."""
    if status in _LATER or status >= 500:
        kind: type[DestinationError] = DestinationUnavailable
    else:
        kind = DestinationGone if status == 410 else DestinationRefused
        wait = None
    note = " (redirects are not followed)" if 300 <= status < 400 else ""
    return kind(
        f"{answer.url} answered {status}{note}",
        destination=destination.name,
        status=status,
        retry_after=wait,
        answer=answer.body,
        exchange=answer.detail(),
    )
