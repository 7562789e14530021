from __future__ import annotations

import base64
import gzip
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from app import __version__
from app.config import DeleteRequest, Destination
from app.destinations.message import Message
from app.destinations.sending import Answer, DestinationClient, masked_url
from app.errors import (
    DestinationError,
    DestinationGone,
    DestinationRefused,
    DestinationUnavailable,
    TemplateFailed,
)
from app.retry import retry_after
from tests.destinations.conftest import Serve
from tests.servers import Received, Reply
from tests.traces import STATE, assert_continues, within_a_trace

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = Message(b'{"type":"content.published"}', "application/json", "job-1")


def _to(url: str, **more: Any) -> Destination:
    usual: dict[str, Any] = {"name": "search", "url": url, "allow_private": True, "timeout": 5}
    return Destination(**usual | more)


def _send(client: DestinationClient, destination: Destination) -> Answer:
    return client.send(destination, MESSAGE, now=datetime.now(UTC))


def test_message_arrives_signed_and_as_it_was_built(
    serve: Serve, client: DestinationClient
) -> None:
    server = serve(lambda _: Reply(202, b"taken"))
    destination = _to(
        f"{server.url}/hooks/7?key=abc",
        method="PUT",
        headers=(("X-Api-Key", "k"),),
        signing_secrets=(SECRET,),
    )
    answer = _send(client, destination)
    assert (answer.status, answer.body) == (202, "taken")
    assert 0 <= answer.milliseconds < 5000
    (request,) = server.received
    assert (request.method, request.path, request.query) == ("PUT", "/hooks/7", {"key": ["abc"]})
    assert request.body == MESSAGE.body
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"dc-relay/{__version__}"
    assert request.headers["x-api-key"] == "k"
    assert request.headers["webhook-id"] == "job-1"
    assert Webhook(SECRET).verify(request.body, dict(request.headers))


