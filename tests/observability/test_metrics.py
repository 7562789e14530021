from __future__ import annotations

from prometheus_client import REGISTRY, generate_latest

from app.observability import count_webhook


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_webhook_is_counted_by_its_outcome() -> None:
    before = sample("dc_relay_webhooks_total", outcome="duplicate")
    other = sample("dc_relay_webhooks_total", outcome="accepted")

    count_webhook("duplicate")

    assert sample("dc_relay_webhooks_total", outcome="duplicate") == before + 1
    assert sample("dc_relay_webhooks_total", outcome="accepted") == other


def test_every_metric_tells_what_it_counts() -> None:
    page = generate_latest().decode()
    names = [line.split()[2] for line in page.splitlines() if line.startswith("# TYPE dc_relay_")]
    told = {line.split()[2] for line in page.splitlines() if line.startswith("# HELP dc_relay_")}

    assert {n for n in names if not n.endswith("_created")} <= told
    assert "dc_relay_webhooks_total" in names
