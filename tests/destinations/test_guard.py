"""No URL and no name leads to an address that is not public, unless the destination may be."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from app.config import Destination
from app.destinations.connection import GuardedConnection, is_private_name
from app.destinations.message import Message
from app.destinations.sending import DestinationClient
from app.errors import DestinationRefused, DestinationUnavailable
from tests.destinations.conftest import Serve
from tests.servers import Reply

MESSAGE = Message(b"{}", "application/json", "msg-1")

HOSTILE = [
    # this machine
    "http://127.0.0.1/",
    "https://127.0.0.1/",
    "http://127.0.0.1:6379/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.255.255.254/",
    "http://0/",
    "http://0.0.0.0/",
    "http://127.0.0.1./",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://localhost../",
    "http://app.localhost/",
    "http://a.b.localhost./",
    "http://localhost.localdomain/",
    # numbers that a resolver takes for an address: decimal, octal, hexadecimal, mixed
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0x7F.1/",
    "http://0177.0.0.1/",
    "http://0177.0x0.0.1/",
    "http://127.0.0.0x1/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://3232235777/",
    "http://0xC0A80101/",
    "http://0300.0250.1.1/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    # private, shared, link-local, reserved
    "http://10.0.0.1/",
    "http://10.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.0.1/",
    "http://192.168.257/",
    "http://100.64.0.1/",
    "http://198.18.0.1/",
    "http://192.88.99.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    # what clouds tell about themselves
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254./",
    "http://169.254.170.2/v2/credentials",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://[fd00:ec2::254]/",
    "http://metadata/",
    "http://metadata.google.internal/",
    "http://METADATA.google.internal./",
    "http://metadata.azure.internal/",
    "http://instance-data/",
    "http://instance-data.ec2.internal/",
    "http://kubernetes.default.svc/",
    "http://db.svc.cluster.local/",
    "http://printer.local/",
    "http://router.home.arpa/",
    # IPv6, and IPv4 inside it
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:a9fe:a9fe]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%25lo]/",
    "http://[::1%25lo]/",
    "http://[fc00::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[5f00::1]/",
    # who is the host?
    "http://example.com@127.0.0.1/",
    "http://example.com:80@127.0.0.1/",
    "http://user:example.com@localhost/",
    "http://127.0.0.1\\@example.com/",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1?@example.com/",
    # signs that become others
    "http://１２７.０.０.１/",  # noqa: RUF001
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://127．0．0．1/",  # noqa: RUF001
    "http://ｌｏｃａｌｈｏｓｔ/",  # noqa: RUF001
    "http://lo\u00adcalhost/",
    "http://loc\u200balhost/",
    "http://127%2e0%2e0%2e1/",
    "http://%6c%6f%63%61%6c%68%6f%73%74/",
    "http://local%00host/",
    "http://127.0.0.1%20.example/",
    "http://ex ample/",
    "http://-/",
    "http://./",
    "http:///path",
    "http://*/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
]


def _to(url: str) -> Destination:
    return Destination(name="search", url=url, timeout=2)


def _send(client: DestinationClient, destination: Destination) -> int | None:
    return client.send(destination, MESSAGE, now=datetime.now(UTC)).status


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_url_is_refused_before_its_name_is_asked_for(
    client: DestinationClient, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    asked: list[object] = []

    def note(*args: object, **_: object) -> list[object]:
        asked.append(args)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", note)
    with pytest.raises(DestinationRefused) as caught:
        _send(client, _to(url))
    assert asked == []
    assert not caught.value.transient


@pytest.mark.parametrize(
    "host", ["example.com", "Example.COM.", "xn--bcher-kva.example", "8.8.8.8", "134744072"]
)
def test_other_names_are_left_to_the_resolver(host: str) -> None:
    assert not is_private_name(host)


Answers = Callable[[str], list[str]]
Resolve = Callable[[Answers], list[str]]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """A resolver that knows the names of a test; what is an address already, it passes on."""
    real = socket.getaddrinfo

    def with_answers(answers: Answers) -> list[str]:
        asked: list[str] = []

        def fake(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
            if not host.endswith(".example"):
                return real(host, port, *args, **kwargs)
            asked.append(host)
            return [
                (socket.AF_INET6 if ":" in each else socket.AF_INET, 1, 6, "", (each, port))
                for each in answers(host)
            ]

        monkeypatch.setattr(socket, "getaddrinfo", fake)
        return asked

    return with_answers


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.1", "192.168.0.1", "169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["fe80::1%eth0"],
    ],
)
def test_name_that_leads_to_private_addresses_alone_is_refused(
    client: DestinationClient, resolve: Resolve, addresses: list[str]
) -> None:
    resolve(lambda _: addresses)
    with pytest.raises(DestinationRefused, match="address is private"):
        _send(client, _to("http://harmless.example/"))


def test_one_answer_of_the_resolver_is_checked_and_dialled(
    serve: Serve,
    client: DestinationClient,
    resolve: Resolve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name is public when it is checked, and would be private if it were asked again."""
    # Nothing public can be dialled in a test, so one address of this machine plays that part.
    monkeypatch.setattr(GuardedConnection, "allows", staticmethod(lambda a: str(a) == "127.0.0.1"))
    server = serve(lambda _: Reply(200, headers={"Connection": "close"}))
    public, private = ["127.0.0.1"], ["127.0.0.2"]
    asked = resolve(lambda _: public if len(asked) == 1 else private)
    with closing(socket.create_server(("127.0.0.2", server.port))) as trap:
        assert _send(client, _to(f"http://rebinding.example:{server.port}/")) == 200
        assert asked == ["rebinding.example"]
        # The second connection asks again, gets the private address, and is refused.
        with pytest.raises(DestinationRefused, match="address is private"):
            _send(client, _to(f"http://rebinding.example:{server.port}/"))
        assert len(asked) == 2
        assert len(server.received) == 1
        trap.settimeout(0.05)
        with pytest.raises(TimeoutError):
            trap.accept()


def test_private_answers_among_public_ones_are_not_dialled(
    serve: Serve, client: DestinationClient, resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GuardedConnection, "allows", staticmethod(lambda a: str(a) == "127.0.0.1"))
    server = serve(lambda _: Reply(200))
    resolve(lambda _: ["127.0.0.2", "127.0.0.1"])
    with closing(socket.create_server(("127.0.0.2", server.port))) as trap:
        assert _send(client, _to(f"http://mixed.example:{server.port}/")) == 200
        trap.settimeout(0.05)
        with pytest.raises(TimeoutError):
            trap.accept()


def test_name_that_nobody_knows_may_be_known_later(
    client: DestinationClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DestinationUnavailable):
        _send(client, _to("http://nobody.example/"))
