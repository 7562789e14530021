"""Amazon's SQS: against moto's server, which answers as SQS does, over HTTP."""

from __future__ import annotations

import base64
import json
import socket
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from standardwebhooks import Webhook

from app.cli.dialling import dial
from app.config import Destination
from app.destinations.message import Message
from app.destinations.sending import DestinationClient
from app.errors import DestinationError, DestinationRefused, DestinationUnavailable
from tests.destinations.conftest import Serve
from tests.servers import json_reply

# It has no types.
boto3: Any = pytest.importorskip("boto3", reason="kombu[sqs] is not installed")

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = Message('{"hub":"Frühling"}'.encode(), "application/json", "msg-1")


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """Where the server listens."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def queues(place: str) -> Any:
    """What an operator of the account sees."""
    return boto3.client(
        "sqs",
        endpoint_url=f"http://{place}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )


def _to(place: str, **more: Any) -> Destination:
    usual: dict[str, Any] = {"name": "queue", "allow_private": True, "timeout": 2}
    usual["queue"] = f"test-{uuid.uuid4().hex}"
    return Destination(url=f"sqs://key:secret@{place}", **usual | more)


def _send(client: DestinationClient, destination: Destination, message: Message = MESSAGE) -> str:
    return client.send(destination, message, now=datetime.now(UTC)).body


def _read(queues: Any, name: str) -> list[dict[str, Any]]:
    url = queues.get_queue_url(QueueName=name)["QueueUrl"]
    found = queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(base64.b64decode(message["Body"])) for message in found]


def test_message_is_in_a_queue_that_was_made_and_is_signed(
    client: DestinationClient, place: str, queues: Any
) -> None:
    destination = _to(place, signing_secrets=(SECRET,))
    assert _send(client, destination) == "queued"
    (message,) = _read(queues, str(destination.queue))
    body = base64.b64decode(message["body"])
    assert body == MESSAGE.body
    assert message["properties"]["message_id"] == "msg-1"
    assert Webhook(SECRET).verify(body, message["headers"])


def test_queue_that_was_deleted_meanwhile_is_made_again(
    client: DestinationClient, place: str, queues: Any
) -> None:
    destination = _to(place)
    _send(client, destination)
    queues.delete_queue(QueueUrl=queues.get_queue_url(QueueName=destination.queue)["QueueUrl"])
    _send(client, destination)
    assert len(_read(queues, str(destination.queue))) == 1


def test_message_that_is_too_long_is_refused(client: DestinationClient, place: str) -> None:
    with pytest.raises(DestinationRefused, match=r"it refuses \(InvalidParameterValue\)"):
        _send(client, _to(place), Message(b"x" * 1_100_000, "text/plain", "msg-1"))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", DestinationRefused),
        (403, "InvalidClientTokenId", DestinationRefused),
        # Its status is that of a bad request.
        (400, "ThrottlingException", DestinationUnavailable),
        (403, "RequestThrottled", DestinationUnavailable),
        (503, "ServiceUnavailable", DestinationUnavailable),
    ],
)
def test_answer_is_told_by_its_code(
    client: DestinationClient, serve: Serve, status: int, code: str, kind: type[DestinationError]
) -> None:
    answer = json_reply({"__type": f"com.amazonaws.sqs#{code}", "message": "no"}, status)
    server = serve(lambda _: answer)
    destination = _to(server.url.removeprefix("http://"))
    for ask in (lambda: _send(client, destination), lambda: dial(destination, timeout=2)):
        with pytest.raises(kind, match=code) as caught:
            ask()
        assert "secret" not in str(caught.value)
        assert caught.value.__context__ is None


# boto3 by itself would wait for a minute, five times.
@pytest.mark.timeout(20)
def test_server_that_says_nothing_is_not_waited_for(client: DestinationClient) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        destination = _to(f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.3)
        with pytest.raises(DestinationUnavailable, match="timed out") as caught:
            _send(client, destination)
    assert caught.value.timed_out
