"""Never an older version after a newer one, and of a burst only the newest."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from sqlalchemy import select, update

from app.db import Storage
from app.db.tables import jobs, now_ms, sent_items
from app.queue import accept, claim, finish, newer_was_sent
from app.queue.delivered_versions import forget_sent
from app.retry import Decision
from tests.queue.making import ITEM, claim_one, event, forward_plan

DONE = Decision("succeeded", "succeeded")
LATER = Decision("waiting", "retry", failures=1)


def send(storage: Storage, version: int) -> None:
    accept(storage, [(event(), [forward_plan(version=version)])])
    finish(storage, claim_one(storage), DONE)


def put_off(storage: Storage, job: int, *, milliseconds: int = 36_000_000) -> None:
    """Write what an attempt that failed writes, without a look at what else waits."""
    with storage.write() as connection:
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job)
            .values(state="waiting", owner=None, run_at=now_ms() + milliseconds, failures=1)
        )


def states(storage: Storage) -> list[str]:
    return [state for state, _ in rows(storage)]


def rows(storage: Storage) -> list[tuple[str, int]]:
    with storage.read() as connection:
        found = connection.execute(select(jobs.c.state, jobs.c.run_at).order_by(jobs.c.id)).all()
        return [(row.state, row.run_at) for row in found]


def test_older_version_knows_that_a_newer_one_was_sent(storage: Storage) -> None:
    send(storage, 9)
    accept(storage, [(event(), [forward_plan(version=5)])])
    assert newer_was_sent(storage, claim_one(storage)) is True


def test_same_and_newer_versions_may_be_sent(storage: Storage) -> None:
    send(storage, 9)
    for version in (9, 10):
        accept(storage, [(event(), [forward_plan(version=version)])])
        job = claim_one(storage)
        assert newer_was_sent(storage, job) is False
        finish(storage, job, DONE)


def test_other_items_and_destinations_do_not_count(storage: Storage) -> None:
    send(storage, 9)
    other = forward_plan("other-item", version=1)
    place = forward_plan(version=1, target="other", key="k", queue="forward:other")
    accept(storage, [(event(), [other, place])])
    assert newer_was_sent(storage, claim_one(storage)) is False
    assert newer_was_sent(storage, claim_one(storage, queue="forward:other")) is False


def test_send_of_an_older_version_does_not_lower_what_is_remembered(storage: Storage) -> None:
    send(storage, 9)
    send(storage, 5)
    with storage.read() as connection:
        assert connection.execute(select(sent_items.c.version)).scalar_one() == 9


def test_failed_send_is_not_remembered(storage: Storage) -> None:
    accept(storage, [(event(), [forward_plan(version=9)])])
    finish(storage, claim_one(storage), LATER)
    with storage.read() as connection:
        assert connection.execute(select(sent_items)).all() == []


def test_event_that_arrives_later_wins_whatever_date_it_has(storage: Storage) -> None:
    for name, day in (("by hand", 26), ("edition", 24)):
        made = event(name, snapshot_created=datetime(2025, 11, day, tzinfo=UTC))
        accept(storage, [(made, [forward_plan()])])
    job = claim_one(storage)
    assert job.event_id == "edition"
    assert states(storage) == ["superseded", "running"]


def test_date_decides_between_events_that_arrive_at_the_same_moment(storage: Storage) -> None:
    dated = [
        (event(f"of {day}", snapshot_created=datetime(2025, 11, day, tzinfo=UTC)), [forward_plan()])
        for day in (24, 26, 25)
    ]
    accept(storage, dated)
    assert claim_one(storage).event_id == "of 26"
    assert Counter(states(storage)) == {"superseded": 2, "running": 1}


def test_what_was_sent_in_the_future_is_not_newer(storage: Storage) -> None:
    """The database's clock was set back since then."""
    with storage.read() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
    send(storage, now + 3_600_000)
    accept(storage, [(event(), [forward_plan()])])
    assert newer_was_sent(storage, claim_one(storage)) is False