def test_own_headers_replace_ours_but_not_the_signature(
    serve: Serve, client: DestinationClient
) -> None:
    server = serve(lambda _: Reply(200))
    headers = (("content-type", "application/x-own"), ("Webhook-Id", "forged"))
    _send(client, _to(server.url, headers=headers))
    received = server.received[0].headers
    assert received["content-type"] == "application/x-own"
    assert received["webhook-id"] == "job-1"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, DestinationRefused),
        (302, DestinationRefused),
        (304, DestinationRefused),
        (307, DestinationRefused),
        (400, DestinationRefused),
        (401, DestinationRefused),
        (404, DestinationRefused),
        (408, DestinationUnavailable),
        (410, DestinationGone),
        (422, DestinationRefused),
        (425, DestinationUnavailable),
        (429, DestinationUnavailable),
        (500, DestinationUnavailable),
        (503, DestinationUnavailable),
        (599, DestinationUnavailable),
    ],
)
def test_status_says_whether_to_try_again(
    serve: Serve, client: DestinationClient, status: int, kind: type[DestinationError]
) -> None:
    server = serve(lambda _: Reply(status, b"" if status == 304 else b"why", {"Location": "/x"}))
    with pytest.raises(DestinationError) as caught:
        _send(client, _to(server.url))
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.destination) == (status, "search")
    assert caught.value.answer == ("" if status == 304 else "why")
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_2xx_is_success(serve: Serve, client: DestinationClient, status: int) -> None:
    assert _send(client, _to(serve(lambda _: Reply(status)).url)).status == status


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_kept(serve: Serve, client: DestinationClient, status: int) -> None:
    server = serve(lambda _: Reply(status, headers={"Retry-After": "120"}))
    with pytest.raises(DestinationUnavailable) as caught:
        _send(client, _to(server.url))
    assert caught.value.retry_after == 120


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("5", 5), ("x", None), ("-1", None), ("9" * 400, 86400), ("9" * 5000, None)],
)
def test_retry_after_is_read_or_ignored(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_retry_after_may_be_a_date() -> None:
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after(header) == pytest.approx(60, abs=2)


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_no_answer_is_unavailable_and_names_no_path(
    serve: Serve, client: DestinationClient
) -> None:
    for url in (f"http://127.0.0.1:{_unused_port()}", serve(lambda _: None).url):
        with pytest.raises(DestinationUnavailable) as caught:
            _send(client, _to(f"{url}/hidden?key=hidden"))
        assert caught.value.status is None
        assert "hidden" not in f"{caught.value!r}{caught.value}"
        assert caught.value.__cause__ is None


def test_silence_ends_at_the_timeout(serve: Serve, client: DestinationClient) -> None:
    server = serve(lambda _: Reply(200, b"late", drip=5, drip_head=True))
    started = time.monotonic()
    with pytest.raises(DestinationUnavailable, match="timed out"):
        _send(client, _to(server.url, timeout=0.2))
    assert time.monotonic() - started < 3


def test_headers_byte_by_byte_end_at_the_timeout(serve: Serve, client: DestinationClient) -> None:
    server = serve(lambda _: Reply(200, b"x" * 1000, drip=0.02, drip_head=True))
    started = time.monotonic()
    with pytest.raises(DestinationUnavailable):
        _send(client, _to(server.url, timeout=0.3))
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("extra", [{}, {"Transfer-Encoding": "chunked"}])
def test_body_byte_by_byte_is_cut_off_and_the_status_counts(
    serve: Serve, client: DestinationClient, extra: dict[str, str]
) -> None:
    server = serve(lambda _: Reply(200, b"1\r\nx\r\n" * 100, extra, drip=0.02))
    started = time.monotonic()
    assert _send(client, _to(server.url, timeout=0.3)).status == 200
    assert time.monotonic() - started < 3
    server.received.clear()
    assert _send(client, _to(server.url, timeout=0.3)).status == 200
    assert len(server.received) == 1


def test_endless_body_is_cut_off(serve: Serve, client: DestinationClient) -> None:
    server = serve(lambda _: Reply(200, b"x" * 1_000_000))
    assert _send(client, _to(server.url)).body == "x" * 2000
    assert _send(client, _to(server.url)).status == 200
    assert len({request.port for request in server.received}) == 2


def test_body_that_breaks_off_leaves_the_status(serve: Serve, client: DestinationClient) -> None:
    server = serve(lambda _: Reply(503, b"half", {"Content-Length": "100", "Connection": "close"}))
    with pytest.raises(DestinationUnavailable) as caught:
        _send(client, _to(server.url, timeout=0.3))
    assert caught.value.status == 503


def test_connections_are_kept_and_cookies_are_not(serve: Serve, client: DestinationClient) -> None:
    server = serve(lambda _: Reply(200, b"ok", {"Set-Cookie": "a=b"}))
    for _ in range(3):
        _send(client, _to(server.url))
    assert len({request.port for request in server.received}) == 1
    assert all("cookie" not in request.headers for request in server.received)


def test_sixteen_threads_share_a_client(serve: Serve, client: DestinationClient) -> None:
    server = serve(lambda request: Reply(200, request.body))
    destination = _to(server.url)

    def send(number: int) -> bool:
        message = Message(f"body-{number}".encode(), "text/plain", f"job-{number}")
        answer = client.send(destination, message, now=datetime.now(UTC))
        return answer.body == f"body-{number}"

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(send, range(200)))
    assert len({request.port for request in server.received}) <= 16


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.1", "2130706433", "0x7f.1"],
)
def test_private_address_is_refused_before_anything_is_sent(
    serve: Serve, client: DestinationClient, host: str
) -> None:
    server = serve(lambda _: Reply(200))
    with pytest.raises(DestinationRefused, match="address is private") as caught:
        _send(client, _to(f"http://{host}:{server.port}/", allow_private=False))
    assert "FORWARD_ALLOW_PRIVATE=1" in str(caught.value)
    assert server.received == []


def test_private_address_is_refused_for_tls_as_well(client: DestinationClient) -> None:
    with pytest.raises(DestinationRefused, match="address is private"):
        _send(client, _to("https://127.0.0.1:9/", allow_private=False))


def test_no_connection_is_made_to_a_refused_address(client: DestinationClient) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with pytest.raises(DestinationRefused):
            _send(client, _to(url, allow_private=False))
        listening.settimeout(0.05)
        with pytest.raises(TimeoutError):
            listening.accept()


