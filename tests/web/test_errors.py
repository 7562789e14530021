from __future__ import annotations

import json
from typing import Any

import pytest
from flask import abort, got_request_exception
from structlog.testing import capture_logs

from app.web import create_app
from tests.builders import make_body, make_settings, signed
from tests.web.conftest import FakeLedger, Services, client_for


@pytest.mark.parametrize("path", ["/nowhere", "/webhooks/", "/webhooks/a/b", "/static/x.js"])
def test_unknown_path_is_a_problem_document(path: str) -> None:
    answer = client_for(FakeLedger()).get(path)
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
    document = json.loads(answer.data)
    assert document["reason"] == "not-found"
    assert document["title"] == "Not Found"


def test_unexpected_error_tells_nothing_and_is_logged_and_signalled_once() -> None:
    app = create_app(Services(make_settings(), FakeLedger(error=RuntimeError("hush"))))
    signalled: list[Any] = []

    def note(_sender: Any, exception: BaseException, **_: Any) -> None:
        signalled.append(exception)

    got_request_exception.connect(note, app)
    body = make_body()
    with capture_logs() as logs:
        answer = app.test_client().post("/webhooks", data=body, headers=signed(body))
    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert json.loads(answer.data)["reason"] == "internal-error"
    assert b"hush" not in answer.data
    assert [str(error) for error in signalled] == ["hush"]
    (line,) = [line for line in logs if line["event"] == "unhandled-exception"]
    assert str(line["exc_info"][1]) == "hush"


def test_every_answer_forbids_sniffing_and_storing() -> None:
    client = client_for(FakeLedger())
    for answer in (client.get("/healthz"), client.get("/nowhere"), client.post("/webhooks")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("status", "reason"), [(400, "bad-request"), (403, "forbidden"), (418, "i-m-a-teapot")]
)
def test_any_other_http_error_has_a_slug_from_its_name(status: int, reason: str) -> None:
    app = create_app(Services(make_settings(), FakeLedger()))
    app.add_url_rule("/abort", view_func=lambda: abort(status))
    answer = app.test_client().get("/abort")
    assert answer.status_code == status
    assert json.loads(answer.data)["reason"] == reason


def test_redirect_is_no_problem() -> None:
    app = create_app(Services(make_settings(), FakeLedger()))
    app.add_url_rule("/with-slash/", view_func=lambda: "here")
    answer = app.test_client().get("/with-slash")
    assert answer.status_code == 308
    assert answer.headers["Location"].endswith("/with-slash/")
