"""What an operator is told without asking, and that it is told once."""

from __future__ import annotations

from sqlalchemy import select, update

from app.advice import ALERTS
from app.db import Storage
from app.db.tables import beats, destination_states, jobs, webhook_events
from app.queue import accept, finish, heartbeat, record_health
from app.queue.alerts import Alert, find_alerts, raise_alert
from app.queue.limits import OPEN_AFTER
from app.retry import Decision
from tests.queue.making import accept_items, claim_one, event, forward_plan

FIVE_MINUTES = 300_000
DEAD = Decision("dead", "failed", "destination-refused")


def slugs(storage: Storage) -> list[str]:
    return [alert.slug for alert in find_alerts(storage, oldest_waiting_ms=FIVE_MINUTES)]


def test_quiet_ledger_has_nothing_to_tell(storage: Storage) -> None:
    accept_items(storage, 3)
    heartbeat(storage, owner="w", host="h", pid=1, running=[])
    assert slugs(storage) == []


def test_dead_jobs_of_one_reason_are_one_alert(storage: Storage) -> None:
    accept_items(storage, 3)
    for _ in range(3):
        finish(storage, claim_one(storage), DEAD)
    [alert] = find_alerts(storage, oldest_waiting_ms=FIVE_MINUTES)
    assert (alert.slug, alert.subject) == ("job-dead", "forward default: destination-refused")
    assert alert.facts["jobs"] == 3
    assert alert.text.startswith(
        "3 jobs of forward for default failed for good: destination-refused. It means: "
    )
    assert str(alert.told["todo"]).startswith("do what the reason asks for")


def test_dead_job_is_the_same_alert_in_the_hour_that_follows(storage: Storage) -> None:
    accept_items(storage, 1)
    finish(storage, claim_one(storage), DEAD)
    with storage.write() as connection:
        an_hour = 3_600_000
        last_hour = jobs.c.finished_at - jobs.c.finished_at % an_hour - 1
        connection.execute(update(jobs).values(finished_at=last_hour))
        died = connection.execute(select(jobs.c.finished_at)).scalar_one()
    [alert] = find_alerts(storage, oldest_waiting_ms=FIVE_MINUTES)
    assert alert.once == str(died // an_hour)


def test_every_alert_is_a_sentence_and_says_what_to_do(storage: Storage) -> None:
    accept_items(storage, 2)
    finish(storage, claim_one(storage), DEAD)
    accept(storage, [(event("e"), [])])
    accept(storage, [(event("e", payload={"id": "other"}), [])])
    record_health(storage, "shop", "gone")
    for _ in range(OPEN_AFTER):
        record_health(storage, "search", "bad")
    with storage.write() as connection:
        connection.execute(update(jobs).values(run_at=jobs.c.run_at - FIVE_MINUTES - 1000))
    found = find_alerts(storage, oldest_waiting_ms=FIVE_MINUTES)
    assert {alert.slug for alert in found} == set(ALERTS) - {
        "amplience-refusing",
        "destination-closed",
        "signatures-refused",
    }
    for alert in found:
        assert alert.text.endswith("."), alert
        assert alert.told["todo"] == ALERTS[alert.slug].todo


def test_dead_alert_raises_no_alert(storage: Storage) -> None:
    alert = Alert("job-dead", "x", once="1")
    raise_alert(storage, alert, to=["ops"])
    finish(storage, claim_one(storage, queue="alert:ops"), DEAD)
    assert slugs(storage) == []


def test_breaker_is_told_when_it_opens_and_when_it_closes(storage: Storage) -> None:
    for _ in range(OPEN_AFTER):
        record_health(storage, "default", "bad")
    assert slugs(storage) == ["destination-opened"]
    with storage.write() as connection:
        connection.execute(update(destination_states).values(breaker="half-open"))
    record_health(storage, "default", "good")
    assert slugs(storage) == ["destination-closed"]


def test_paused_destination_is_told(storage: Storage) -> None:
    record_health(storage, "default", "gone")
    assert slugs(storage) == ["destination-paused"]


def test_job_that_is_due_for_too_long_is_told_with_no_exclusions(storage: Storage) -> None:
    accept_items(storage, 1)
    record_health(storage, "default", "gone")
    with storage.write() as connection:
        connection.execute(update(jobs).values(run_at=jobs.c.run_at - FIVE_MINUTES - 1000))
    assert "oldest-waiting" in slugs(storage)


def test_job_that_waits_for_its_time_is_not_late(storage: Storage) -> None:
    accept_items(storage, 1)
    finish(storage, claim_one(storage), Decision("waiting", "retry", delay=7200))
    assert slugs(storage) == []


def test_same_id_with_another_body_is_told(storage: Storage) -> None:
    accept(storage, [(event("e"), [])])
    accept(storage, [(event("e", payload={"id": "other"}), [])])
    assert slugs(storage) == ["id-conflict"]


def test_silence_of_all_workers_is_told(storage: Storage) -> None:
    heartbeat(storage, owner="w", host="h", pid=1, running=[])
    with storage.write() as connection:
        connection.execute(update(beats).values(beat_at=beats.c.beat_at - 20_000))
    assert slugs(storage) == ["no-live-worker"]


def test_worker_that_never_came_is_told_when_work_waits(storage: Storage) -> None:
    accept_items(storage, 1)
    assert slugs(storage) == []
    with storage.write() as connection:
        connection.execute(update(jobs).values(run_at=jobs.c.run_at - 20_000))
    assert slugs(storage) == ["no-live-worker"]


def test_alert_is_raised_once_whoever_finds_it(storage: Storage) -> None:
    alert = Alert("job-dead", "forward default: x", once="1", facts={"jobs": 1})
    again = Alert("job-dead", "forward default: x", once="1", facts={"jobs": 2})
    later = Alert("job-dead", "forward default: x", once="2", facts={"jobs": 2})
    raised = [raise_alert(storage, one, to=["ops"]) for one in (alert, again, later)]
    assert raised == [True, False, True]
    assert claim_one(storage, queue="alert:ops").args["facts"] == {"jobs": 1}


def test_alert_without_destinations_is_kept_all_the_same(storage: Storage) -> None:
    assert raise_alert(storage, Alert("no-live-worker", "all", once="1"), to=[])
    with storage.read() as connection:
        row = connection.execute(select(webhook_events.c.name, webhook_events.c.origin)).one()
    assert tuple(row) == ("dc-relay.alert.no-live-worker", "alert")


def test_alerts_do_not_take_the_place_of_each_other_or_of_content(storage: Storage) -> None:
    accept(storage, [(event(), [forward_plan()])])
    for number in range(3):
        raise_alert(storage, Alert("job-dead", f"n{number}", once="1"), to=["default"])
    with storage.read() as connection:
        assert connection.execute(select(jobs.c.state)).scalars().all() == ["waiting"] * 4