def test_connection_of_one_that_may_is_not_lent_to_one_that_may_not(
    serve: Serve, client: DestinationClient
) -> None:
    server = serve(lambda _: Reply(200))
    _send(client, _to(server.url))
    with pytest.raises(DestinationRefused):
        _send(client, _to(server.url, allow_private=False))
    assert len(server.received) == 1


def test_redirect_to_another_host_is_not_followed(serve: Serve, client: DestinationClient) -> None:
    other = serve(lambda _: Reply(200))
    server = serve(lambda _: Reply(307, headers={"Location": other.url}))
    with pytest.raises(DestinationRefused, match="redirects are not followed"):
        _send(client, _to(server.url))
    assert other.received == []


def test_environment_changes_neither_way_nor_headers(
    serve: Serve, client: DestinationClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    proxy = serve(lambda _: Reply(200))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    server = serve(lambda _: Reply(200))
    _send(client, _to(server.url))
    assert proxy.received == []
    assert "authorization" not in server.received[0].headers


def _echo(request: Received) -> Reply:
    told = {"headers": dict(request.headers), "path": request.path, "query": request.query}
    return Reply(400, json.dumps(told).encode())


def test_secrets_that_are_echoed_are_not_repeated(serve: Serve, client: DestinationClient) -> None:
    server = serve(_echo)
    url = server.url.replace("//", "//person:passw0rd@") + "/hooks/T0pSecretPath?key=query-secret"
    headers = (("Authorization", "Bearer header-secret"), ("X-Key", "other-secret"))
    with pytest.raises(DestinationRefused) as caught:
        _send(client, _to(url, headers=headers))
    basic = base64.b64encode(b"person:passw0rd").decode()
    assert server.received[0].headers["authorization"] == f"Basic {basic}"
    shown = caught.value.answer + str(caught.value)
    for secret in ("passw0rd", basic, "T0pSecret", "query-secret", "header-secret", "other-secret"):
        assert secret not in shown
    assert "webhook-id" in shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://"},
        {"url": "ftp://x.example/secret"},
        {"url": "http://[secret"},
        {"url": "http://x.example:port/secret"},
        {"headers": (("X-Key", "secret\r\nX-Other: 1"),)},
        {"headers": (("X-Key", "secret 春"),)},
        {"signing_secrets": ("whsec_secreté",)},
    ],
)
def test_what_cannot_be_sent_is_refused_without_quoting_it(
    client: DestinationClient, wrong: dict[str, Any]
) -> None:
    with pytest.raises(DestinationRefused) as caught:
        _send(client, _to(**{"url": "http://127.0.0.1:9/"} | wrong))
    assert "secret" not in str(caught.value).replace("signing secret", "")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example/services/T0/B0/xyz?token=1#f", "https://hooks.example/…"),
        ("http://user:pass@host.example:8080/a", "http://host.example:8080/…"),
        ("https://host.example", "https://host.example/…"),
        ("http://[::1", "…"),
        ("http://host:port/", "…"),
        ("nonsense", "…"),
    ],
)
def test_masked_url_shows_scheme_and_host_alone(url: str, shown: str) -> None:
    assert masked_url(url) == shown


@pytest.mark.parametrize("status", [404, 410])
def test_delete_of_what_is_gone_is_done(
    serve: Serve, client: DestinationClient, status: int
) -> None:
    server = serve(lambda _: Reply(status))
    gone = Message(b'{"type":"content.deleted","data":{}}', "application/json", "job-1")
    destination = _to(server.url, delete=DeleteRequest())
    assert client.send(destination, gone, now=datetime.now(UTC)).status == status
    assert (server.received[0].method, server.received[0].body) == ("DELETE", b"")
    assert "content-type" not in server.received[0].headers
    other = _to(server.url, delete=DeleteRequest("POST"))
    with pytest.raises(DestinationRefused):
        client.send(other, gone, now=datetime.now(UTC))


