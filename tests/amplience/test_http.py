from __future__ import annotations

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app import __version__
from app.amplience.http import AmplienceHttp, Call, describe, excerpt, read_json
from app.errors import (
    AmplienceError,
    NotFound,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    VersionConflict,
)
from app.retry import retry_after
from tests.amplience.conftest import Serve
from tests.servers import Reply, json_reply

Connect = Callable[..., AmplienceHttp]


@pytest.fixture
def connect(closing: ExitStack) -> Connect:
    def to(url: str, timeout: float = 5.0) -> AmplienceHttp:
        http = AmplienceHttp(url, timeout=(timeout, timeout))
        closing.callback(http.close)
        return http

    return to


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_call_says_who_we_are_and_goes_where_it_should(serve: Serve, connect: Connect) -> None:
    server = serve(lambda _: json_reply({"ok": True}))
    call = Call("POST", "/hubs/1", query={"page": 2}, headers={"X-Own": "1"}, json={"a": 1})
    answer = connect(server.url + "/v2/content/").perform(call)
    assert read_json(answer, call=call) == {"ok": True}
    (request,) = server.received
    assert (request.method, request.path) == ("POST", "/v2/content/hubs/1")
    assert request.query == {"page": ["2"]}
    assert request.json == {"a": 1}
    assert request.headers["user-agent"] == f"dc-relay/{__version__}"
    assert request.headers["x-own"] == "1"


def test_connections_are_kept_and_cookies_are_not(serve: Serve, connect: Connect) -> None:
    server = serve(lambda _: json_reply({}, 200, **{"Set-Cookie": "seen=1"}))
    http = connect(server.url)
    for _ in range(3):
        http.perform(Call("GET", "/"))
    assert len({request.port for request in server.received}) == 1
    assert all("cookie" not in request.headers for request in server.received)


def test_sixteen_threads_open_no_more_than_sixteen_connections(
    serve: Serve, connect: Connect
) -> None:
    server = serve(lambda _: json_reply({}))
    http = connect(server.url)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda _: http.perform(Call("GET", "/")), range(200)))
    assert len({request.port for request in server.received}) <= 16


