"""Never an older version after a newer one, and of a burst only the newest."""

from __future__ import annotations

from sqlalchemy import select

from app.ledger import accept, finish, newer_was_sent
from app.retry import Decision
from app.storage import Storage
from app.storage.tables import jobs, sent_items
from tests.ledger.making import claim_one, event, forward_plan

DONE = Decision("succeeded", "succeeded")
LATER = Decision("waiting", "retry", failures=1)


def send(storage: Storage, version: int) -> None:
    accept(storage, [(event(), [forward_plan(version=version)])])
    finish(storage, claim_one(storage), DONE)


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
    place = forward_plan(version=1, target="other", key="k", lane="forward:other")
    accept(storage, [(event(), [other, place])])
    assert newer_was_sent(storage, claim_one(storage)) is False
    assert newer_was_sent(storage, claim_one(storage, lane="forward:other")) is False


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


def test_event_that_arrives_late_waits_behind_the_newer_one(storage: Storage) -> None:
    accept(storage, [(event("new"), [forward_plan(version=9)])])
    accept(storage, [(event("old"), [forward_plan(version=5)])])
    first = claim_one(storage)
    assert first.event_id == "new"
    finish(storage, first, DONE)
    second = claim_one(storage)
    assert (second.event_id, newer_was_sent(storage, second)) == ("old", True)


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
