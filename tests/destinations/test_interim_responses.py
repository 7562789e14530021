"""Interim responses (1xx) are passed over, and each answer is that of its own message."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import pytest

from app.config import Destination
from app.destinations.exchange import LONGEST_BODY
from app.destinations.message import Message
from app.destinations.sending import Answer, DestinationClient
from app.errors import DestinationUnavailable
from app.transport import MOST_INTERIM, DeadlineConnection
from tests.destinations.conftest import Serve
from tests.servers import Received, Reply

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def send(client: DestinationClient, url: str, *, timeout: float = 5) -> Answer:
    place = Destination(name="search", url=url, allow_private=True, timeout=timeout)
    message = Message(b"{}", "application/json", "msg-1")
    return client.send(place, message, now=datetime.now(UTC))


@pytest.mark.parametrize(
    "interim",
    [
        CONTINUE,
        PROCESSING,
        EARLY_HINTS,
        CONTINUE + PROCESSING + EARLY_HINTS * 2,
        EARLY_HINTS * MOST_INTERIM,
        b"HTTP/1.1 199 Odd\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_final_answer_decides(serve: Serve, client: DestinationClient, interim: bytes) -> None:
    server = serve(lambda _: Reply(201, b"taken", interim=interim))
    for _ in range(2):
        answer = send(client, server.url)
        assert (answer.status, answer.body) == (201, "taken")
    assert len({request.port for request in server.received}) == 1


def test_each_message_gets_its_own_answer(serve: Serve, client: DestinationClient) -> None:
    def answering(_: Received) -> Reply:
        status = 200 if len(server.received) == 1 else 500
        # The final answer comes late: byte by byte, after the interim one.
        return Reply(status, b"own", drip=0.002, drip_head=True, interim=EARLY_HINTS)

    server = serve(answering)
    assert send(client, server.url).status == 200
    with pytest.raises(DestinationUnavailable) as caught:
        send(client, server.url)
    assert (caught.value.status, len(server.received)) == (500, 2)


@pytest.mark.parametrize(
    "interim",
    [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", EARLY_HINTS * (MOST_INTERIM + 1)],
)
def test_broken_answer_is_none_and_its_connection_is_closed(
    serve: Serve, client: DestinationClient, interim: bytes
) -> None:
    broken = Reply(200, interim=interim)
    server = serve(lambda _: broken if len(server.received) == 1 else Reply(200))
    with pytest.raises(DestinationUnavailable) as caught:
        send(client, server.url)
    assert caught.value.status is None
    assert send(client, server.url).status == 200
    first, second = (request.port for request in server.received)
    assert first != second


def test_interim_responses_do_not_make_the_time_longer(
    serve: Serve, client: DestinationClient
) -> None:
    slow = Reply(200, b"", drip=0.1, drip_head=True, interim=EARLY_HINTS)
    server = serve(lambda _: slow)
    with pytest.raises(DestinationUnavailable) as caught:
        send(client, server.url, timeout=0.3)
    assert caught.value.timed_out


@pytest.mark.parametrize("beyond", [1, 300_000])
def test_body_that_is_cut_off_at_the_limit_closes_its_connection(
    serve: Serve, client: DestinationClient, beyond: int
) -> None:
    server = serve(lambda _: Reply(200, b"x" * (LONGEST_BODY + beyond)))
    for _ in range(2):
        assert send(client, server.url).status == 200
    assert len({request.port for request in server.received}) == 2


def test_kept_connection_sends_within_the_time_of_this_request(serve: Serve) -> None:
    server = serve(lambda _: Reply(200))
    connection = DeadlineConnection("127.0.0.1", server.port, timeout=2)
    with closing(connection):
        for seconds in (2, 5):
            connection.timeout = seconds
            connection.request("POST", "/", body=b"x")
            assert connection.sock.gettimeout() == seconds
            # Reading leaves the connection with what was left of its time.
            assert connection.getresponse().read() == b""