def test_our_authorization_wins_over_netrc(
    serve: Serve,
    connect: Connect,
    tmp_path: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:
        file.write("machine 127.0.0.1 login other password person\n")
    monkeypatch.setenv("NETRC", netrc)
    server = serve(lambda _: json_reply({}))
    connect(server.url).perform(Call("GET", "/", headers={"Authorization": "Bearer ours"}))
    assert server.received[0].headers["authorization"] == "Bearer ours"


def test_redirect_is_refused_and_not_followed(serve: Serve, connect: Connect) -> None:
    other = serve(lambda _: json_reply({}))
    server = serve(lambda _: Reply(302, headers={"Location": other.url}))
    call = Call("GET", "/")
    with pytest.raises(Refused, match="302"):
        read_json(connect(server.url).perform(call), call=call)
    assert other.received == []


def test_refused_connection_was_surely_not_carried_out(connect: Connect) -> None:
    with pytest.raises(Unavailable, match="could not connect") as caught:
        connect(f"http://127.0.0.1:{_unused_port()}").perform(Call("POST", "/"))
    assert not caught.value.maybe_done


@pytest.mark.parametrize(("method", "maybe_done"), [("POST", True), ("GET", False)])
def test_broken_connection_may_have_been_carried_out_if_it_writes(
    serve: Serve, connect: Connect, method: str, maybe_done: bool
) -> None:
    server = serve(lambda _: None)
    with pytest.raises(Unavailable, match="connection broke") as caught:
        connect(server.url).perform(Call(method, "/"))
    assert caught.value.maybe_done is maybe_done
    assert caught.value.status is None


def test_slow_answer_times_out_and_may_have_been_carried_out(
    serve: Serve, connect: Connect
) -> None:
    server = serve(lambda _: Reply(200, b"late", drip=3.0))
    with pytest.raises(Unavailable) as caught:
        connect(server.url, timeout=0.1).perform(Call("POST", "/"))
    assert caught.value.maybe_done


def test_token_with_a_line_break_is_refused_and_not_quoted(serve: Serve, connect: Connect) -> None:
    server = serve(lambda _: json_reply({}))
    call = Call("GET", "/", headers={"Authorization": "Bearer secret-token\n"})
    with pytest.raises(Refused) as caught:
        connect(server.url).perform(call)
    assert "secret-token" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert server.received == []


def _errors(code: str) -> bytes:
    return json.dumps({"errors": [{"level": "ERROR", "code": code, "message": "No."}]}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b"", Refused),
        (401, b"", Unauthorized),
        (403, _errors("FORBIDDEN"), Unauthorized),
        (404, b"", NotFound),
        (400, _errors("CONTENT_ITEM_VERSION_NOT_LATEST"), VersionConflict),
        (409, _errors("CONTENT_ITEM_VERSION_NOT_LATEST"), VersionConflict),
        (404, _errors("CONTENT_ITEM_VERSION_NOT_LATEST"), VersionConflict),
        (409, b'{"message": "The version is not the latest"}', VersionConflict),
        (409, _errors("CONTENT_ITEM_DELIVERY_KEY_DUPLICATE"), Refused),
        (418, b"", Refused),
        (408, b"", Unavailable),
        (429, b"", RateLimited),
        (500, b"oops", Unavailable),
        (503, b"<html>gateway</html>", Unavailable),
    ],
)
def test_status_and_body_say_which_error_it_is(
    serve: Serve, connect: Connect, status: int, body: bytes, kind: type[AmplienceError]
) -> None:
    server = serve(lambda _: Reply(status, body))
    call = Call("POST", "/content-items/1/localize")
    with pytest.raises(AmplienceError) as caught:
        read_json(connect(server.url).perform(call), call=call)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.maybe_done is (kind is Unavailable)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_kept(serve: Serve, connect: Connect, status: int) -> None:
    server = serve(lambda _: Reply(status, headers={"retry-after": "7"}))
    call = Call("GET", "/")
    with pytest.raises(AmplienceError) as caught:
        read_json(connect(server.url).perform(call), call=call)
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 12 ", 12),
        ("-3", None),
        ("soon", None),
        ("", None),
        ("9" * 5000, None),
        ("9" * 400, 86400),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
    ],
)
def test_retry_after_is_read_or_ignored(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_retry_after_may_be_a_date() -> None:
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert retry_after(header) == pytest.approx(100, abs=2)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"errors":[{"code":"A","message":"m"},{"message":"n"}]}', "A", "A: m; n"),
        (b'{"errorResponse":{"Level":"ERROR","Code":"A","Message":"m"}}', "A", "A: m"),
        (b'{"error":{"type":"T","message":"m"}}', "T", "T: m"),
        (b'{"error":"invalid_client","error_description":"d"}', "invalid_client", None),
        (b'{"message":"m"}', None, "m"),
        (b'{"errors":"odd"}', None, '{"errors":"odd"}'),
        (b'[{"code":"A","message":"m"}]', "A", "A: m"),
        (b'{"errors":[{"code":7,"message":null}]}', None, None),
        (b"  ", None, ""),
        (b"<html>\n<b>Bad</b></html>", None, "<html> <b>Bad</b></html>"),
        (b"[" * 100_000, None, None),
        (b"\xff\xfe", None, "\ufffd\ufffd"),
    ],
)
def test_error_body_is_read_in_every_form(
    body: bytes, code: str | None, message: str | None
) -> None:
    problem = describe(body)
    assert problem.code == code
    assert message is None or problem.message == message
    assert len(problem.message) <= 300


def test_second_error_of_several_can_be_the_version_conflict() -> None:
    body = b'{"errors":[{"code":"OTHER"},{"code":"CONTENT_ITEM_VERSION_NOT_LATEST"}]}'
    assert describe(body).code == "CONTENT_ITEM_VERSION_NOT_LATEST"


def test_excerpt_hides_the_secret_even_where_it_is_cut() -> None:
    assert "secret" not in excerpt("x" * 297 + "secret-token", hide="secret-token")


@pytest.mark.parametrize("body", [b"<html>", b'{"a": NaN}', b"[" * 100_000, b"\xff", b"{"])
def test_success_without_json_is_unavailable(serve: Serve, connect: Connect, body: bytes) -> None:
    server = serve(lambda _: Reply(200, body))
    call = Call("GET", "/hubs")
    with pytest.raises(Unavailable, match="without valid JSON"):
        read_json(connect(server.url).perform(call), call=call)


def test_success_without_body_is_none(serve: Serve, connect: Connect) -> None:
    server = serve(lambda _: Reply(204))
    call = Call("POST", "/")
    assert read_json(connect(server.url).perform(call), call=call) is None


