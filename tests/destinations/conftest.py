from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from app.destinations.sending import DestinationClient
from tests.servers import Answering, ScriptedServer

Serve = Callable[[Answering], ScriptedServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(answering: Answering) -> ScriptedServer:
            server = ScriptedServer(answering)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def client() -> Iterator[DestinationClient]:
    opened = DestinationClient()
    yield opened
    opened.close()