def test_two_from_the_future_are_compared(storage: Storage) -> None:
    with storage.read() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
    send(storage, now + 7_200_000)
    accept(storage, [(event(), [forward_plan(version=now + 3_600_000)])])
    assert newer_was_sent(storage, claim_one(storage)) is True


def test_what_was_sent_of_an_item_can_be_forgotten(storage: Storage) -> None:
    send(storage, 9)
    accept(storage, [(event(), [forward_plan(version=5)])])
    assert forget_sent(storage, destination="default", item_id=ITEM) == 1
    assert newer_was_sent(storage, claim_one(storage)) is False


def test_older_retry_that_nobody_superseded_does_not_hold_up_the_newer_one(
    storage: Storage,
) -> None:
    """Its attempt ended while the newer event was being stored: neither saw the other."""
    accept(storage, [(event("old"), [forward_plan()])])
    old = claim_one(storage)
    accept(storage, [(event("new"), [forward_plan()])])
    put_off(storage, old.id)
    assert claim_one(storage).event_id == "new"
    assert states(storage) == ["superseded", "running"]


def test_older_due_job_that_nobody_superseded_is_not_sent_first(storage: Storage) -> None:
    accept(storage, [(event("old"), [forward_plan()])])
    old = claim_one(storage)
    accept(storage, [(event("new"), [forward_plan(delay=3600.0)])])
    put_off(storage, old.id, milliseconds=0)
    assert claim(storage, owner="worker-1", wanted={"forward:default": 5}) == []


def test_retry_of_one_rule_does_not_hold_up_another_rule(storage: Storage) -> None:
    accept(storage, [(event("one"), [forward_plan()])])
    finish(storage, claim_one(storage), Decision("waiting", "retry", delay=36_000, failures=1))
    accept(storage, [(event("other"), [forward_plan(rule="other")])])
    assert claim_one(storage).event_id == "other"
    assert states(storage) == ["waiting", "running"]


def test_two_events_of_two_rules_that_did_not_see_each_other_do_not_block_each_other(
    storage: Storage,
) -> None:
    """Both were stored at the same moment, by two processes: neither superseded the other."""
    for name in ("old", "new"):
        accept(storage, [(event(name), [forward_plan(), forward_plan(rule="other")])])
    with storage.write() as connection:
        connection.execute(update(jobs).values(state="waiting"))
    for rule in ("forward", "other"):
        job = claim_one(storage)
        assert (job.event_id, job.rule) == ("new", rule)
        finish(storage, job, DONE)
    assert states(storage) == ["superseded"] * 2 + ["succeeded"] * 2


def test_coalesced_events_become_one_job_at_the_time_of_the_first(storage: Storage) -> None:
    for version in range(1, 6):
        accept(storage, [(event(), [forward_plan(version=version, delay=2.0)])])
    found = rows(storage)
    assert [state for state, _ in found] == ["superseded"] * 4 + ["waiting"]
    assert len({run_at for _, run_at in found}) == 1


def test_newer_event_does_not_wait_for_the_retry_of_an_older_one(storage: Storage) -> None:
    accept(storage, [(event(), [forward_plan(version=1)])])
    finish(storage, claim_one(storage), Decision("waiting", "retry", delay=3600, failures=1))
    accept(storage, [(event("new"), [forward_plan(version=2)])])
    assert claim_one(storage).event_id == "new"


def test_message_of_one_rule_is_not_made_old_by_that_of_another(storage: Storage) -> None:
    """Two rules of different events: what the one sends does not replace what the other does."""
    accept(storage, [(event("published"), [forward_plan()])])
    finish(storage, claim_one(storage), LATER)
    accept(storage, [(event("saved"), [forward_plan(rule="other")])])
    with storage.write() as connection:
        connection.execute(update(jobs).values(version=jobs.c.id))
        connection.execute(update(jobs).where(jobs.c.rule == "forward").values(run_at=1 << 45))
    saved = claim_one(storage)
    assert saved.event_id == "saved"
    finish(storage, saved, DONE)
    with storage.write() as connection:
        connection.execute(update(jobs).values(run_at=0))
    published = claim_one(storage)
    assert published.event_id == "published"
    assert not newer_was_sent(storage, published)
