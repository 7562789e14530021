from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

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


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _certificate(folder: Path, name: str, *extensions: str) -> None:
    """A certificate by the authority of this folder, with its key beside it."""
    _openssl(
        folder,
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "1", "-subj", f"/CN={name}"),
        *(() if name == "ca" else ("-CA", "ca.pem", "-CAkey", "ca.key")),
        *(part for extension in extensions for part in ("-addext", extension)),
    )


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates by it: of this server and of a client."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not on the PATH")
    folder = tmp_path_factory.mktemp("pem")
    _certificate(folder, "ca", "keyUsage=critical,keyCertSign", "basicConstraints=critical,CA:TRUE")
    leaf = ("basicConstraints=critical,CA:FALSE", "authorityKeyIdentifier=keyid")
    _certificate(folder, "server", *leaf, "subjectAltName=IP:127.0.0.1")
    _certificate(folder, "client", *leaf)
    both = (folder / "client.pem").read_text() + (folder / "client.key").read_text()
    (folder / "both.pem").write_text(both)
    return folder
