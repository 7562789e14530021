"""A sandbox and the service joined to it, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox import SandboxOptions, SandboxServer
from tests.relay import SECRET, Relay, environment, running


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """A pretend Amplience that is quick to localize and publish."""
    options = SandboxOptions(localize_delay=0.05, publish_delay=0.02, webhook_retry_delays=(0.1,))
    with SandboxServer(options, port=0) as server:
        yield server


@pytest.fixture
def relay(sandbox: SandboxServer, database_url: str) -> Iterator[Relay]:
    """The service, registered with the sandbox for all events."""
    with running(environment(sandbox, database_url)) as service:
        sandbox.add_webhook(f"{service.url}/webhooks", SECRET)
        yield service
