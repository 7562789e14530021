"""Clients that are slow, silent or greedy, against one web process with 32 threads."""

from __future__ import annotations

import http.client
import json
import resource
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import requests

from app.web import MAX_BODY
from tests.builders import signed
from tests.processes.running import (
    WEB,
    Running,
    await_ready,
    descendants,
    eventually,
    free_port,
    post,
    snapshot_body,
    started,
)
from tests.relay import SECRET

pytestmark = pytest.mark.timeout(180)

TOKEN = "an-admin-token-of-24-characters"
HEAD = b"POST /webhooks HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n"
# More than there are threads.
MANY = 40


class Web:
    """A running web process, and clients of it."""

    def __init__(self, running: Running, port: int) -> None:
        self.running = running
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def connect(self, *, receive_buffer: int = 0) -> socket.socket:
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(10)
        client.connect(("127.0.0.1", self.port))
        return client

    def serves(self, times: int = MANY) -> None:
        """Webhooks, health and readiness are answered, each over a connection of its own."""
        with ThreadPoolExecutor(8) as threads:
            sent = [
                threads.submit(post, self.url, f"item-{number}", f"event-{number}", 10)
                for number in range(times)
            ]
            for each in sent:
                assert each.result().status_code in (200, 202)
        assert requests.get(f"{self.url}/healthz", timeout=10).status_code == 200
        assert requests.get(f"{self.url}/readyz", timeout=10).status_code == 503  # no worker


@contextmanager
def serving(directory: Path, url: str, *options: str) -> Iterator[Web]:
    port = free_port()
    environ = {
        "DATABASE_URL": url.replace("postgresql+psycopg://", "postgresql://"),
        "WEBHOOK_SECRET": SECRET,
        "FORWARD_URL": "http://127.0.0.1:1/",
        "FORWARD_ALLOW_PRIVATE": "1",
        "AMPLIENCE_HUB_NAME": "hub",
        "ADMIN_TOKEN": TOKEN,
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
    }
    with started((*WEB, *options), environ, directory) as running:
        web = Web(running, port)
        await_ready(web.url, "/healthz")
        yield web


@pytest.fixture
def web(tmp_path: Path, sqlite_url: str) -> Iterator[Web]:
    with serving(tmp_path, sqlite_url) as found:
        yield found


def closed(client: socket.socket) -> bool:
    """Whether the server has closed; what it sent before is thrown away."""
    while select.select([client], [], [], 0)[0]:
        try:
            if not client.recv(65536):
                return True
        except OSError:
            return True
    return False


@contextmanager
def trickling(clients: Sequence[socket.socket]) -> Iterator[None]:
    """Send one more byte on each of them, again and again, while the block runs."""
    over = threading.Event()

    def trickle() -> None:
        while not over.wait(0.2):
            for client in clients:
                try:
                    client.send(b"x")
                except OSError:  # closed, as it should be
                    continue

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_200_slow_connections_are_closed_while_others_are_served(
    tmp_path: Path, database_url: str
) -> None:
    beginnings = (
        b"",
        b"POST /webhooks HTTP/1.1\r\nHost: relay\r\nX-Slow: ",
        HEAD + b"Content-Length: 100000\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n{",
    )
    with serving(tmp_path, database_url) as web, ExitStack() as stack:
        kept = stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", web.port)))
        kept.request("GET", "/healthz")
        assert kept.getresponse().read()
        clients = [stack.enter_context(web.connect()) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(beginnings[number % len(beginnings)])
        silent = [client for number, client in enumerate(clients) if number % len(beginnings) == 0]
        with trickling([client for client in clients if client not in silent]):
            web.serves()
            for client in clients:
                assert eventually(lambda client=client: closed(client), timeout=60)  # type: ignore[misc]
            web.serves()
        # An idle connection between two requests has more time than a request.
        kept.request("GET", "/healthz")
        assert kept.getresponse().status == 200
        assert "too slow" in web.running.log


def refused_early(web: Web) -> socket.socket:
    """Announces a large body, sends none of it and does not close."""
    client = web.connect()
    client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (2 * MAX_BODY))
    return client


def never_closing(web: Web) -> socket.socket:
    """Has its answer, and keeps the connection although the server ends it."""
    client = web.connect()
    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
    return client


