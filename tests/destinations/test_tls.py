"""Destinations with an authority of their own, which may want to know who we are."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.config import Destination
from app.destinations.message import Message
from app.destinations.sending import DestinationClient
from app.errors import DestinationUnavailable
from app.transport import before_sending
from tests.config.loading import FILE_DESTINATION, FILE_HUB, load

MESSAGE = Message(b"{}", "application/json", "msg-1")


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        certificate: Any = self.connection.getpeercert()
        names = {name: value for ((name, value),) in (certificate or {}).get("subject", ())}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(names.get("commonName", "nobody").encode())

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Say nothing: some clients are meant to hang up."""


@contextmanager
def _listening(pem: Path, *, wants_client: bool) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem / "server.pem", pem / "server.key")
    context.load_verify_locations(pem / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED if wants_client else ssl.CERT_OPTIONAL
    server = _Server(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def strict(pem: Path) -> Iterator[str]:
    with _listening(pem, wants_client=True) as url:
        yield url


@pytest.fixture(scope="module")
def lax(pem: Path) -> Iterator[str]:
    with _listening(pem, wants_client=False) as url:
        yield url


def _send(client: DestinationClient, url: str, **files: Path) -> str:
    destination = Destination(
        name="inner",
        url=url,
        allow_private=True,
        timeout=5,
        **{name: str(path) for name, path in files.items()},  # type: ignore[arg-type]
    )
    return client.send(destination, MESSAGE, now=datetime.now(UTC)).body


def test_own_authority_is_trusted_only_where_it_is_named(
    client: DestinationClient, pem: Path, lax: str
) -> None:
    assert _send(client, lax, ca_file=pem / "ca.pem") == "nobody"
    with pytest.raises(DestinationUnavailable, match="TLS failed"):
        _send(client, lax)
    with pytest.raises(DestinationUnavailable, match="TLS failed"):
        _send(client, lax, ca_file=pem / "client.pem")


def test_client_certificate_is_shown(client: DestinationClient, pem: Path, strict: str) -> None:
    known = {"ca_file": pem / "ca.pem", "client_cert": pem / "client.pem"}
    assert _send(client, strict, **known, client_key=pem / "client.key") == "client"
    assert _send(client, strict, ca_file=pem / "ca.pem", client_cert=pem / "both.pem") == "client"


def test_connection_with_a_certificate_is_not_lent_to_one_without(
    client: DestinationClient, pem: Path, strict: str, lax: str
) -> None:
    ca = pem / "ca.pem"
    assert _send(client, lax, ca_file=ca, client_cert=pem / "both.pem") == "client"
    assert _send(client, lax, ca_file=ca) == "nobody"
    with pytest.raises(DestinationUnavailable):
        _send(client, strict, ca_file=ca)


def test_file_that_has_gone_is_tried_again_later(
    client: DestinationClient, pem: Path, lax: str
) -> None:
    with pytest.raises(DestinationUnavailable, match="certificate file cannot be read") as caught:
        _send(client, lax, ca_file=pem / "gone.pem")
    assert "gone.pem" not in str(caught.value)


def test_files_that_are_there_load(pem: Path) -> None:
    files = "\n".join(
        f'{name} = "{pem / file}"'
        for name, file in (
            ("ca_file", "ca.pem"),
            ("client_cert", "client.pem"),
            ("client_key", "client.key"),
        )
    )
    (place,) = load({}, FILE_HUB + FILE_DESTINATION + files).destinations
    assert (place.ca_file, place.client_key) == (str(pem / "ca.pem"), str(pem / "client.key"))


class _Changed(Exception):
    """Something is no longer true."""


def test_what_must_hold_before_sending_is_checked_after_the_handshake(
    client: DestinationClient, pem: Path, lax: str
) -> None:
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        raise _Changed

    with before_sending(check):
        with pytest.raises(DestinationUnavailable, match="TLS failed"):
            _send(client, lax)
        assert checks == 0
        with pytest.raises(_Changed):
            _send(client, lax, ca_file=pem / "ca.pem")
        assert checks == 1
    assert _send(client, lax, ca_file=pem / "ca.pem") == "nobody"
