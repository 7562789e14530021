from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from structlog.contextvars import get_contextvars, merge_contextvars
from structlog.testing import capture_logs

from app.web.auth import SECONDS_PER_TRY, TRIES, AdminGate
from tests.builders import make_settings
from tests.web.conftest import FakeLedger, client_for

TOKEN = "the-admin-token-of-this-test"
GOOD = {"Authorization": f"Bearer {TOKEN}"}
BAD = {"Authorization": "Bearer guessed"}
# It needs no database, so an answer of 200 says that the gate was passed.
PATH = "/api/v1/rules"


@pytest.fixture
def client() -> FlaskClient:
    return client_for(FakeLedger(), make_settings(admin_token=TOKEN))


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        (GOOD, 200, None),
        ({"Authorization": f"bearer {TOKEN}"}, 200, None),
        ({}, 401, "token-missing"),
        ({"Authorization": "Bearer "}, 401, "token-missing"),
        ({"Authorization": f"Basic {TOKEN}"}, 401, "token-missing"),
        (BAD, 401, "token-wrong"),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401, "token-wrong"),
        ({"Authorization": "Bearer t\u00f6ken"}, 401, "token-wrong"),
    ],
)
def test_only_the_admin_token_opens_the_api(
    client: FlaskClient, headers: dict[str, str], status: int, reason: str | None
) -> None:
    answer = client.get(PATH, headers=headers)
    document = answer.get_json()
    assert (answer.status_code, document.get("reason")) == (status, reason)
    if status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v2/events", "/api/"])
def test_without_the_token_nobody_learns_which_paths_there_are(
    client: FlaskClient, path: str
) -> None:
    assert client.get(path).status_code == 401
    assert client.delete("/api/v1/events").status_code == 401
    assert client.get(path, headers=GOOD).status_code == 404


@pytest.mark.parametrize(
    "path", [PATH, "/api/v1/docs", "/api/v1/openapi.json", "/api/v1/events", "/api/x", "/metrics"]
)
def test_without_a_token_set_there_is_nothing(path: str) -> None:
    client = client_for(FakeLedger(), make_settings(admin_token=None))
    for answer in (client.get(path), client.get(path, headers=GOOD), client.delete(path)):
        assert answer.status_code in (404, 405 if path == "/metrics" else 404)
    assert client.get(path).get_json()["reason"] == "not-found"


def test_wrong_tokens_are_slowed_down_and_then_the_right_one_too(client: FlaskClient) -> None:
    answers = [client.get(PATH, headers=BAD).status_code for _ in range(TRIES + 1)]
    assert answers == [401] * TRIES + [429]
    slowed = client.get(PATH, headers=GOOD)
    assert slowed.get_json()["reason"] == "too-many-tries"
    assert 0 < int(slowed.headers["Retry-After"]) <= SECONDS_PER_TRY


def test_another_address_is_not_slowed(client: FlaskClient) -> None:
    def ask(forwarded: str, headers: dict[str, str], direct: str = "10.0.0.7") -> int:
        return client.get(
            PATH,
            headers={**headers, "X-Forwarded-For": forwarded},
            environ_base={"REMOTE_ADDR": direct},
        ).status_code

    for _ in range(TRIES):
        ask("1.1.1.1, 203.0.113.5", BAD)
    assert ask("203.0.113.5", GOOD) == 429
    # Only the last one comes from the router; the rest is what the caller made up.
    assert ask("203.0.113.5, 203.0.113.6", GOOD) == 200
    assert ask("203.0.113.5", GOOD, direct="9.9.9.1") == 200
    assert ask("no address", GOOD) == 200


def test_public_address_cannot_take_another_name(client: FlaskClient) -> None:
    for number in range(TRIES):
        client.get(
            PATH,
            headers={**BAD, "X-Forwarded-For": f"203.0.113.{number}"},
            environ_base={"REMOTE_ADDR": "9.9.9.9"},
        )
    answer = client.get(PATH, headers=GOOD, environ_base={"REMOTE_ADDR": "9.9.9.9"})
    assert answer.status_code == 429


def test_gate_gives_a_try_back_with_time() -> None:
    now = 0.0
    gate = AdminGate(TOKEN, clock=lambda: now)
    for _ in range(TRIES):
        assert gate.admit("guess", address="a") == "wrong"
    assert gate.admit(TOKEN, address="a") == "slowed"
    assert gate.seconds_to_wait("a") == SECONDS_PER_TRY
    now = SECONDS_PER_TRY
    assert gate.admit("guess", address="a") == "wrong"
    assert gate.admit(TOKEN, address="a") == "slowed"
    now = 3 * SECONDS_PER_TRY
    assert gate.admit(TOKEN, address="a") == "admitted"
    assert gate.admit(TOKEN, address="b") == "admitted"


def test_request_keeps_the_name_it_brings_and_else_gets_one(client: FlaskClient) -> None:
    brought = client.get("/healthz", headers={"X-Request-ID": "abc-123.x"})
    assert brought.headers["X-Request-ID"] == "abc-123.x"
    names = set()
    for bad in ("", "a b", "x" * 129, '{"a":1}', "ümlaut"):
        answer = client.get("/healthz", headers={"X-Request-ID": bad})
        names.add(answer.headers["X-Request-ID"])
    assert len(names) == 5
    assert all(len(name) == 32 for name in names)
    assert client.get("/api/v1/events").headers["X-Request-ID"]
    assert client.get("/nowhere").headers["X-Request-ID"]


def test_every_log_line_of_a_request_has_its_name_and_the_next_one_has_not(
    client: FlaskClient,
) -> None:
    with capture_logs(processors=[merge_contextvars]) as lines:
        client.get(PATH, headers={**BAD, "X-Request-ID": "first"})
        client.post("/webhooks", headers={"X-Request-ID": "second"})
    assert [(line["event"], line["http_request_id"]) for line in lines] == [
        ("token.refused", "first"),
        ("api.request", "first"),
        ("webhook", "second"),
    ]
    assert "http_request_id" not in get_contextvars()


def test_what_an_operator_does_is_logged_without_the_token(client: FlaskClient) -> None:
    with capture_logs() as lines:
        client.post("/api/v1/destinations/nowhere/test", headers=GOOD)
    [line] = lines
    told = (line["event"], line["status"], line["reason"])
    assert told == ("api.request", 404, "destination-unknown")
    assert TOKEN not in str(lines)
