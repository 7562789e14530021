"""Sends signed webhooks over plain sockets, because a client library would dominate the figures.

Closed loop: each connection sends its next request when it has its answer. Open loop: requests are
due at planned times, whatever the answers do, and a latency counts from the planned time: a server
that stands still is charged for every request that had to wait
(https://www.scylladb.com/2021/04/22/on-coordinated-omission/).
"""

from __future__ import annotations

import base64
import gc
import hmac
import itertools
import math
import random
import selectors
import socket
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from tools.benchmarks.stubs import content_length
from tools.report import percentile
from tools.service import SECRET

CONNECTIONS = 64
_WORDS = (
    "autumn banner campaign coat collection colour customer delivery discount every fabric free "
    "from gift headline image in landing market new night of offer only page price product quality "
    "season shipping shop slot soft sale spring stylish Sunday teaser the this to trial until "
    "variant warm week weekend winter with wool your"
)
# A request without an answer after this many seconds is counted as refused.
PATIENCE = 15.0


@dataclass
class Load:
    """What came of a load: answers by status (0: none), seconds, and each latency in seconds.

    `sent` has the time at which each request was sent, or with an open loop was due; `events` has
    the ids of their events, in the same order.
    """

    seconds: float = 0.0
    answers: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        return self.answers[202]

    @property
    def taken_per_second(self) -> float:
        return self.accepted / self.seconds

    @property
    def refused(self) -> int:
        return self.answers.total() - self.accepted

    def at(self, share: float) -> float:
        """The latency in milliseconds that this share of the requests did not exceed."""
        return percentile(self.latencies, share) * 1000

    def delays(self, taken: Mapping[str, float]) -> list[float]:
        """The milliseconds until each event arrived, by when it was taken; infinite if never."""
        pairs = zip(self.events, self.sent, strict=True)
        return [(taken.get(event, math.inf) - sent) * 1000 for event, sent in pairs]


class Webhooks:
    """An endless line of different signed `snapshot.published` webhooks, as HTTP requests.

    `number` is how many have been taken. Each has an id, a snapshot and an item of its own; `size`
    is the length of the body in bytes, `kind` the last part of the schema's address. The varying
    part is last, so that only it has to be signed for each.
    """

    def __init__(self, *, size: int = 1000, kind: str = "banner") -> None:
        self._run = uuid.uuid4().hex[:12]
        self._kind = kind
        self.number = 0
        tail = self._tail(0)
        filler = _prose(max(0, size - len(tail) - 120))
        self._head = (
            '{"name":"dynamic-content.snapshot.published","resource":"","payload":'
            f'{{"comment":"Publish Manifest","meta":[],"note":"{filler}",'
        ).encode()
        self._signed_head = hmac.new(SECRET.encode(), self._head, sha256)

    def _tail(self, number: int) -> bytes:
        return (
            f'"id":"snapshot-{self._run}-{number:08}","createdDate":"2026-11-28T11:00:00.000Z",'
            f'"locale":null,"rootContentItem":{{"id":"item-{self._run}-{number:08}","label":'
            f'"Autumn banner","contentTypeUri":"https://schemas.example.com/{self._kind}.json"}}}},'
            f'"sequenceId":{number},"requestId":"{self._run}","id":"{self.event(number)}"}}'
        ).encode()

    def event(self, number: int) -> str:
        """The id of the event with this number; the first one has 0."""
        return f"event-{self._run}-{number:08}"

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        tail = self._tail(self.number)
        self.number += 1
        signature = self._signed_head.copy()
        signature.update(tail)
        header = (
            b"POST /webhooks HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n"
            b"X-Amplience-Webhook-Signature: %b\r\nContent-Length: %d\r\n\r\n"
        ) % (base64.b64encode(signature.digest()), len(self._head) + len(tail))
        return header + self._head + tail


class _Line:
    """One connection: at most one request is under way on it."""

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self._port = port
        self._selector = selector
        self.since = 0.0
        self._unsent = memoryview(b"")
        self._answer = b""
        self._open()

    def _open(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(0)
        self._selector.register(self.socket, selectors.EVENT_READ, self)

    def close(self) -> None:
        self._selector.unregister(self.socket)
        self.socket.close()

    def send(self, request: bytes, since: float) -> None:
        self.since = since
        self._answer = b""
        self._unsent = memoryview(request)
        self.push()

    def push(self) -> None:
        try:
            sent = self.socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        self._unsent = self._unsent[sent:]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        if self._selector.get_key(self.socket).events != wanted:
            self._selector.modify(self.socket, wanted, self)

    def pull(self) -> int | None:
        """The status of a complete answer; 0 when the connection broke, after opening a new one."""
        try:
            piece = self.socket.recv(65536)
        except ConnectionError:
            piece = b""
        self._answer += piece
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if found and len(body) >= content_length(head):
            return int(head[9:12])
        if not piece:
            self.close()
            self._open()
            return 0
        return None


def _prose(length: int) -> str:
    """Words in random order: a single letter repeated would compress to nothing."""
    chosen = random.Random(length).choices(_WORDS.split(), k=length // 4)  # noqa: S311 - no secret
    return " ".join(chosen)[:length]


def closed_loop(port: int, requests: Webhooks, *, seconds: float, count: int | None = None) -> Load:
    """Keep every connection busy for so long, or until `count` requests were sent."""
    end = time.monotonic() + seconds
    left = itertools.count() if count is None else iter(range(count))

    def next_one(now: float) -> tuple[bytes, float] | None:
        return None if now > end or next(left, None) is None else (next(requests), now)

    return _run(port, requests, next_one, end)


def open_loop(port: int, requests: Webhooks, *, rate: float, seconds: float) -> Load:
    """Send `rate` requests a second at planned times, for so long."""
    start = time.monotonic() + 0.05
    planned = (start + number / rate for number in range(round(rate * seconds)))
    due: deque[float] = deque(planned)

    def next_one(now: float) -> tuple[bytes, float] | None:
        return (next(requests), due.popleft()) if due and due[0] <= now else None

    return _run(port, requests, next_one, start + seconds, due)


def _run(
    port: int,
    requests: Webhooks,
    next_one: Callable[[float], tuple[bytes, float] | None],
    end: float,
    due: deque[float] | None = None,
) -> Load:
    load, first = Load(), requests.number
    gc.disable()  # A collection in between would be charged to the service.
    with selectors.DefaultSelector() as selector:
        lines = [_Line(port, selector) for _ in range(CONNECTIONS)]
        idle = deque(lines)
        started = time.monotonic()
        while True:
            now = time.monotonic()
            while idle and (request := next_one(now)):
                load.sent.append(request[1])
                idle.popleft().send(*request)
            waiting = len(lines) - len(idle)
            if not waiting and not due:
                break
            if now > end + PATIENCE:
                load.answers[0] += waiting
                break
            pause = max(0.0, due[0] - now) if due and idle else 0.5
            for key, events in selector.select(pause):
                _step(key.data, events, load, idle)
        load.seconds = time.monotonic() - started
        load.events = [requests.event(first + place) for place in range(len(load.sent))]
        for line in lines:
            line.close()
    gc.enable()
    return load


def _step(line: _Line, events: int, load: Load, idle: deque[_Line]) -> None:
    if events & selectors.EVENT_WRITE:
        line.push()
    if events & selectors.EVENT_READ and (status := line.pull()) is not None:
        load.answers[status] += 1
        load.latencies.append(time.monotonic() - line.since)
        idle.append(line)