def test_messages_and_repr_hold_no_token(serve: Serve, connect: Connect) -> None:
    server = serve(lambda request: Reply(403, request.headers["authorization"].encode()))
    call = Call("GET", "/", headers={"Authorization": "Bearer secret-token"})
    with pytest.raises(Unauthorized) as caught:
        read_json(connect(server.url).perform(call), call=call, hide="secret-token")
    assert "secret-token" not in str(caught.value) + repr(call)


EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


def test_interim_responses_are_passed_over(serve: Serve, connect: Connect) -> None:
    server = serve(
        lambda _: Reply(200, b'{"call": %d}' % len(server.received), interim=EARLY_HINTS)
    )
    http, call = connect(server.url), Call("GET", "/hubs")
    assert [read_json(http.perform(call), call=call) for _ in range(2)] == [
        {"call": 1},
        {"call": 2},
    ]
    assert len({request.port for request in server.received}) == 1


def test_protocol_that_nobody_asked_for_is_no_answer(serve: Serve, connect: Connect) -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"
    server = serve(lambda _: Reply(200, interim=switching))
    with pytest.raises(Unavailable, match="connection broke"):
        connect(server.url).perform(Call("GET", "/"))


@pytest.mark.parametrize("drip_head", [True, False])
@pytest.mark.parametrize("through_proxy", [True, False])
def test_answer_byte_by_byte_is_cut_off(
    serve: Serve,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    *,
    drip_head: bool,
    through_proxy: bool,
) -> None:
    server = serve(lambda _: Reply(200, b"x" * 2000, drip=0.05, drip_head=drip_head))
    if through_proxy:
        monkeypatch.setenv("HTTP_PROXY", server.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
    url = "http://amplience.example" if through_proxy else server.url
    with pytest.raises(Unavailable, match="timed out"):
        connect(url, timeout=0.5).perform(Call("GET", "/"))


PAGE = b"<html>Request blocked</html>"
ITEM_CALL, HUB_CALL = Call("GET", "/content-items/1"), Call("GET", "/hubs/1")


@pytest.mark.parametrize(
    ("status", "body", "call", "refusing"),
    [
        (404, _errors("NOT_FOUND"), ITEM_CALL, False),
        (404, b'{"error":{"type":"CONTENT_NOT_FOUND"}}', Call("GET", "/content/id/1"), False),
        (404, _errors("NOT_FOUND"), Call("GET", "/snapshots/2/content-items/1"), False),
        (400, _errors("LOCALE_IMMUTABLE"), Call("POST", "/content-items/1/locale"), False),
        (422, b'{"errorResponse":{"Code":"INVALID"}}', ITEM_CALL, False),
        *((status, PAGE, ITEM_CALL, True) for status in (302, 400, 401, 403, 404, 410, 418, 422)),
        (404, b"", ITEM_CALL, True),
        (404, b'{"message":"no Route matched"}', ITEM_CALL, True),
        (404, b'{"status":404,"error":"Not Found","path":"/v2"}', ITEM_CALL, True),
        (404, b'{"type":"about:blank","title":"Not Found"}', ITEM_CALL, True),
        (404, b'{"error":{"code":404,"status":"NOT_FOUND"}}', ITEM_CALL, True),
        (404, b'{"code":"NOT_FOUND"}', ITEM_CALL, True),
        (404, b'[{"code":"NOT_FOUND"}]', ITEM_CALL, True),
        (403, _errors("FORBIDDEN"), ITEM_CALL, True),
        (401, _errors("UNAUTHORIZED"), ITEM_CALL, True),
        # Not of one item, whoever answers.
        (404, _errors("NOT_FOUND"), HUB_CALL, True),
        (400, _errors("BAD_REQUEST"), Call("POST", "/hubs/1/content-items/facet"), True),
        (400, b'{"error":{"type":"INVALID_VALUE"}}', Call("POST", "/content/fetch"), True),
        # These may pass by themselves, and have a schedule of their own.
        (429, PAGE, ITEM_CALL, False),
        (503, PAGE, ITEM_CALL, False),
    ],
)
def test_refusal_is_the_items_own_only_where_amplience_says_so(
    serve: Serve, connect: Connect, status: int, body: bytes, call: Call, *, refusing: bool
) -> None:
    server = serve(lambda _: Reply(status, body))
    with pytest.raises(AmplienceError) as caught:
        read_json(connect(server.url).perform(call), call=call)
    assert caught.value.refusing is refusing
