"""Sends a message to a queue of a broker: RabbitMQ, Redis or SQS, by kombu.

Needs the extra `queues`; the configuration refuses a broker's URL without it, and nothing imports
this module before there is one. This module must not know what a message says.
"""

from __future__ import annotations

import queue
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from app.config import Destination
from app.config.request_fields import scheme_of
from app.destinations.connection import refuse_private
from app.destinations.hiding import masked_url
from app.destinations.rendering import Request
from app.errors import DestinationError, DestinationRefused, DestinationUnavailable, causes

# Neither has types, and neither need be installed for the rest of the service to be checked.
_kombu: Any = import_module("kombu")
_kombu_exceptions: Any = import_module("kombu.exceptions")
_amqp: Any = import_module("amqp.exceptions")

_PERSISTENT = 2


class BrokerClient:
    """Sends to any broker, safe to share between threads; connections are kept."""

    def __init__(self) -> None:
        self._brokers: dict[Destination, _Broker] = {}
        self._lock = Lock()

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            brokers = list(self._brokers.values())
            self._brokers.clear()
        for broker in brokers:
            broker.close()

    def send(self, destination: Destination, request: Request, headers: Mapping[str, str]) -> str:
        """Send one persistent message, and say what the broker has done with it.

        RabbitMQ confirms it. Raises `AddressRefused`, `DestinationRefused` (no queue is bound where
        it would go, no such exchange, not permitted) and `DestinationUnavailable`.
        """
        with self._lock:
            broker = self._brokers.get(destination)
            if broker is None:
                broker = self._brokers[destination] = _Broker(destination)
        try:
            broker.send(request, headers)
        except broker.errors as error:
            problem = _problem(error, destination)
        else:
            return "confirmed" if _is_amqp(destination) else "queued"
        # Not chained: such errors quote the address.
        raise problem

    def dial(self, destination: Destination) -> None:
        """Open a connection and close it; raises what kombu and the guard raise.

        That the broker says no, as to a wrong password, is a `DestinationError` as in `send`.
        """
        try:
            line = _dial(destination)
        except (_amqp.ChannelError, *_answers_of_sqs(destination)) as error:
            problem = _problem(error, destination)
        else:
            _hang_up(line)
            return
        raise problem


class _Unroutable(Exception):
    """The broker has given the message back: no queue is bound where it went."""


@dataclass(frozen=True)
class _Line:
    """One connection, and what the broker gave back on it."""

    connection: Any
    producer: Any
    returned: list[object] = field(default_factory=list)


