from __future__ import annotations

from prometheus_client import REGISTRY, generate_latest

from app.observability import count_attempt, count_job, count_webhook


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_webhook_is_counted_by_its_outcome() -> None:
    before = sample("dc_relay_webhooks_total", outcome="duplicate")
    other = sample("dc_relay_webhooks_total", outcome="accepted")

    count_webhook("duplicate")

    assert sample("dc_relay_webhooks_total", outcome="duplicate") == before + 1
    assert sample("dc_relay_webhooks_total", outcome="accepted") == other


def test_a_job_is_counted_by_action_and_state() -> None:
    before = sample("dc_relay_jobs_total", action="forward", state="dead")

    count_job("forward", "dead")

    assert sample("dc_relay_jobs_total", action="forward", state="dead") == before + 1


def test_an_attempt_is_counted_and_timed_in_seconds() -> None:
    counted = sample("dc_relay_attempts_total", action="localize", outcome="retry")
    timed = sample("dc_relay_attempt_seconds_sum", action="localize")
    quick = sample("dc_relay_attempt_seconds_bucket", action="localize", le="0.25")
    slow = sample("dc_relay_attempt_seconds_bucket", action="localize", le="0.5")

    count_attempt("localize", "retry", 0.3)

    assert sample("dc_relay_attempts_total", action="localize", outcome="retry") == counted + 1
    assert sample("dc_relay_attempt_seconds_sum", action="localize") == timed + 0.3
    assert sample("dc_relay_attempt_seconds_bucket", action="localize", le="0.25") == quick
    assert sample("dc_relay_attempt_seconds_bucket", action="localize", le="0.5") == slow + 1


def test_every_metric_tells_what_it_counts() -> None:
    page = generate_latest().decode()
    names = [line.split()[2] for line in page.splitlines() if line.startswith("# TYPE dc_relay_")]
    told = {line.split()[2] for line in page.splitlines() if line.startswith("# HELP dc_relay_")}

    assert {n for n in names if not n.endswith("_created")} <= told
    assert "dc_relay_webhooks_total" in names
