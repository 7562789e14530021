from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sandbox import SandboxOptions, SandboxServer

from .client import Client

QUICK: dict[str, Any] = {
    "localize_delay": 0.01,
    "publish_delay": 0.01,
    "webhook_retry_delays": (0.01, 0.02),
}


@pytest.fixture
def start() -> Iterator[Callable[..., Client]]:
    """Start sandboxes with options of the test's own."""
    with ExitStack() as stack:

        def started(**options: Any) -> Client:
            sandbox = stack.enter_context(SandboxServer(SandboxOptions(**{**QUICK, **options})))
            client = Client(sandbox)
            stack.callback(client.session.close)
            return client

        yield started


@pytest.fixture(scope="session")
def shared() -> Iterator[SandboxServer]:
    """One sandbox for all tests that need no options of their own."""
    with SandboxServer(SandboxOptions(**QUICK)) as sandbox:
        yield sandbox


@pytest.fixture
def client(shared: SandboxServer) -> Iterator[Client]:
    client = Client(shared)
    yield client
    client.session.close()
    shared.reset()
