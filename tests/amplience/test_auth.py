from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import parse_qs

import pytest

from app.amplience.auth import ClientCredentialsTokens, FixedToken, tokens_for
from app.amplience.http import AmplienceHttp
from app.config import ClientCredentials, PersonalAccessToken
from app.errors import AmplienceError, RateLimited, Unauthorized, Unavailable
from tests.amplience.conftest import Clock, Serve
from tests.servers import Answering, Received, Reply, ScriptedServer, json_reply

CREDENTIALS = ClientCredentials("client & id", "s3cret=+")

Connect = Callable[[str], ClientCredentialsTokens]


@pytest.fixture
def connect(closing: ExitStack, clock: Clock) -> Connect:
    def to(url: str) -> ClientCredentialsTokens:
        tokens = ClientCredentialsTokens(CREDENTIALS, http=AmplienceHttp(url), clock=clock)
        closing.callback(tokens.close)
        return tokens

    return to


def _numbered(**more: object) -> Answering:
    counted: list[Received] = []

    def answer(request: Received) -> Reply:
        counted.append(request)
        return json_reply({"access_token": f"token-{len(counted)}", "expires_in": 300} | more)

    return answer


def test_token_is_asked_for_by_form(serve: Serve, connect: Connect) -> None:
    server = serve(_numbered())
    assert connect(server.url).bearer() == "token-1"
    (request,) = server.received
    assert (request.method, request.path) == ("POST", "/oauth/token")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["client & id"],
        "client_secret": ["s3cret=+"],
    }


@pytest.mark.parametrize(
    ("life", "kept_until"),
    [(300, 240), (100, 50), (10, 5), (None, 240), ("300", 240), (True, 240), (-1, 240)],
)
def test_token_is_renewed_before_it_expires(
    serve: Serve, connect: Connect, clock: Clock, life: object, kept_until: float
) -> None:
    server = serve(_numbered(expires_in=life))
    tokens = connect(server.url)
    assert tokens.bearer() == "token-1"
    clock.now += kept_until - 0.1
    assert tokens.bearer() == "token-1"
    clock.now += 0.2
    assert tokens.bearer() == "token-2"


def test_many_threads_ask_once(serve: Serve, connect: Connect) -> None:
    numbered = _numbered()

    def slow(request: Received) -> Reply | None:
        threading.Event().wait(0.1)
        return numbered(request)

    server = serve(slow)
    tokens = connect(server.url)
    with ThreadPoolExecutor(16) as threads:
        given = set(threads.map(lambda _: tokens.bearer(), range(16)))
    assert given == {"token-1"}
    assert len(server.received) == 1


def test_a_failure_reaches_all_that_wait_and_is_not_kept(serve: Serve, connect: Connect) -> None:
    everybody_waits = threading.Barrier(9)
    answers = [Reply(503), *[json_reply({"access_token": "good"})] * 3]

    def failing(_: Received) -> Reply:
        if len(server.received) == 1:
            threading.Event().wait(0.3)
        return answers[len(server.received) - 1]

    server = serve(failing)
    tokens = connect(server.url)
    failures: list[AmplienceError] = []

    def ask() -> None:
        everybody_waits.wait()
        try:
            tokens.bearer()
        except Unavailable as failure:
            failures.append(failure)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    everybody_waits.wait()
    for thread in threads:
        thread.join()
    assert len(failures) == 8
    assert len({id(failure) for failure in failures}) == 8
    assert len(server.received) == 1
    assert tokens.bearer() == "good"


def test_forgetting_an_older_token_keeps_the_newer(serve: Serve, connect: Connect) -> None:
    tokens = connect(serve(_numbered()).url)
    first = tokens.bearer()
    tokens.forget(first)
    second = tokens.bearer()
    tokens.forget(first)
    assert tokens.bearer() == second == "token-2"


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 409])
def test_refused_credentials_are_permanent_and_not_quoted(
    serve: Serve, connect: Connect, status: int
) -> None:
    server = serve(lambda request: Reply(status, request.body + b" s3cret=+"))
    with pytest.raises(Unauthorized) as caught:
        connect(server.url).bearer()
    assert not caught.value.transient
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(429, headers={"Retry-After": "3"}), RateLimited),
        (Reply(500), Unavailable),
        (Reply(200, b"<html>"), Unavailable),
        (Reply(200), Unavailable),
        (json_reply([]), Unavailable),
        (json_reply({"access_token": ""}), Unavailable),
        (json_reply({"access_token": None}), Unavailable),
        (None, Unavailable),
    ],
)
def test_no_token_may_pass_and_never_counts_as_done(
    serve: Serve, connect: Connect, reply: Reply | None, kind: type[AmplienceError]
) -> None:
    server: ScriptedServer = serve(lambda _: reply)
    with pytest.raises(AmplienceError) as caught:
        connect(server.url).bearer()
    assert type(caught.value) is kind
    assert not caught.value.maybe_done


def test_personal_access_token_is_given_as_it_is() -> None:
    tokens = tokens_for(PersonalAccessToken("amp_pat_1"), auth_url="http://127.0.0.1:1")
    assert isinstance(tokens, FixedToken)
    tokens.forget("amp_pat_1")
    assert tokens.bearer() == "amp_pat_1"


def test_refused_token_is_replaced_at_most_once_in_half_a_minute(
    serve: Serve, connect: Connect, clock: Clock
) -> None:
    tokens = connect(serve(_numbered()).url)

    def after_refusal() -> str:
        tokens.forget(tokens.bearer())
        return tokens.bearer()

    assert [after_refusal() for _ in range(3)] == ["token-2"] * 3
    clock.now += 29
    assert after_refusal() == "token-2"
    clock.now += 2
    assert [after_refusal() for _ in range(3)] == ["token-3"] * 3
