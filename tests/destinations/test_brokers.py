"""Queues: against a RabbitMQ and a Redis that run, and skipped aloud where there is none.

`TEST_AMQP_URL` and `TEST_REDIS_URL` name others than those of this machine.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from standardwebhooks import Webhook

from app.config import Destination
from app.destinations.message import Message
from app.destinations.sending import DestinationClient
from app.errors import DestinationRefused, DestinationUnavailable
from tests.config.loading import FILE_HUB, load
from tests.destinations.conftest import Secured
from tests.traces import STATE, assert_continues, within_a_trace

kombu: Any = pytest.importorskip("kombu", reason="dc-relay[queues] is not installed")

AMQP = os.environ.get("TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672//")
REDIS = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = Message(
    '{"type":"content.published","data":{"hub":"Frühling"}}'.encode(), "application/json", "msg-1"
)


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    with closing(socket.socket()) as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((parts.hostname or "", parts.port or 0)) == 0


NO_RABBIT = pytest.mark.skipif(not _listens(AMQP), reason="no RabbitMQ; set TEST_AMQP_URL")
NO_REDIS = pytest.mark.skipif(not _listens(REDIS), reason="no Redis; set TEST_REDIS_URL")
both = pytest.mark.parametrize(
    "url", [pytest.param(AMQP, marks=NO_RABBIT), pytest.param(REDIS, marks=NO_REDIS)]
)


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a queue that nobody has, and that is gone afterwards."""
    name = f"dc-relay-test-{uuid.uuid4().hex}"
    yield name
    for url in (AMQP, REDIS):
        if _listens(url):
            with kombu.Connection(url) as connection, connection.channel() as channel:
                channel.queue_delete(name)


def _to(url: str, **more: Any) -> Destination:
    usual: dict[str, Any] = {"name": "queue", "url": url, "allow_private": True, "timeout": 2}
    return Destination(**usual | more)


def _send(client: DestinationClient, destination: Destination, message: Message = MESSAGE) -> str:
    return client.send(destination, message, now=datetime.now(UTC)).body


def _read(url: str, name: str, count: int) -> list[Any]:
    found = []
    with kombu.Connection(url) as connection, connection.channel() as channel:
        for _ in range(count):
            message = channel.basic_get(name, no_ack=True)
            assert message is not None
            found.append(channel.message_to_python(message) if url == REDIS else message)
    return found


def _body(message: Any) -> bytes:
    body = message.body
    return body if isinstance(body, bytes) else str(body).encode()


@both
def test_message_in_the_queue_has_its_place_in_the_trace(
    client: DestinationClient, url: str, name: str
) -> None:
    with within_a_trace():
        _send(client, _to(url, queue=name))
        _send(client, _to(url, queue=name, headers=(("Traceparent", "of my own"),)))
    first, second = (message.headers for message in _read(url, name, 2))
    assert_continues(first["traceparent"])
    assert first["tracestate"] == STATE
    assert second["Traceparent"] == "of my own"
    assert {"traceparent", "tracestate"}.isdisjoint(second)


@both
def test_message_is_in_the_queue_signed_and_persistent(
    client: DestinationClient, url: str, name: str
) -> None:
    destination = _to(
        url,
        queue=name,
        signing_secrets=(SECRET,),
        headers=(("X-Hub", "{{ hub | urlencode }}"),),
        body='{"hub": "{{ hub }}"}',
    )
    answer = client.send(destination, MESSAGE, now=datetime.now(UTC))
    assert answer.body == ("confirmed" if url == AMQP else "queued")
    assert answer.status is None
    assert answer.detail()["method"] == "PUBLISH"
    (message,) = _read(url, name, 1)
    assert json.loads(_body(message)) == {"hub": "Frühling"}
    assert message.content_type == "application/json"
    assert message.headers["X-Hub"] == "Fr%C3%BChling"
    assert message.properties["delivery_mode"] == 2
    assert message.properties["message_id"] == "msg-1"
    assert Webhook(SECRET).verify(_body(message), message.headers)


