"""The jobs that follow from a job, and what a deletion and a publish do to one another."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from app.db import Storage
from app.db.tables import jobs
from app.queue import Job, accept, claim, finish
from app.retry import Decision, FollowUp
from tests.queue.making import ITEM, claim_one, event, forward_plan, localize_plan

KEY = f"forward:default:main:{ITEM}"
# As if it arrived long after everything else in these tests.
AFTER = 1 << 45
GONE = {"kind": "deleted", "item_id": ITEM}


def following(**changes: Any) -> FollowUp:
    values: dict[str, Any] = {
        "action": "forward",
        "target": "default",
        "queue": "forward:default",
        "key": KEY,
        "args": GONE,
    }
    return FollowUp(**{**values, **changes})


def done(*follow_up: FollowUp) -> Decision:
    return Decision("succeeded", "succeeded", follow_up=follow_up)


def states(storage: Storage) -> list[tuple[str, str]]:
    with storage.read() as connection:
        rows = connection.execute(select(jobs.c.rule, jobs.c.state).order_by(jobs.c.id))
        return [(row.rule, row.state) for row in rows]


def finished(storage: Storage, *follow_up: FollowUp) -> Job:
    """A job of another rule ends, and leaves what follows."""
    accept(storage, [(event("cause"), [localize_plan(rule="drop")])])
    job = claim_one(storage, queue="localize:main")
    assert finish(storage, job, done(*follow_up)).owned
    return job


def test_what_follows_is_written_whatever_text_is_in_it(storage: Storage) -> None:
    finished(storage, following(args={**GONE, "delivery_key": "half \ud83d \0"}))
    assert claim_one(storage).args["delivery_key"] == "half \ufffd \ufffd"


def test_what_follows_is_of_the_same_event_and_rule(storage: Storage) -> None:
    finished(storage, following(), following(target="second", queue="forward:second", key="other"))
    job, other = claim(
        storage, owner="worker-1", wanted={"forward:default": 1, "forward:second": 1}
    )
    assert (job.event_id, job.rule, job.action, job.args) == ("cause", "drop", "forward", GONE)
    assert job.version > 1_700_000_000_000
    assert other.target == "second"


def test_attempt_that_lost_its_job_leaves_nothing(storage: Storage) -> None:
    job = finished(storage)
    assert not finish(storage, job, done(following())).owned
    assert states(storage) == [("drop", "succeeded")]


@pytest.mark.parametrize("rule", ["drop", "forward"])
def test_deletion_takes_the_place_of_waiting_publishes_of_every_rule(
    storage: Storage, rule: str
) -> None:
    accept(storage, [(event(), [forward_plan(rule=rule)])])
    finished(storage, following())
    assert states(storage) == [(rule, "superseded"), ("drop", "succeeded"), ("drop", "waiting")]


def test_deletion_leaves_a_publish_that_arrived_after_the_attempt_began(storage: Storage) -> None:
    accept(storage, [(event(), [forward_plan(version=AFTER)])])
    finished(storage, following())
    assert states(storage)[0] == ("forward", "waiting")


def test_newer_publish_leaves_a_waiting_deletion_and_does_not_wait_for_its_retry(
    storage: Storage,
) -> None:
    """The published content may be gone again by the time it is pulled."""
    finished(storage, following())
    deletion = claim_one(storage)
    accept(storage, [(event(), [forward_plan(version=AFTER)])])
    finish(storage, deletion, Decision("waiting", "retry", delay=3600, failures=1))
    assert states(storage)[1:] == [("drop", "waiting"), ("forward", "waiting")]
    assert claim_one(storage).args == forward_plan().args


def test_publish_that_fails_gives_way_to_a_waiting_deletion(storage: Storage) -> None:
    accept(storage, [(event(), [forward_plan(version=5)])])
    publish = claim_one(storage)
    finished(storage, following())
    assert finish(storage, publish, Decision("waiting", "retry", "destination-unavailable")).owned
    assert states(storage)[0] == ("forward", "superseded")


def test_two_rules_still_send_one_item_in_two_ways(storage: Storage) -> None:
    plans = [forward_plan(version=5), forward_plan(rule="other", version=5)]
    accept(storage, [(event(), plans)])
    accept(storage, [(event(), [forward_plan(version=6)])])
    assert states(storage) == [
        ("forward", "superseded"),
        ("other", "waiting"),
        ("forward", "waiting"),
    ]


def test_job_of_all_items_that_sends_nothing_has_another_item_sent(storage: Storage) -> None:
    for item in ("one", "two", "not-there"):
        accept(storage, [(event(), [forward_plan(item, key="forward:default")])])
    job = claim_one(storage)
    assert job.args["item_id"] == "not-there"
    finish(storage, job, Decision("dead", "failed", "content-not-found"))
    assert [state for _, state in states(storage)] == ["superseded", "waiting", "dead"]
    job = claim_one(storage)
    assert job.args["item_id"] == "two"
    finish(storage, job, Decision("skipped", "skipped", "unpublished-meanwhile"))
    assert [state for _, state in states(storage)] == ["waiting", "skipped", "dead"]
    finish(storage, claim_one(storage), done())
    assert [state for _, state in states(storage)] == ["succeeded", "skipped", "dead"]


@pytest.mark.parametrize(
    ("key", "decision"),
    [
        # The older job is of the same item, and would find the same.
        (KEY, Decision("skipped", "skipped", "unpublished-meanwhile")),
        # The destination refused: what it makes of another item is not asked.
        ("forward:default", Decision("dead", "failed", "destination-refused", health="good")),
    ],
)
def test_what_a_job_superseded_stays_so(storage: Storage, key: str, decision: Decision) -> None:
    for item in ("one", "two"):
        accept(storage, [(event(), [forward_plan(item, key=key)])])
    finish(storage, claim_one(storage), decision)
    assert [state for _, state in states(storage)] == ["superseded", decision.state]
