"""What operators read of the API and the metrics is complete, and no more."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from app.db import Storage, upgrade_schema
from app.web import create_app
from tests.builders import make_settings
from tests.docs import pages, source
from tests.web.conftest import FakeLedger, Services

PAGE = "docs/api.md"
API = (
    "app/web/api",
    "app/web/auth.py",
    "app/web/refusals.py",
    "app/queue/operator.py",
    "app/queue/search.py",
    "app/destinations/trial.py",
)
# Written with a dash, and no reasons of a refusal.
OTHERS = frozenset({"api-documents", "by-hand", "dc-relay", "newer-event"})
# Put together from a verdict, or of the rest of the web.
ELSEWHERE = frozenset({"token-missing", "token-wrong", "storage-unavailable"})


def served() -> Any:
    services = Services(make_settings(admin_token="a-token"), FakeLedger())
    return create_app(services).test_client().get("/api/v1/openapi.json").get_json()


def test_every_operation_is_on_the_page_and_no_other() -> None:
    listed = pages.named(pages.rows(pages.text(PAGE), header="operation"))
    assert listed == {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, methods in served()["paths"].items()
        for method in methods
        if method != "parameters"
    }


def test_every_reason_is_on_the_page_and_no_other() -> None:
    listed = pages.named(pages.rows(pages.text(PAGE), header="reason"))
    assert listed == source.dashed(*API) - OTHERS | ELSEWHERE


def scraped(home: Path) -> set[str]:
    storage = Storage(f"sqlite:///{home}/relay.db")
    upgrade_schema(storage)
    services = Services(make_settings(metrics_open=True), FakeLedger(), storage)
    page = create_app(services).test_client().get("/metrics").text
    storage.close()
    return set(re.findall(r"(?m)^# TYPE (dc_relay_\w+) ", page))


def test_every_metric_is_on_the_page_and_no_other(tmp_path: Path) -> None:
    listed = pages.named(pages.rows(pages.section(pages.REFERENCE, "Metrics"), header="metric"))
    missing_at_first = {"dc_relay_worker_beat_age_seconds"}
    there = {name for name in scraped(tmp_path) if not name.endswith("_created")}
    assert listed == there | missing_at_first


def test_alert_rules_and_dashboard_ask_for_metrics_that_there_are() -> None:
    listed = pages.named(pages.rows(pages.section(pages.REFERENCE, "Metrics"), header="metric"))
    rules = "\n".join(pages.blocks(pages.RUN, "yaml"))
    dashboard = (pages.ROOT / "docs/grafana-dashboard.json").read_text(encoding="utf-8")
    assert json.loads(dashboard)["panels"]
    for text in (rules, dashboard):
        asked = set(re.findall(r"dc_relay_\w+", text))
        assert asked
        assert asked <= listed
