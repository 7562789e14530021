from __future__ import annotations

from typing import Any

import pytest

from app.queue import Readiness
from tests.web.conftest import FakeLedger, Real, client_for


def failing(answer: Any) -> list[str]:
    return [check["name"] for check in answer["checks"] if not check["ok"]]


def test_healthz_needs_nothing(away: FakeLedger) -> None:
    answer = client_for(away).get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("ready", "parts"),
    [
        (Readiness(0.0, None), []),
        (Readiness(14.9, 299.9), []),
        (Readiness(15.0, None), ["worker"]),
        (Readiness(None, None), ["worker"]),
        (Readiness(1.0, 300.0), ["backlog"]),
        (Readiness(None, 9000.0), ["worker", "backlog"]),
    ],
)
def test_readyz_names_the_failing_parts(ready: Readiness, parts: list[str]) -> None:
    answer = client_for(FakeLedger(ready=ready)).get("/readyz")
    assert answer.status_code == (503 if parts else 200)
    assert answer.json is not None
    assert answer.json["status"] == ("not-ready" if parts else "ready")
    assert [check["name"] for check in answer.json["checks"]] == ["database", "worker", "backlog"]
    assert failing(answer.json) == parts


def test_readyz_without_database_says_so_and_no_more(away: FakeLedger) -> None:
    answer = client_for(away).get("/readyz")
    assert answer.status_code == 503
    assert "database" in failing(answer.json)
    assert b"10.1.2.3" not in answer.data


def test_readyz_of_a_new_database_waits_for_a_worker(real: Real) -> None:
    answer = client_for(real.ledger).get("/readyz")
    assert answer.status_code == 503
    assert failing(answer.json) == ["worker"]
