"""What Flask's test client cannot show: bodies in chunks, and lengths that lie."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator

import pytest
from werkzeug.serving import BaseWSGIServer, make_server

from app.events import SNAPSHOT_PUBLISHED
from app.web import MAX_BODY, create_app
from tests.builders import make_body, make_settings, signed
from tests.web.conftest import FakeLedger, Services


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
def server(ledger: FakeLedger) -> Iterator[BaseWSGIServer]:
    serving = make_server("127.0.0.1", 0, create_app(Services(make_settings(), ledger)))
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


@pytest.fixture
def connection(server: BaseWSGIServer) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    yield opened
    opened.close()


def padded(size: int) -> bytes:
    body = make_body(SNAPSHOT_PUBLISHED)
    return body + b" " * (size - len(body))


def in_chunks(
    connection: http.client.HTTPConnection, body: bytes, *, ending: bytes = b"0\r\n\r\n"
) -> tuple[int, dict[str, object]]:
    connection.putrequest("POST", "/webhooks")
    for name, value in {**signed(body), "Transfer-Encoding": "chunked"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    for start in range(0, len(body), 65_536):
        chunk = body[start : start + 65_536]
        connection.send(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
    connection.send(ending)
    return answer_of(connection)


def answer_of(connection: http.client.HTTPConnection) -> tuple[int, dict[str, object]]:
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_body_in_chunks_up_to_the_limit_is_taken(
    connection: http.client.HTTPConnection, ledger: FakeLedger
) -> None:
    body = padded(MAX_BODY)
    assert in_chunks(connection, body)[0] == 202
    assert ledger.accepted[0][0].body == body


def test_body_in_chunks_over_the_limit_is_too_large(
    connection: http.client.HTTPConnection, ledger: FakeLedger
) -> None:
    status, document = in_chunks(connection, padded(MAX_BODY + 1))
    assert (status, document["reason"]) == (413, "body-too-large")
    assert ledger.accepted == []


def test_body_that_breaks_its_chunks_is_a_bad_request(
    connection: http.client.HTTPConnection, ledger: FakeLedger
) -> None:
    status, document = in_chunks(connection, make_body(), ending=b"nonsense\r\n")
    assert (status, document["reason"]) == (400, "body-unreadable")
    assert ledger.accepted == []


def test_declared_oversize_is_refused_without_reading(
    connection: http.client.HTTPConnection,
) -> None:
    connection.putrequest("POST", "/webhooks")
    connection.putheader("Content-Length", str(10 * MAX_BODY))
    connection.endheaders()  # and not one byte of the body
    status, document = answer_of(connection)
    assert (status, document["reason"]) == (413, "body-too-large")


def test_length_that_says_too_little_cuts_the_body_and_breaks_its_signature(
    connection: http.client.HTTPConnection, ledger: FakeLedger
) -> None:
    body = make_body()
    connection.putrequest("POST", "/webhooks")
    for name, value in {**signed(body), "Content-Length": str(len(body) - 1)}.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    status, document = answer_of(connection)
    assert (status, document["reason"]) == (401, "signature-mismatch")
    assert ledger.accepted == []


def test_no_length_at_all_is_an_empty_body(
    connection: http.client.HTTPConnection, ledger: FakeLedger
) -> None:
    connection.putrequest("POST", "/webhooks")
    for name, value in signed(make_body()).items():
        connection.putheader(name, value)
    connection.endheaders()
    status, document = answer_of(connection)
    assert (status, document["reason"]) == (401, "signature-mismatch")
    assert ledger.accepted == []
