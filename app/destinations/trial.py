"""Try a destination: send it one signed message that says of itself that it is a test.

It goes the way that every message goes, guards and signature included. This module must not touch
the ledger: a test is no attempt of a job.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.config import Destination
from app.config.templating import is_template
from app.destinations.message import Message
from app.destinations.sending import Answer
from app.errors import DestinationError, TemplateFailed, VerbRefused
from app.events import isoformat

TEST_TYPE = "dc-relay.test"


class Sender(Protocol):
    """Sends a message once; see `DestinationClient`."""

    def send(self, destination: Destination, message: Message, *, now: datetime) -> Answer:
        """Send it; raises `DestinationError` unless it was taken."""
        ...


@dataclass(frozen=True)
class Trial:
    """How a test went. `status` is None when there was no answer, `message` says what was wrong."""

    destination: str
    ok: bool
    webhook_id: str
    status: int | None = None
    milliseconds: int | None = None
    answer: str = ""
    message: str | None = None


def try_destination(sender: Sender, destination: Destination, *, now: datetime) -> Trial:
    """Send a message of type `dc-relay.test` and tell what was answered.

    Raises `VerbRefused` (`destination-templated`) for a destination with templates: filled with a
    test they would write into a system that cannot tell it from content.
    """
    if _is_templated(destination):
        text = (
            f"{destination.name} gets what its templates make, and a test would look like content"
            " there. `dc-relay check` tries the connection."
        )
        raise VerbRefused("destination-templated", text)
    webhook_id = f"msg_{uuid.uuid4().hex}"
    message = Message(_body(now), "application/json", webhook_id)
    try:
        answer = sender.send(destination, message, now=now)
    except DestinationError as error:
        return Trial(
            destination.name,
            ok=False,
            webhook_id=webhook_id,
            status=error.status,
            answer=error.answer,
            message=str(error),
        )
    except TemplateFailed as error:
        return Trial(destination.name, ok=False, webhook_id=webhook_id, message=str(error))
    return Trial(
        destination.name,
        ok=True,
        webhook_id=webhook_id,
        status=answer.status,
        milliseconds=answer.milliseconds,
        answer=answer.body,
    )


def _is_templated(destination: Destination) -> bool:
    written = (destination.url, *(value for _, value in destination.headers))
    return destination.body is not None or any(is_template(text) for text in written)


def _body(now: datetime) -> bytes:
    text = "A test of the connection, sent by hand. Nothing was published."
    envelope = {"type": TEST_TYPE, "timestamp": isoformat(now), "data": {"message": text}}
    return json.dumps(envelope, separators=(",", ":"), sort_keys=True).encode()
