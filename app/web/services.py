"""What the web needs from the rest of the service, and nothing more.

These are shapes, not implementations: the composition root hands in whatever fits, and so do tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.config import Destination, Settings
from app.db import Storage
from app.destinations.trial import Trial
from app.events import WebhookEvent
from app.queue import Accepted, Readiness
from app.rules import Plan


class DoorLedger(Protocol):
    """Where events are written down. Every method raises `StorageUnavailable` when it is away."""

    def accept(self, event: WebhookEvent, plans: Sequence[Plan]) -> Accepted:
        """Commit the event with its jobs. `WebhookRejected` if the database cannot hold it."""

    def ping(self) -> None:
        """Return if the database answers."""

    def readiness(self) -> Readiness:
        """How the work goes."""


class OperatorServices(Protocol):
    """What the operator's pages and API are built from."""

    @property
    def settings(self) -> Settings:
        """The settings, read once at start."""

    @property
    def storage(self) -> Storage:
        """The database, for the queries and verbs of an operator."""

    def send_test(self, destination: Destination) -> Trial:
        """Send the destination a test message now; `VerbRefused` if it cannot take one."""


class DoorServices(OperatorServices, Protocol):
    """What `create_app` is built from."""

    @property
    def ledger(self) -> DoorLedger:
        """The ledger."""
