from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, insert, select, update

from app.db import Storage, upgrade_schema
from app.db.tables import destination_states, jobs, now_ms, quota_slots
from app.errors import StorageUnavailable
from app.queue import accept, claim, finish, heartbeat
from app.retry import Decision
from app.web import create_app
from tests.builders import SECRET, make_body, make_settings, signed
from tests.queue.making import accept_items, claim_one, event, localize_plan
from tests.web.conftest import FakeLedger, Services

TOKEN = "the-admin-token-of-this-test"
ROOT = Path(__file__).parents[2]


def samples(text: str) -> dict[str, float]:
    """Every sample of a page, by `name{label="value",…}` with the labels sorted."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{sample.labels[name]}"' for name in sorted(sample.labels))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def scrape(storage: Storage, **settings: object) -> dict[str, float]:
    services = Services(make_settings(metrics_open=True, **settings), FakeLedger(), storage)
    answer = create_app(services).test_client().get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    return samples(answer.text)


def test_page_tells_how_the_work_goes(storage: Storage) -> None:
    accept_items(storage, 3)
    job = claim_one(storage)
    finish(storage, job, Decision("dead", "failed", "destination-refused", failures=1))
    claim_one(storage)
    accept(storage, [(event(), [localize_plan()])])
    heartbeat(storage, owner="w", host="h", pid=1, running=[])
    with storage.write() as connection:
        place = {"name": "default", "breaker": "open", "paused_at": 1}
        connection.execute(insert(destination_states).values(place))
        for slot, free_at in enumerate((now_ms() + 60_000, now_ms() + 60_000, now_ms() - 1)):
            row = {"quota": "publish", "slot": slot, "free_at": free_at}
            connection.execute(insert(quota_slots).values(row))

    page = scrape(storage)

    forward = 'action="forward"'
    assert page[f'dc_relay_queue_jobs{{{forward},state="waiting",target="default"}}'] == 1
    assert page[f'dc_relay_queue_jobs{{{forward},state="running",target="default"}}'] == 1
    assert page['dc_relay_queue_jobs{action="localize",state="waiting",target="main"}'] == 1
    dead = f'{forward},reason="destination-refused",target="default"'
    assert page[f"dc_relay_dead_jobs{{{dead}}}"] == 1
    assert page["dc_relay_workers{}"] == 1
    assert page["dc_relay_worker_beat_age_seconds{}"] < 5
    assert page['dc_relay_destination_held{destination="default",why="paused"}'] == 1
    assert page['dc_relay_destination_held{destination="default",why="breaker"}'] == 1
    assert page['dc_relay_quota_used{quota="publish"}'] == 2
    assert page[f'dc_relay_last_minute_attempts{{{forward},outcome="failed"}}'] == 1
    assert page[f'dc_relay_last_minute_jobs{{{forward},state="dead"}}'] == 1
    assert page["dc_relay_database_up{}"] == 1


def test_oldest_job_counts_whatever_it_waits_for(storage: Storage) -> None:
    accept_items(storage, 1)
    job = claim_one(storage)
    finish(storage, job, Decision("waiting", "retry", "destination-unavailable", delay=36_000))
    with storage.write() as connection:
        connection.execute(update(jobs).values(created_at=now_ms() - 7_200_000))
    page = scrape(storage)
    place = '{action="forward",target="default"}'
    assert page["dc_relay_oldest_seconds{}"] == pytest.approx(7200, abs=30)
    assert page[f"dc_relay_queue_oldest_seconds{place}"] == pytest.approx(7200, abs=30)
    assert page[f"dc_relay_queue_due_seconds{place}"] == 0
    assert claim(storage, owner="w", wanted={"forward:default": 1}) == []


def test_page_tells_how_long_it_took_from_webhook_to_done(storage: Storage) -> None:
    accept_items(storage, 3)
    for _ in range(3):
        finish(storage, claim_one(storage), Decision("succeeded", "succeeded"))
    with storage.write() as connection:
        first = jobs.c.id == select(func.min(jobs.c.id)).scalar_subquery()
        connection.execute(update(jobs).values(finished_at=jobs.c.created_at + 1400))
        connection.execute(update(jobs).where(first).values(created_at=jobs.c.finished_at - 7000))
    page = scrape(storage)
    name = "dc_relay_last_minute_done_seconds"
    within = {
        bound: page[f'{name}_bucket{{action="forward",le="{bound}",target="default"}}']
        for bound in ("1.0", "2.5", "5.0", "10.0", "+Inf")
    }
    assert within == {"1.0": 0, "2.5": 2, "5.0": 2, "10.0": 3, "+Inf": 3}
    assert page[f'{name}_sum{{action="forward",target="default"}}'] == pytest.approx(9.8)


def test_every_destination_has_its_breaker_on_the_page_also_when_all_is_well(
    storage: Storage,
) -> None:
    with storage.write() as connection:
        connection.execute(insert(destination_states).values(name="gone", breaker="half-open"))
    page = scrape(storage)

    def breaker(name: str) -> dict[str, float]:
        return {
            state: page[f'dc_relay_destination_breaker{{destination="{name}",state="{state}"}}']
            for state in ("closed", "open", "half-open")
        }

    assert breaker("search") == {"closed": 1, "open": 0, "half-open": 0}
    assert breaker("gone") == {"closed": 0, "open": 0, "half-open": 1}
    assert page['dc_relay_destination_held{destination="search",why="breaker"}'] == 0
    assert page['dc_relay_destination_held{destination="gone",why="breaker"}'] == 1


def test_empty_service_has_a_page_of_zeros(sqlite_url: str) -> None:
    storage = Storage(sqlite_url)
    upgrade_schema(storage)
    page = scrape(storage)
    storage.close()
    assert page["dc_relay_oldest_seconds{}"] == 0
    assert page["dc_relay_workers{}"] == 0
    assert not [name for name in page if name.startswith("dc_relay_worker_beat_age")]


class _Away(Storage):
    def read(self) -> object:  # type: ignore[override]
        raise StorageUnavailable("connection refused")


def test_page_says_that_the_database_is_away() -> None:
    assert scrape(_Away("sqlite:///never-opened.db"))["dc_relay_database_up{}"] == 0


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        ({}, {}, 404),
        ({"admin_token": TOKEN}, {}, 401),
        ({"admin_token": TOKEN}, {"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"metrics_open": True}, {}, 200),
    ],
)
def test_page_is_for_the_admin_unless_it_was_opened(
    settings: dict[str, object], headers: dict[str, str], status: int
) -> None:
    services = Services(make_settings(**settings), FakeLedger(), _Away("sqlite:///never-opened.db"))
    answer = create_app(services).test_client().get("/metrics", headers=headers)
    assert answer.status_code == status


@contextmanager
def two_workers(home: Path) -> Iterator[tuple[str, int]]:
    """The web as it is served; its URL, and the process id of the parent."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    storage = Storage(f"sqlite:///{home}/relay.db")
    upgrade_schema(storage)
    storage.close()
    environ = {
        "PATH": os.environ["PATH"],
        "RELAY_CONFIG": "",
        "DATABASE_URL": f"sqlite:///{home}/relay.db",
        "WEBHOOK_SECRET": SECRET,
        "METRICS_OPEN": "1",
        "PORT": str(port),
        "WEB_CONCURRENCY": "2",
    }
    command = (sys.executable, "-m", "gunicorn", "-c", "python:app.web.gunicorn_config")
    process = subprocess.Popen(
        (*command, "app.web.wsgi:app"), cwd=ROOT, env=environ, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(30)


def children_of(pid: int) -> set[int]:
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def until_answered(ask: Callable[[], requests.Response]) -> requests.Response:
    """Ask until a worker is up. Each time over a new connection, so that any of them may answer."""
    for _ in range(300):
        try:
            return ask()
        except requests.ConnectionError:
            time.sleep(0.02)
    raise AssertionError("the server does not answer")


@pytest.mark.processes
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes in /proc")
def test_counters_add_up_over_workers_and_survive_their_death(tmp_path: Path) -> None:
    body = make_body()
    headers = {**signed(body, "another-secret"), "Connection": "close"}
    with two_workers(tmp_path) as (url, parent):

        def send(times: int) -> None:
            for _ in range(times):
                answer = until_answered(
                    lambda: requests.post(f"{url}/webhooks", data=body, headers=headers, timeout=5)
                )
                assert answer.status_code == 401

        def counted() -> set[float]:
            pages = [
                until_answered(
                    lambda: requests.get(
                        f"{url}/metrics", headers={"Connection": "close"}, timeout=5
                    )
                ).text
                for _ in range(8)
            ]
            name = 'dc_relay_webhooks_total{outcome="signature-mismatch"}'
            return {samples(page)[name] for page in pages}

        send(30)
        assert counted() == {30}
        for sent, child in enumerate(sorted(children_of(parent)), start=31):
            os.kill(child, signal.SIGKILL)
            send(1)
            assert counted() == {sent}
