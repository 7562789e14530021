from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from flask.testing import FlaskClient

from app.bootstrap import WebLedger, send_test
from app.config import Destination, Settings
from app.db import Storage, upgrade_schema
from app.destinations.trial import Trial
from app.errors import StorageUnavailable
from app.events import WebhookEvent
from app.queue import Accepted, Readiness
from app.rules import Plan
from app.web import DoorLedger, create_app
from tests.builders import make_settings


@dataclass(frozen=True)
class Real:
    """The ledger as the service joins it, and the database under it."""

    ledger: WebLedger
    storage: Storage


@dataclass
class FakeLedger:
    """A ledger that says what a test wants it to say, or fails."""

    answer: Accepted = field(default_factory=lambda: Accepted("accepted", 1))
    ready: Readiness = field(default_factory=lambda: Readiness(1.0, None))
    error: Exception | None = None
    accepted: list[tuple[WebhookEvent, Sequence[Plan]]] = field(default_factory=list)

    def accept(self, event: WebhookEvent, plans: Sequence[Plan]) -> Accepted:
        self.ping()
        self.accepted.append((event, plans))
        return self.answer

    def ping(self) -> None:
        if self.error:
            raise self.error

    def readiness(self) -> Readiness:
        self.ping()
        return self.ready


@dataclass(frozen=True)
class Services:
    settings: Settings
    ledger: DoorLedger
    storage: Storage = field(default_factory=lambda: Storage("sqlite:///never-opened.db"))

    def send_test(self, destination: Destination) -> Trial:
        return send_test(destination)


def client_for(ledger: DoorLedger, settings: Settings | None = None) -> FlaskClient:
    app = create_app(Services(settings=settings or make_settings(), ledger=ledger))
    return app.test_client()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """One SQLite database for a module's tests; each uses event ids of its own."""
    storage = Storage(f"sqlite:///{tmp_path_factory.mktemp('web')}/relay.db")
    upgrade_schema(storage)
    ledger = WebLedger(storage)
    yield Real(ledger, storage)
    ledger.close()


@pytest.fixture
def client(real: Real) -> FlaskClient:
    """A door with one hub and the real ledger."""
    return client_for(real.ledger)


@pytest.fixture
def away() -> FakeLedger:
    """A ledger whose database does not answer."""
    return FakeLedger(error=StorageUnavailable("connection to 10.1.2.3 refused"))


_numbers = itertools.count(1)


@pytest.fixture
def new_id() -> Callable[[], str]:
    """Makes event ids that no other test uses."""
    return lambda: f"event-{next(_numbers)}"
