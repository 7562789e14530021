"""Stubs of Content Delivery 2 and of destinations, in one process that costs little.

`POST /content/fetch` answers after 20 ms with one item for each that was asked for.
`POST /downstream/NAME` notes when the message arrived and for which event. Connections are kept
open. The stub speaks just enough HTTP, because the service that is measured needs the processors.

Times are those of CLOCK_MONOTONIC, which all processes of a machine share on Linux, so they compare
with those of whoever sent the webhook.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests

from tools.service import Process, environment, free_port, started, wait_for

CONTENT_SECONDS = 0.020
_ITEM = re.compile(rb'"id":\s*"([^"]+)"')
_EVENT = re.compile(rb'"event":\{"id":"([^"]+)"')
# About a kilobyte, as a banner with a picture and a link has.
_BODY = (
    '{"content":{"_meta":{"name":"Autumn banner","schema":"https://schemas.example.com/banner.json",'
    '"deliveryId":"%s"},"headline":"Autumn is here","strapline":"' + "New colours. " * 40 + '",'
    '"image":{"_meta":{"schema":"http://bigcontent.io/cms/schema/v1/core#/definitions/image-link"},'
    '"id":"6cd4de36-591e-4ca4-a4b2-0f8c5f1a7d6d","name":"autumn","endpoint":"bench",'
    '"defaultHost":"cdn.media.amplience.net"}}}'
)
_DESTINATION = """
[destinations.{name}]
url = "{url}/downstream/{name}"
allow_private = true
concurrency = 64
"""
_RULE = """
[[rules]]
name = "forward {number}"
events = ["dynamic-content.snapshot.published"]
where = {{ schema = "https://schemas.example.com/{kind}.json" }}
action = "forward"
to = {to}
"""


@dataclass(frozen=True)
class Arrival:
    """One message at a destination: when, of which event, and what it was answered."""

    at: float
    name: str
    event: str
    status: int


@dataclass
class _State:
    arrivals: list[tuple[float, str, str, int]] = field(default_factory=list)
    calls: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)


class _Peer(asyncio.Protocol):
    """One connection."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self._unread = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while True:
            head, found, rest = self._unread.partition(b"\r\n\r\n")
            length = content_length(head)
            if not found or len(rest) < length:
                return
            self._unread = rest[length:]
            self._answer(head.split(b" ", 2)[1].decode(), rest[:length])

    def _answer(self, path: str, body: bytes) -> None:
        _, kind, name = (*path.split("/", 2), "")[:3]
        if kind == "content":
            self._state.calls += 1
            items = ",".join(_BODY % found.decode() for found in _ITEM.findall(body))
            self._send(200, f'{{"responses":[{items}]}}'.encode(), after=CONTENT_SECONDS)
        elif kind == "downstream":
            status = self._state.status.get(name, 200)
            event = _EVENT.search(body)
            told = (time.monotonic(), name, event[1].decode() if event else "", status)
            self._state.arrivals.append(told)
            self._send(status, b"{}", after=self._state.seconds.get(name, 0.0))
        else:
            self._send(200, json.dumps(self._control(name, body)).encode())

    def _control(self, name: str, body: bytes) -> Any:
        given = json.loads(body or b"{}")
        if name == "arrivals":
            return self._state.arrivals[given["since"] :]
        if name == "behave":
            self._state.seconds[given["name"]] = given["seconds"]
            self._state.status[given["name"]] = given["status"]
        return [len(self._state.arrivals), self._state.calls]

    def _send(self, status: int, body: bytes, *, after: float = 0.0) -> None:
        assert self._transport is not None
        head = b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        send = partial(self._transport.write, head % (status, len(body)) + body)
        if after:
            asyncio.get_running_loop().call_later(after, send)
        else:
            send()


def content_length(head: bytes) -> int:
    """The Content-Length in the head of a request or response; 0 without one."""
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)


class Stubs:
    """The running stubs, seen from the benchmark."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._session = requests.Session()
        self._session.trust_env = False

    def environment(self, database_url: str, **changes: str) -> dict[str, str]:
        """The environment of a service that forwards all publishes to the destination `default`."""
        ours = {
            "AMPLIENCE_DELIVERY_URL": self.process.url,
            "FORWARD_URL": f"{self.process.url}/downstream/default",
            "FORWARD_ALLOW_PRIVATE": "1",
        }
        return environment(database_url, **(ours | changes))

    def configured(
        self, database_url: str, directory: Path, rules: Mapping[str, Sequence[str]]
    ) -> dict[str, str]:
        """The same with several destinations: `rules` say where items of each kind are sent.

        The file with the rules is written into `directory`.
        """
        names = dict.fromkeys(name for to in rules.values() for name in to)
        parts = [_DESTINATION.format(name=name, url=self.process.url) for name in names]
        parts += [
            _RULE.format(kind=kind, number=number, to=json.dumps(list(to)))
            for number, (kind, to) in enumerate(rules.items())
        ]
        file = directory / "relay.toml"
        file.write_text("".join(parts))
        unset = {"FORWARD_URL": "", "FORWARD_ALLOW_PRIVATE": ""}
        return self.environment(database_url, RELAY_CONFIG=str(file), **unset)

    def count(self) -> int:
        """How many messages have arrived."""
        return int(self._ask("count")[0])

    def content_calls(self) -> int:
        """How many calls Content Delivery 2 has had."""
        return int(self._ask("count")[1])

    def arrivals(self, since: int = 0) -> list[Arrival]:
        """The messages that arrived after the first `since`."""
        return [Arrival(*each) for each in self._ask("arrivals", since=since)]

    def taken(self, since: int = 0, name: str | None = None) -> dict[str, float]:
        """When each event's message was first answered 200, by the event's id."""
        found: dict[str, float] = {}
        for one in self.arrivals(since):
            if one.status == 200 and name in (None, one.name):
                found.setdefault(one.event, one.at)
        return found

    def behave(self, name: str, *, seconds: float = 0.0, status: int = 200) -> None:
        """Make the destination `name` answer this status, after so many seconds."""
        self._ask("behave", name=name, seconds=seconds, status=status)

    def wait(self, count: int, timeout: float) -> bool:
        """Wait until so many messages have arrived; False when they have not in time."""
        deadline = time.monotonic() + timeout
        while self.count() < count:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _ask(self, what: str, **body: Any) -> Any:
        return self._session.post(
            f"{self.process.url}/control/{what}", json=body, timeout=30
        ).json()


@contextlib.contextmanager
def running() -> Iterator[Stubs]:
    """Run the stubs until the block ends."""
    port = free_port()
    with started(("-m", "tools.benchmarks.stubs", str(port)), environment(""), port) as process:
        wait_for(process, "/")
        yield Stubs(process)


async def _serve(port: int) -> None:
    state = _State()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Peer(state), "127.0.0.1", port, backlog=512
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