@both
def test_threads_share_a_client_and_nothing_is_lost(
    client: DestinationClient, url: str, name: str
) -> None:
    destination = _to(url, queue=name)

    def send(number: int) -> None:
        _send(client, destination, Message(f"{number}".encode(), "text/plain", f"msg-{number}"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(send, range(60)))
    assert {int(_body(message)) for message in _read(url, name, 60)} == set(range(60))


@both
def test_message_goes_through_tls(
    client: DestinationClient, secured: Secured, url: str, name: str
) -> None:
    destination = _to(secured(url, "server", trusted=True), queue=name)
    assert _send(client, destination) in {"confirmed", "queued"}
    assert len(_read(url, name, 1)) == 1


@both
@pytest.mark.parametrize(("certificate", "trusted"), [("server", False), ("other", True)])
def test_broker_whose_certificate_is_not_good_gets_nothing(
    client: DestinationClient, secured: Secured, url: str, *, certificate: str, trusted: bool
) -> None:
    destination = _to(secured(url, certificate, trusted=trusted), queue="q")
    with pytest.raises(DestinationUnavailable, match="TLS failed"):
        _send(client, destination)


@NO_RABBIT
def test_message_that_no_queue_takes_is_refused(client: DestinationClient) -> None:
    destination = _to(AMQP, exchange="amq.direct", routing_key="nobody-listens-here")
    for _ in range(2):
        with pytest.raises(DestinationRefused, match="no queue is bound") as caught:
            _send(client, destination)
        assert caught.value.exchange["method"] == "PUBLISH"


@NO_RABBIT
def test_exchange_routes_to_the_queues_that_are_bound(client: DestinationClient, name: str) -> None:
    with kombu.Connection(AMQP) as connection, connection.channel() as channel:
        channel.queue_declare(queue=name, durable=True, auto_delete=False)
        channel.queue_bind(queue=name, exchange="amq.topic", routing_key=f"{name}.#")
    _send(client, _to(AMQP, exchange="amq.topic", routing_key=f"{name}.published"))
    (message,) = _read(AMQP, name, 1)
    assert _body(message) == MESSAGE.body


@NO_RABBIT
def test_queue_of_another_kind_is_left_as_it_is(client: DestinationClient, name: str) -> None:
    with kombu.Connection(AMQP) as connection, connection.channel() as channel:
        channel.queue_declare(
            queue=name, durable=True, auto_delete=False, arguments={"x-max-length": 5}
        )
    assert _send(client, _to(AMQP, queue=name)) == "confirmed"


@NO_RABBIT
def test_full_queue_is_tried_again_later(client: DestinationClient, name: str) -> None:
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    with kombu.Connection(AMQP) as connection, connection.channel() as channel:
        channel.queue_declare(queue=name, durable=True, auto_delete=False, arguments=full)
    destination = _to(AMQP, queue=name)
    assert _send(client, destination) == "confirmed"
    with pytest.raises(DestinationUnavailable, match="did not take"):
        _send(client, destination)


@NO_RABBIT
@pytest.mark.parametrize(
    ("url", "more"),
    [
        (AMQP, {"exchange": "no-such-exchange"}),
        (AMQP.replace("guest:guest@", "guest:wrong-password@"), {"queue": "q"}),
    ],
)
def test_what_the_broker_forbids_is_refused(
    client: DestinationClient, url: str, more: dict[str, Any]
) -> None:
    with pytest.raises(DestinationRefused) as caught:
        _send(client, _to(url, **more))
    assert "guest" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_broker_that_is_away_is_unavailable(client: DestinationClient, scheme: str) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(DestinationUnavailable) as caught:
        _send(client, _to(f"{scheme}://user:secret@127.0.0.1:{port}/0", queue="q"))
    assert "secret" not in f"{caught.value!r}"
    assert isinstance(caught.value.exchange["milliseconds"], int)


@both
def test_connection_that_was_closed_meanwhile_is_replaced(
    client: DestinationClient, url: str, name: str
) -> None:
    destination = _to(url, queue=name)
    _send(client, destination)
    brokers = client._brokers()
    (broker,) = brokers._brokers.values()
    line = broker._idle.get_nowait()
    if url == AMQP:
        line.connection.transport_options.clear()
        line.connection.connection.transport.sock.shutdown(socket.SHUT_RDWR)
    else:
        line.connection.default_channel.client.connection_pool.disconnect()
    broker._idle.put(line)
    _send(client, destination)
    assert len(_read(url, name, 2)) == 2


@pytest.mark.parametrize("url", ["amqp://127.0.0.1//", "redis://localhost/0", "amqp://[::1]//"])
def test_private_broker_must_be_allowed(client: DestinationClient, url: str) -> None:
    with pytest.raises(DestinationRefused, match="address is private"):
        _send(client, _to(url, queue="q", allow_private=False))


def test_queue_is_configured_by_its_url() -> None:
    file = f'{FILE_HUB}[destinations.q]\nurl = "amqp://u:pass%40word@mq.example//"\nqueue = "items"'
    settings = load({}, file)
    (place,) = settings.destinations
    assert (place.url, place.queue) == ("amqp://u:pass%40word@mq.example//", "items")
    assert "pass@word" in settings.secrets
    assert "pass" not in repr(place)
