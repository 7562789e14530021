"""The outside world in one process: a pretend Content Delivery 2, and pretend destinations.

`POST /content/fetch` answers after 20 ms with one item for each that was asked for.
`POST /downstream/NAME` notes when the message came, for which event, and on which connection. Both
keep connections open. It speaks just enough HTTP to cost little, because the service that is
measured needs the processors.

`World` starts it and asks it afterwards what it saw. Times are those of CLOCK_MONOTONIC, which all
processes of a machine share on Linux, so they compare with those of whoever sent the webhook.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests

from tools.benchmarks.service import Process, environment, started, wait_for
from tools.drill.stores import free_port

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


@dataclass(frozen=True)
class Seen:
    """What the world saw so far."""

    arrivals: list[Arrival]
    content_calls: int
    content_items: int
    content_connections: int
    downstream_connections: int

    def since(self, before: Seen) -> Seen:
        """What came after `before`."""
        return Seen(
            self.arrivals[len(before.arrivals) :],
            self.content_calls - before.content_calls,
            self.content_items - before.content_items,
            self.content_connections - before.content_connections,
            self.downstream_connections - before.downstream_connections,
        )

    def taken(self, name: str | None = None) -> dict[str, float]:
        """When each event's message was first taken, by its id."""
        found: dict[str, float] = {}
        for one in self.arrivals:
            if one.status == 200 and name in (None, one.name):
                found.setdefault(one.event, one.at)
        return found

    @property
    def twice(self) -> int:
        """How many messages were taken that had been taken before."""
        taken = Counter((one.name, one.event) for one in self.arrivals if one.status == 200)
        return taken.total() - len(taken)


@dataclass
class _State:
    arrivals: list[tuple[float, str, str, int]] = field(default_factory=list)
    calls: int = 0
    items: int = 0
    connections: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)

    def seen(self) -> dict[str, Any]:
        return {
            "arrivals": self.arrivals,
            "content_calls": self.calls,
            "content_items": self.items,
            "content_connections": self.connections["content"],
            "downstream_connections": self.connections["downstream"],
        }


class _Peer(asyncio.Protocol):
    """One connection."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self._kind = ""
        self._unread = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while True:
            head, found, rest = self._unread.partition(b"\r\n\r\n")
            if not found:
                return
            length = _length(head)
            if len(rest) < length:
                return
            self._unread = rest[length:]
            self._answer(head.split(b" ", 2)[1].decode(), rest[:length])

    def _answer(self, path: str, body: bytes) -> None:
        _, kind, name = (*path.split("/", 2), "")[:3]
        if kind == "content":
            self._of(kind)
            ids = [found.decode() for found in _ITEM.findall(body)]
            self._state.calls += 1
            self._state.items += len(ids)
            answer = '{"responses":[' + ",".join(_BODY % each for each in ids) + "]}"
            self._send(200, answer.encode(), after=CONTENT_SECONDS)
        elif kind == "downstream":
            self._of(kind)
            status = self._state.status.get(name, 200)
            event = _EVENT.search(body)
            self._state.arrivals.append(
                (time.monotonic(), name, event[1].decode() if event else "", status)
            )
            self._send(status, b"{}", after=self._state.seconds.get(name, 0.0))
        else:
            self._send(200, json.dumps(self._control(name, body)).encode())

    def _of(self, kind: str) -> None:
        if not self._kind:
            self._kind = kind
            self._state.connections[kind] += 1

    def _control(self, name: str, body: bytes) -> Any:
        if name == "seen":
            return self._state.seen()
        if name == "forget":
            self._state.arrivals.clear()
            self._state.calls = self._state.items = 0
            self._state.connections.clear()
        elif name == "behave":
            given = json.loads(body)
            self._state.seconds[given["name"]] = given["seconds"]
            self._state.status[given["name"]] = given["status"]
        return len(self._state.arrivals)

    def _send(self, status: int, body: bytes, *, after: float = 0.0) -> None:
        assert self._transport is not None
        head = b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        send = partial(self._transport.write, head % (status, len(body)) + body)
        if after:
            asyncio.get_running_loop().call_later(after, send)
        else:
            send()


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)


class World:
    """A running world, seen from the benchmark."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = process.url

    def environment(self, database_url: str, **changes: str) -> dict[str, str]:
        """What a service is given to pull from here and send to the destination `default` here."""
        ours = {
            "AMPLIENCE_DELIVERY_URL": self.url,
            "FORWARD_URL": f"{self.url}/downstream/default",
            "LOG_LEVEL": "WARNING",
        }
        return environment(database_url, **(ours | changes))

    def configured(
        self, database_url: str, folder: Path, rules: Mapping[str, Sequence[str]], **changes: str
    ) -> dict[str, str]:
        """The same for several destinations; `rules` say where each kind of item goes, or `*`.

        The file with the rules is written into `folder`.
        """
        names = dict.fromkeys(name for to in rules.values() for name in to)
        parts = [_DESTINATION.format(name=name, url=self.url) for name in names]
        parts += [
            _RULE.format(kind=kind, number=number, to=json.dumps(list(to)))
            for number, (kind, to) in enumerate(rules.items())
        ]
        file = folder / "relay.toml"
        file.write_text("".join(parts))
        ours = {"RELAY_CONFIG": str(file), "FORWARD_URL": "", "FORWARD_ALLOW_PRIVATE": ""}
        return self.environment(database_url, **(ours | changes))

    def end(self) -> None:
        """End it before its block does, with every call that is under way."""
        self.process.popen.terminate()

    def seen(self) -> Seen:
        told = self._ask("seen")
        told["arrivals"] = [Arrival(*one) for one in told["arrivals"]]
        return Seen(**told)

    def count(self) -> int:
        """How many messages have come."""
        return int(self._ask("count"))

    def behave(self, name: str, *, seconds: float = 0.0, status: int = 200) -> None:
        """Have the destination `name` answer so from now on."""
        self._ask("behave", {"name": name, "seconds": seconds, "status": status})

    def wait(self, count: int, timeout: float) -> bool:
        """Wait for so many messages; False when the time is over."""
        end = time.monotonic() + timeout
        while self.count() < count:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def _ask(self, what: str, body: Mapping[str, Any] | None = None) -> Any:
        return requests.post(f"{self.url}/world/{what}", json=body or {}, timeout=30).json()


@contextlib.contextmanager
def running() -> Iterator[World]:
    """Run the world for the block."""
    port = free_port()
    with started(("-m", "tools.benchmarks.world", str(port)), environment(""), port) as process:
        wait_for(process, f"{process.url}/world/count")
        yield World(process)


async def _serve(port: int) -> None:
    state = _State()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Peer(state), "127.0.0.1", port, backlog=512
    )
    await server.serve_forever()


if __name__ == "__main__":
    # A SIGTERM ends it as it stands: it keeps nothing.
    asyncio.run(_serve(int(sys.argv[1])))