class _Broker:
    """One destination's connections, and what they raise."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._idle: queue.LifoQueue[_Line] = queue.LifoQueue()
        known = _connection(destination)
        self.errors: tuple[type[Exception], ...] = (
            *known.connection_errors,
            *known.channel_errors,
            *(OSError, _kombu_exceptions.KombuError, _amqp.AMQPError),
            *(_amqp.MessageNacked, _Unroutable, *_answers_of_sqs(destination)),
        )

    def close(self) -> None:
        while True:
            try:
                _hang_up(self._idle.get_nowait())
            except queue.Empty:
                return

    def send(self, request: Request, headers: Mapping[str, str]) -> None:
        try:
            kept = self._idle.get_nowait()
        except queue.Empty:
            pass
        else:
            try:
                self._through(kept, request, headers)
            except (_amqp.ChannelError, _amqp.MessageNacked, _Unroutable):
                raise
            except self.errors:
                # It may have been closed while nobody used it. A second copy does no harm.
                pass
            else:
                return
        self._through(_dial(self._destination), request, headers)

    def _through(self, line: _Line, request: Request, headers: Mapping[str, str]) -> None:
        try:
            _publish(line, self._destination, request, headers)
        except _Unroutable:
            self._idle.put(line)
            raise
        except BaseException:
            _hang_up(line)
            raise
        self._idle.put(line)


def _publish(
    line: _Line, destination: Destination, request: Request, headers: Mapping[str, str]
) -> None:
    line.returned.clear()
    line.producer.publish(
        request.body,
        exchange=destination.exchange or "",
        routing_key=destination.queue or destination.routing_key or "",
        content_type=request.content_type or "application/octet-stream",
        content_encoding="utf-8",
        headers=dict(headers),
        delivery_mode=_PERSISTENT,
        message_id=headers["webhook-id"],
        mandatory=True,
        retry=False,
        timeout=destination.timeout,
        confirm_timeout=destination.timeout,
    )
    if line.returned:
        raise _Unroutable


def _dial(destination: Destination) -> _Line:
    parts = urlsplit(destination.url)
    if parts.hostname and not destination.allow_private:
        refuse_private(parts.hostname, parts.port)
    connection = _connection(destination)
    try:
        # Twice and no more: kombu would go on, and the worker has a schedule for that.
        connection.ensure_connection(
            max_retries=1, interval_start=0, interval_step=0, reraise_as_library_errors=False
        )
        if destination.queue and _is_amqp(destination):
            _make_queue(connection, destination.queue)
        returned: list[object] = []
        # kombu calls it with the error, the exchange, the routing key and the message.
        amqp = _is_amqp(destination)
        producer = _kombu.Producer(
            connection.channel(),
            on_return=(lambda *back: returned.append(back)) if amqp else None,
        )
    except BaseException:
        connection.release()
        raise
    return _Line(connection, producer, returned)


def _make_queue(connection: Any, name: str) -> None:
    """Make a durable queue, unless there is one of the name, of whatever kind."""
    try:
        with connection.channel() as channel:
            channel.queue_declare(queue=name, passive=True)
    except _amqp.NotFound:
        with connection.channel() as channel:
            channel.queue_declare(queue=name, durable=True, auto_delete=False)


def _connection(destination: Destination) -> Any:
    """Not connected yet. What kombu does by itself, such as trying again, is for the worker."""
    seconds = destination.timeout
    options: dict[str, Any] = {}
    secured: dict[str, Any] | None = None
    if _is_amqp(destination):
        options = {"confirm_publish": True, "read_timeout": seconds, "write_timeout": seconds}
        if scheme_of(destination.url) == "amqps":
            # kombu fills in the name that the certificate is to be for.
            secured = {"server_hostname": None, "cert_reqs": ssl.CERT_REQUIRED}
    elif scheme_of(destination.url).startswith("redis"):
        options = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        if scheme_of(destination.url) == "rediss":
            secured = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    else:
        # boto3 would wait for a minute, five times.
        once = {"retries": {"total_max_attempts": 1}}
        options = {"client-config": {"connect_timeout": seconds, "read_timeout": seconds, **once}}
    return _kombu.Connection(
        destination.url, connect_timeout=seconds, ssl=secured, transport_options=options
    )


def _hang_up(line: _Line) -> None:
    # It is of no use any more, whatever is wrong with it.
    with suppress(Exception):
        line.connection.release()


def _is_amqp(destination: Destination) -> bool:
    return scheme_of(destination.url).startswith("amqp")


def _problem(error: Exception, destination: Destination) -> DestinationError:
    """What an error of kombu or of the library below it means for the message."""
    name = type(error).__name__
    if isinstance(error, _Unroutable):
        return _error(DestinationRefused, destination, "no queue is bound where it goes")
    if isinstance(error, _amqp.ChannelError):
        return _error(DestinationRefused, destination, f"it refuses ({name})")
    if isinstance(error, _answers_of_sqs(destination)):
        return _told_by_sqs(error, destination)
    # The builtin one, and each library's own.
    if "Timeout" in name:
        return _error(DestinationUnavailable, destination, "timed out", timed_out=True)
    return _error(DestinationUnavailable, destination, _why_not(error))


def _why_not(error: Exception) -> str:
    if isinstance(error, _amqp.MessageNacked):
        return "it did not take the message"
    # Each library wraps those of `ssl` in its own way.
    if any(isinstance(cause, ssl.SSLError) for cause in causes(error)):
        return "TLS failed"
    return f"no answer ({type(error).__name__})"


def _answers_of_sqs(destination: Destination) -> tuple[type[Exception], ...]:
    """What botocore raises when SQS says no; kombu names only what concerns the connection."""
    if scheme_of(destination.url) != "sqs":
        return ()
    return (import_module("botocore.exceptions").ClientError,)


def _told_by_sqs(error: Any, destination: Destination) -> DestinationError:
    """What SQS answered: its code tells too many requests from bad ones, the status does not.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
    """
    code = str(error.response.get("Error", {}).get("Code", "unknown"))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    if status >= 500 or "Throttl" in code:
        return _error(DestinationUnavailable, destination, f"it answered {code}")
    return _error(DestinationRefused, destination, f"it refuses ({code})")


def _error(
    kind: type[DestinationError], destination: Destination, text: str, *, timed_out: bool = False
) -> DestinationError:
    return kind(
        f"{masked_url(destination.url)}: {text}", destination=destination.name, timed_out=timed_out
    )
