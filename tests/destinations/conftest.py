from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.destinations.sending import DestinationClient
from tests.certificates import make_certificates
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


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates by it: of this server and of a client."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not on the PATH")
    folder = tmp_path_factory.mktemp("pem")
    make_certificates(folder)
    return folder
