"""Who is told what, also when no worker lives, and when signatures are worth a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy import update

from app.bootstrap import look_from_the_web
from app.config import Settings
from app.config.settings import Alerts
from app.ledger import beat
from app.ledger.watching import Alert
from app.storage import Storage
from app.storage.tables import beats
from app.worker.alerting import SignatureWatch, tell
from tests.builders import make_destination, make_settings
from tests.ledger.making import accept_items
from tests.servers import Reply, ScriptedServer

MINUTE = 60.0
Counts = Mapping[str, float]


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
    beat(storage, owner="w", host="h", pid=1, running=[])
    with storage.write() as connection:
        connection.execute(update(beats).values(beat_at=beats.c.beat_at - 20_000))
    settings = told_to(ops)
    for _ in range(2):
        look_from_the_web(settings, storage, SignatureWatch())
    [received] = ops.received
    assert received.json["type"] == "alert.no-live-worker"
    alert = received.json["data"]["alert"]
    assert alert["text"].startswith("No worker has given a sign of life for 2")
    assert alert["todo"].startswith("start one")


def test_web_leaves_alerts_to_a_worker_that_lives(storage: Storage, ops: ScriptedServer) -> None:
    beat(storage, owner="w", host="h", pid=1, running=[])
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
