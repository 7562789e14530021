"""Who is told what, also when no worker lives, and when signatures are worth a word."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import select, update

from app.bootstrap import look_from_the_web
from app.config import Settings
from app.config.settings import Alerts
from app.db import Storage
from app.db.tables import beats, webhook_events
from app.queue import Job, heartbeat
from app.queue.alerts import Alert
from app.worker.alerting import RefusalAlarm, SignatureWatch, tell
from tests.builders import make_destination, make_settings
from tests.queue.making import accept_items, claim_one
from tests.servers import Reply, ScriptedServer

MINUTE = 60.0
Counts = Mapping[str, float]


@dataclass
class Clock:
    now: float

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ops() -> Iterator[ScriptedServer]:
    server = ScriptedServer(lambda _: Reply())
    yield server
    server.close()


def told_to(ops: ScriptedServer) -> Settings:
    places = (make_destination("default"), make_destination("ops", url=ops.url))
    return make_settings(destinations=places, alerts=Alerts(to=("ops",)))


def test_web_tells_that_no_worker_lives_and_does_nothing_else(
    storage: Storage, ops: ScriptedServer
) -> None:
    accept_items(storage, 1)
    heartbeat(storage, owner="w", host="h", pid=1, running=[])
    with storage.write() as connection:
        connection.execute(update(beats).values(beat_at=beats.c.beat_at - 20_000))
    settings = told_to(ops)
    for _ in range(2):
        look_from_the_web(settings, storage, SignatureWatch())
    [received] = ops.received
    assert received.json["type"] == "alert.no-live-worker"
    alert = received.json["data"]["alert"]
    assert alert["text"].startswith("No worker has given a sign of life for 2")
    assert alert["todo"].startswith("start a worker")


def test_web_leaves_alerts_to_a_worker_that_lives(storage: Storage, ops: ScriptedServer) -> None:
    heartbeat(storage, owner="w", host="h", pid=1, running=[])
    settings = told_to(ops)
    tell(settings, storage, Alert("id-conflict", "main e", once="1"))
    look_from_the_web(settings, storage, SignatureWatch())
    assert ops.received == []


def judged(*looks: tuple[float, Counts]) -> list[str | None]:
    watch = SignatureWatch()
    watch.judge({}, now=0)
    alerts = [watch.judge(outcomes, now=at) for at, outcomes in looks]
    return [alert.text if alert else None for alert in alerts]


def test_many_refused_within_ten_minutes_are_told() -> None:
    mixed = {"signature-missing": 12.0, "signature-mismatch": 8.0, "accepted": 50.0}
    assert judged((MINUTE, {"signature-missing": 19, "accepted": 50})) == [None]
    [text] = judged((MINUTE, mixed))
    assert text == "20 webhooks within 10 minutes had no right signature."


def test_many_refused_over_a_day_are_not_told() -> None:
    looks = [
        (hour * 60 * MINUTE, {"signature-missing": 5.0 * hour, "accepted": 100.0 * hour})
        for hour in range(1, 24)
    ]
    assert set(judged(*looks)) == {None}


def test_few_wrong_ones_are_told_when_none_is_right() -> None:
    looks = [(20 * MINUTE * number, {"signature-mismatch": float(number)}) for number in (1, 2, 3)]
    assert judged(*looks) == [
        None,
        None,
        "3 webhooks within an hour had a wrong signature, and none a right one.",
    ]


def test_few_wrong_ones_beside_right_ones_are_not_told() -> None:
    assert judged((MINUTE, {"signature-mismatch": 5, "duplicate": 1})) == [None]


def test_stranger_without_a_signature_is_not_a_wrong_secret() -> None:
    assert judged((MINUTE, {"signature-missing": 19})) == [None]


def refused(storage: Storage, hub: str = "main") -> Job:
    accept_items(storage, 1)
    return replace(claim_one(storage), hub=hub)


def test_refusals_of_a_hub_are_told_once_an_hour_over_all_processes(
    storage: Storage, ops: ScriptedServer
) -> None:
    settings, job = told_to(ops), refused(storage)
    clock = Clock(float(1_000 * 3600 - 2))
    # Two processes, and the hour turns between them.
    for _ in range(2):
        alarm = RefusalAlarm(settings, storage, clock=clock)
        for _ in range(3):
            alarm(job, "GET /hubs answered 403.")
            clock.now += 1
    assert slugs_of_alerts(storage) == ["amplience-refusing"]
    alarm(replace(job, hub="other"), "GET /hubs answered 404")
    assert slugs_of_alerts(storage) == ["amplience-refusing"] * 2


def test_refusals_that_go_on_are_told_again_after_an_hour(
    storage: Storage, ops: ScriptedServer
) -> None:
    clock = Clock(float(1_000 * 3600 + 10))
    alarm, job = RefusalAlarm(told_to(ops), storage, clock=clock), refused(storage)
    alarm(job, "403")
    with storage.write() as connection:
        an_hour = webhook_events.c.received_at - 3_601_000
        connection.execute(update(webhook_events).values(received_at=an_hour))
    clock.now += 3601
    alarm(job, "403")
    assert slugs_of_alerts(storage) == ["amplience-refusing"] * 2


def test_refusal_alarm_is_a_sentence_that_says_what_to_do(
    storage: Storage, ops: ScriptedServer
) -> None:
    RefusalAlarm(told_to(ops), storage)(refused(storage), "GET /hubs answered 403: No.")
    with storage.read() as connection:
        bodies = connection.execute(
            select(webhook_events.c.body).where(webhook_events.c.origin == "alert")
        )
        told = json.loads(bodies.scalar_one())
    assert told["text"].startswith("Amplience refuses calls for hub main.")
    assert told["text"].endswith("Its answer: GET /hubs answered 403: No.")
    assert "dc-relay check" in told["todo"]


def slugs_of_alerts(storage: Storage) -> list[str]:
    with storage.read() as connection:
        names = select(webhook_events.c.name).where(webhook_events.c.origin == "alert")
        found = connection.execute(names.order_by(webhook_events.c.id)).scalars()
        return [name.removeprefix("dc-relay.alert.") for name in found]
