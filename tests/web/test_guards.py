from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.routing import Rule

from app.web import GUARDS, create_app
from tests.builders import make_settings
from tests.web.conftest import FakeLedger, Services


@pytest.fixture
def app() -> Flask:
    return create_app(Services(make_settings(), FakeLedger()))


def guard_of(rule: Rule) -> str | None:
    return GUARDS.get(rule.endpoint.rpartition(".")[0])


def path_of(rule: Rule) -> str:
    return "".join("main" if dynamic else text for dynamic, text in rule._trace).removeprefix("|")


@pytest.mark.parametrize(("token", "at_least"), [(None, 20), ("the-admin-token", 38)])
def test_every_route_has_a_declared_guard(token: str | None, at_least: int) -> None:
    """Also with a token, because without one there is no dashboard."""
    app = create_app(Services(make_settings(admin_token=token), FakeLedger()))
    routes = list(app.url_map.iter_rules())
    assert len(routes) > at_least
    assert [rule.rule for rule in routes if guard_of(rule) is None] == []


def test_signature_routes_let_nobody_in_without_one(app: Flask) -> None:
    client = app.test_client()
    guarded = [rule for rule in app.url_map.iter_rules() if guard_of(rule) == "signature"]
    assert {rule.rule for rule in guarded} == {"/webhooks", "/webhooks/<hub>"}
    for rule in guarded:
        answer = client.post(path_of(rule), data=b"{}", content_type="application/json")
        assert answer.status_code == 401


def test_what_is_open_is_health_and_nothing_else(app: Flask) -> None:
    is_open = {rule.rule for rule in app.url_map.iter_rules() if guard_of(rule) == "open"}
    assert is_open == {"/healthz", "/readyz", "/api/v1/docs", "/api/v1/openapi.json"}


def test_admin_routes_are_closed_to_everybody_without_the_token(app: Flask) -> None:
    guarded = [rule for rule in app.url_map.iter_rules() if guard_of(rule) == "admin"]
    assert {"/metrics", "/api/v1/events", "/api/v1/jobs/retry"} <= {rule.rule for rule in guarded}
    open_door = create_app(Services(make_settings(admin_token="a-token"), FakeLedger()))
    for rule in guarded:
        for method in rule.methods or ():
            path = path_of(rule).replace("identifier", "1")
            assert app.test_client().open(path, method=method).status_code == 404
            assert open_door.test_client().open(path, method=method).status_code == 401