def test_compressed_body_is_signed_as_it_was_before(
    serve: Serve, client: DestinationClient
) -> None:
    server = serve(lambda _: Reply(200))
    destination = _to(server.url, gzip=True, signing_secrets=(SECRET,))
    for _ in range(2):
        assert _send(client, destination).bytes == len(MESSAGE.body)
    first, second = server.received
    assert first.headers["content-encoding"] == "gzip"
    assert first.body == second.body != MESSAGE.body
    assert gzip.decompress(first.body) == MESSAGE.body
    assert Webhook(SECRET).verify(gzip.decompress(first.body), dict(first.headers))


def test_filled_template_is_signed_and_the_same_at_every_try(
    serve: Serve, client: DestinationClient
) -> None:
    server = serve(lambda _: Reply(200))
    kept = Message(b'{"type":"content.published","data":{"hub":"a/b"}}', "application/json", "j")
    destination = _to(
        f"{server.url}/{{{{ hub }}}}", body='{"hub": "{{ hub }}"}', signing_secrets=(SECRET,)
    )
    for _ in range(2):
        client.send(destination, kept, now=datetime.now(UTC))
    first, second = server.received
    assert (first.path, first.body) == ("/a%2Fb", b'{"hub": "a/b"}')
    assert (second.path, second.body) == (first.path, first.body)
    assert Webhook(SECRET).verify(first.body, dict(first.headers)) == {"hub": "a/b"}


def test_template_that_cannot_be_filled_sends_nothing(
    serve: Serve, client: DestinationClient
) -> None:
    server = serve(lambda _: Reply(200))
    with pytest.raises(TemplateFailed) as caught:
        _send(client, _to(server.url, body="{{ content.title }}"))
    assert not caught.value.transient
    assert server.received == []


def test_what_was_sent_and_answered_can_be_kept(serve: Serve, client: DestinationClient) -> None:
    server = serve(lambda request: Reply(200 if request.path == "/good" else 500, b"x" * 3000))
    answer = _send(client, _to(f"{server.url}/good", method="PUT")).detail()
    with pytest.raises(DestinationUnavailable) as caught:
        _send(client, _to(f"{server.url}/bad", method="PUT"))
    for detail, status in ((answer, 200), (caught.value.exchange, 500)):
        assert isinstance(detail.pop("milliseconds"), int)
        assert detail == {
            "method": "PUT",
            "url": f"{server.url}/…",
            "bytes": len(MESSAGE.body),
            "status": status,
            "answer": "x" * 2000,
        }


def test_what_got_no_answer_is_told_as_far_as_it_came(client: DestinationClient) -> None:
    url = f"http://127.0.0.1:{_unused_port()}"
    with pytest.raises(DestinationUnavailable) as caught:
        _send(client, _to(f"{url}/secret"))
    assert isinstance(caught.value.exchange.pop("milliseconds"), int)
    assert caught.value.exchange == {
        "method": "POST",
        "url": f"{url}/…",
        "bytes": len(MESSAGE.body),
    }


def test_trace_goes_on_and_nothing_else_of_the_message_changes(
    serve: Serve, client: DestinationClient
) -> None:
    server = serve(lambda _: Reply())
    destination, now = _to(server.url, signing_secrets=(SECRET,)), datetime.now(UTC)
    client.send(destination, MESSAGE, now=now)
    with within_a_trace():
        client.send(destination, MESSAGE, now=now)
    bare, traced = server.received
    assert bare.body == traced.body
    assert_continues(traced.headers["traceparent"])
    assert traced.headers["tracestate"] == STATE
    assert traced.headers == {
        **bare.headers,
        "traceparent": traced.headers["traceparent"],
        "tracestate": STATE,
    }


@pytest.mark.parametrize("name", ["traceparent", "TraceParent"])
def test_destination_with_a_trace_of_its_own_keeps_it(
    serve: Serve, client: DestinationClient, name: str
) -> None:
    server = serve(lambda _: Reply())
    with within_a_trace():
        _send(client, _to(server.url, headers=((name, "of my own"),)))
    (request,) = server.received
    assert request.headers["traceparent"] == "of my own"
    assert "tracestate" not in request.headers