def not_reading(web: Web) -> socket.socket:
    """Asks for more than the buffers on the way hold, and reads none of it."""
    client = web.connect(receive_buffer=4096)
    client.sendall(b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: relay\r\n\r\n" * 800)
    return client


def unsent(port: int) -> list[str]:
    """How much waits in the kernel for the clients of a port to read it, for each of them."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    queues = {
        line[2]: line[4].partition(":")[0] for line in lines if line[1].endswith(f":{port:04X}")
    }
    return [queues[client] for client in sorted(queues) if int(queues[client], 16)]


@pytest.mark.parametrize("connect", [refused_early, never_closing])
def test_clients_that_wait_hold_nobody_else_up(
    web: Web, connect: Callable[[Web], socket.socket]
) -> None:
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(connect(web))
        web.serves(4)
        web.serves(4)


def test_clients_that_read_no_answers_hold_nobody_else_up(web: Web) -> None:
    looks: list[list[str]] = []

    def stalled() -> bool:
        looks.append(unsent(web.port))
        return len(looks[-1]) >= 32 and looks[-8:] == [looks[-1]] * 8

    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(not_reading(web))
        assert eventually(stalled, timeout=90, every=0.1)
        web.serves(4)


def test_oldest_slow_connection_gives_way_to_a_new_one(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path, sqlite_url, "--worker-connections", "64") as web, ExitStack() as stack:
        clients = [stack.enter_context(web.connect()) for _ in range(80)]
        assert eventually(lambda: closed(clients[0]))
        web.serves(4)
        assert not closed(clients[-1])


def test_running_out_of_files_ends_slow_connections_and_not_the_process(web: Web) -> None:
    [worker] = descendants(web.running.pid)
    used = len(list(Path(f"/proc/{worker}/fd").iterdir()))
    web.serves(8)  # its database is open
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 60, used + 60))
    with ExitStack() as stack:
        clients = [stack.enter_context(web.connect()) for _ in range(100)]
        assert eventually(lambda: closed(clients[0]))
        assert requests.get(f"{web.url}/healthz", timeout=10).status_code == 200
    assert descendants(web.running.pid) == {worker}


def test_half_sent_bodies_together_have_a_limit(web: Web) -> None:
    with ExitStack() as stack:
        clients = []
        for _ in range(45):
            clients.append(stack.enter_context(web.connect()))
            clients[-1].sendall(
                HEAD + b"Content-Length: %d\r\n\r\n" % MAX_BODY + b" " * (MAX_BODY - 1000)
            )
        assert eventually(lambda: closed(clients[0]))
        web.serves(4)
        assert not closed(clients[-1])


def webhook(event: str, *headers: bytes, body: bytes | None = None) -> tuple[bytes, bytes]:
    """The head and the body of a signed webhook."""
    body = body or snapshot_body("item", event)
    lines = [b"%s: %s" % (k.encode(), v.encode()) for k, v in signed(body, SECRET).items()]
    head = [b"POST /webhooks HTTP/1.1", b"Host: relay", *lines, *headers]
    return b"\r\n".join(head) + b"\r\n\r\n", body


def length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


def in_chunks(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x;x=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def answers(client: socket.socket, count: int = 1) -> list[int]:
    """The statuses of the next answers; interim ones count."""
    found = []
    reader = client.makefile("rb")
    for _ in range(count):
        found.append(int(reader.readline().split()[1]))
        size = 0
        while (line := reader.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        reader.read(size)
    return found


def piecemeal(client: socket.socket, data: bytes, size: int = 97) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for start in range(0, len(data), size):
        client.send(data[start : start + size])


def test_requests_in_pieces_are_put_together(web: Web) -> None:
    with web.connect() as client:
        for event in ("one", "two"):
            body = snapshot_body("item", event)
            head, body = webhook(event, length(body), body=body)
            piecemeal(client, head + body)
            assert answers(client) == [202]
        for event in ("three", "four"):
            head, body = webhook(event, b"Transfer-Encoding: chunked")
            piecemeal(client, head + in_chunks(body, 100) + b"0\r\nX-Trailer: 1\r\n\r\n")
            assert answers(client) == [202]


def test_requests_sent_without_waiting_are_answered_in_order(web: Web) -> None:
    chunked, body = webhook("chunked", b"Transfer-Encoding: chunked")
    whole = snapshot_body("item", "whole")
    head, _ = webhook("whole", length(whole), body=whole)
    with web.connect() as client:
        client.sendall(
            chunked + in_chunks(body, 1000) + b"0\r\n\r\n" + head + whole + head + whole
            + b"GET /healthz HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n"
        )  # fmt: skip
        assert answers(client, 4) == [202, 202, 200, 200]
        assert eventually(lambda: closed(client))


def test_answers_that_nobody_reads_at_first_arrive_whole(web: Web) -> None:
    page = requests.get(f"{web.url}/api/v1/openapi.json", timeout=10).content
    with not_reading(web) as client:
        reader = client.makefile("rb")
        for _ in range(800):
            while (line := reader.readline()) != b"\r\n":
                assert line
            assert json.loads(reader.read(len(page))) == json.loads(page)


def test_client_that_asks_before_it_sends_a_body_is_told_to_go_on(web: Web) -> None:
    body = snapshot_body("item", "asked")
    head, body = webhook("asked", length(body), b"Expect: 100-continue", body=body)
    with web.connect() as client:
        client.sendall(head)
        assert answers(client) == [100]
        client.sendall(body)
        assert answers(client) == [202]
        client.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 9999999\r\n\r\n")
        assert answers(client) == [413]
    with web.connect() as client:
        client.sendall(head + body)
        assert answers(client) == [200]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 9000, 400),
        (
            HEAD
            + b"Transfer-Encoding: chunked\r\n\r\n"
            + in_chunks(b" " * (MAX_BODY + 100_000), 65536)[:-2],
            413,
        ),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        (HEAD + b"Content-Length: %d\r\n\r\n" % 10**30, 413),
        (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"X-Long: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (HEAD + b"X-Many: x\r\n" * 300_000, 431),
    ],
)
def test_requests_that_cannot_be_served_are_refused_at_once_and_closed(
    web: Web, sent: bytes, status: int
) -> None:
    with web.connect() as client:
        try:
            client.sendall(sent)
        except ConnectionError:
            assert status == 431
        assert answers(client) == [status]
        assert eventually(lambda: closed(client))


def test_body_that_breaks_off_is_refused(web: Web) -> None:
    with web.connect() as client:
        client.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        client.shutdown(socket.SHUT_WR)
        assert answers(client) == [400]


def test_stop_lets_a_request_arrive_and_does_not_wait_for_silent_clients(web: Web) -> None:
    head, body = webhook("last", b"Transfer-Encoding: chunked")
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(web.connect())
        client = stack.enter_context(web.connect())
        client.sendall(head)
        web.serves(4)
        web.running.signal(signal.SIGTERM)
        assert eventually(lambda: '"Handling signal: term"' in web.running.log)
        client.sendall(in_chunks(body, 1000) + b"0\r\n\r\n")
        assert answers(client) == [202]
        assert web.running.ended(30) == 0
