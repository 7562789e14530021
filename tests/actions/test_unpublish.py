"""The decisions of unpublish, and of telling a destination, that are hard to time over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from app.actions import Action, Attempt, ToDestination
from app.actions.dropping import Drop
from app.actions.unpublish import Unpublish
from app.config import Destination
from app.db import Storage
from app.destinations.message import Message
from app.destinations.sending import Answer
from app.errors import (
    AmplienceError,
    DestinationUnavailable,
    NotFound,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
)
from app.events import ContentItem
from app.queue import Job, accept, claim, finish
from app.queue.quotas import reserve_publish
from app.retry import Decision, Failed, LookAgain, Outcome, Skipped, Succeeded, Superseded
from app.rules import Plan
from tests.queue.making import ITEM, event, forward_plan

NOW = 1_741_000_000.0
PUBLISHED_AT = datetime(2025, 3, 3, 11, 0, tzinfo=UTC)


def item(**changes: Any) -> ContentItem:
    made = ContentItem(
        id=ITEM,
        version=2,
        status="ARCHIVED",
        publishing_status="LATEST",
        delivery_key="home/banner",
        last_published=PUBLISHED_AT,
    )
    return replace(made, **changes)


@dataclass
class Amplience:
    """Holds one item; `problem` is raised by each unpublish, `works` says whether it takes.

    `unreadable` is raised by each read.
    """

    item: ContentItem | None = field(default_factory=item)
    problem: AmplienceError | None = None
    works: bool = True
    calls: int = 0
    unreadable: AmplienceError | None = None

    def content_item(self, item_id: str) -> ContentItem:
        if self.unreadable:
            raise self.unreadable
        if self.item is None or self.item.id != item_id:
            raise NotFound("no such content item", status=404)
        return self.item

    def unpublish(self, item_id: str) -> None:
        self.calls += 1
        if self.item and self.works:
            self.item = replace(self.item, publishing_status="UNPUBLISHED")
        if self.problem:
            raise self.problem


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


# The desk's clock is not the ledger's, by which the job was made.
LONG_AFTER = 1e9


class Desk:
    """One unpublish job and its attempts, one after the other, as a worker would run them."""

    def __init__(self, storage: Storage, amplience: Amplience, **args: Any) -> None:
        self.storage = storage
        self.clock = Clock()
        self.action = Unpublish(
            clients={"main": amplience}, per_minute=5, clock=self.clock, spread=lambda: 1.0
        )
        plan = Plan(
            rule="drop",
            action="unpublish",
            target="main",
            queue="unpublish:main",
            key=f"unpublish:main:{ITEM}",
            version=0,
            args={"item_id": ITEM, "to": ["default", "second"], **args},
        )
        accept(storage, [(event(), [plan])])

    def job(self) -> Job:
        [job] = claim(self.storage, owner="worker-1", wanted={"unpublish:main": 1})
        return job

    def attempt(self, after: float = 0) -> Outcome:
        self.clock.now += after
        job = self.job()
        try:
            outcome = self.action.run(Attempt(job=job, storage=self.storage))
        except AmplienceError as error:
            # As the worker does with a failure: what the action has noted stays.
            finish(self.storage, job, Decision("waiting", "retry", str(error)))
            raise
        progress = outcome.progress if isinstance(outcome, LookAgain) else None
        finish(self.storage, job, Decision("waiting", "look-again", progress=progress))
        return outcome


def test_unpublished_item_is_to_be_dropped_at_each_destination(storage: Storage) -> None:
    amplience = Amplience()
    outcome = Desk(storage, amplience).attempt()
    assert isinstance(outcome, Succeeded)
    assert amplience.calls == 1
    assert outcome.detail == {"publishing_status": "UNPUBLISHED", "unpublished": True}
    first, second = outcome.follow_up
    assert (first.action, first.queue, first.key) == (
        "forward",
        "forward:default",
        f"forward:default:main:{ITEM}",
    )
    assert first.args == {"kind": "deleted", "item_id": ITEM, "delivery_key": "home/banner"}
    assert second.target == "second"


@pytest.mark.parametrize("status", [None, "NONE", "UNPUBLISHED"])
def test_item_that_is_not_published_needs_no_call(storage: Storage, status: str | None) -> None:
    amplience = Amplience(item(publishing_status=status))
    outcome = Desk(storage, amplience).attempt()
    assert isinstance(outcome, Succeeded)
    assert (amplience.calls, outcome.detail["unpublished"], len(outcome.follow_up)) == (0, False, 2)


@pytest.mark.parametrize("status", ["ACTIVE", None])
def test_item_that_is_not_archived_is_left_alone(storage: Storage, status: str | None) -> None:
    amplience = Amplience(item(status=status))
    outcome = Desk(storage, amplience).attempt()
    assert outcome == Skipped("not-archived", {"status": status})
    assert amplience.calls == 0


def test_changed_item_is_taken_off_as_well(storage: Storage) -> None:
    amplience = Amplience(item(publishing_status="EARLY"))
    assert isinstance(Desk(storage, amplience).attempt(), Succeeded)
    assert amplience.calls == 1


def test_unpublish_that_shows_late_is_looked_for_and_not_repeated(storage: Storage) -> None:
    amplience = Amplience(works=False)
    desk = Desk(storage, amplience)
    outcomes = [desk.attempt(), desk.attempt(after=60), desk.attempt(after=60)]
    assert all(isinstance(one, LookAgain) for one in outcomes)
    assert [one.reason for one in outcomes if isinstance(one, LookAgain)] == [
        "awaiting-unpublish"
    ] * 3
    assert [one.after for one in outcomes if isinstance(one, LookAgain)] == [0.5, 1, 2]
    assert amplience.calls == 1
    amplience.item = item(publishing_status="UNPUBLISHED")
    done = desk.attempt()
    assert isinstance(done, Succeeded)
    assert done.detail["unpublished"] is True


def test_unpublish_that_never_shows_ends_as_unconfirmed(storage: Storage) -> None:
    desk = Desk(storage, Amplience(works=False))
    desk.attempt()
    outcome = desk.attempt(after=901)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.transient, outcome.progress) == ("unconfirmed", False, {})


def test_lost_answer_is_waited_for_before_it_is_asked_again(storage: Storage) -> None:
    amplience = Amplience(problem=Unavailable("no answer", maybe_done=True), works=False)
    desk = Desk(storage, amplience)
    first = desk.attempt()
    assert isinstance(first, LookAgain)
    assert first.reason == "request-unknown"
    desk.attempt(after=20)
    assert amplience.calls == 1
    amplience.problem, amplience.works = None, True
    assert isinstance(desk.attempt(after=20), Succeeded)
    assert amplience.calls == 2


def test_refusal_of_what_is_unpublished_by_now_is_a_success(storage: Storage) -> None:
    amplience = Amplience(problem=Refused("not published", status=400))
    outcome = Desk(storage, amplience).attempt()
    assert isinstance(outcome, Succeeded)
    assert outcome.detail["unpublished"] is False


def test_refusal_of_what_is_published_is_a_failure(storage: Storage) -> None:
    desk = Desk(storage, Amplience(problem=Refused("no", status=400), works=False))
    with pytest.raises(Refused):
        desk.attempt()
    assert desk.job().progress == {}


def test_rate_limit_leaves_nothing_to_be_waited_for(storage: Storage) -> None:
    amplience = Amplience(problem=RateLimited("slow down", status=429), works=False)
    desk = Desk(storage, amplience)
    with pytest.raises(RateLimited):
        desk.attempt()
    amplience.problem, amplience.works = None, True
    assert isinstance(desk.attempt(), Succeeded)


@pytest.mark.parametrize(("status", "raised"), [(403, False), (401, True), (400, True)])
def test_only_a_missing_permission_is_called_one(
    storage: Storage, status: int, raised: bool
) -> None:
    problem = Unauthorized("no", status=status)
    desk = Desk(storage, Amplience(problem=problem, works=False))
    if raised:
        with pytest.raises(Unauthorized):
            desk.attempt()
        return
    outcome = desk.attempt()
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.transient) == ("unpublish-not-permitted", True)
    assert desk.job().progress == {}


def test_item_that_amplience_does_not_know_is_looked_for_and_then_dead(storage: Storage) -> None:
    desk = Desk(storage, Amplience(item=None))
    first = desk.attempt(after=LONG_AFTER)
    assert isinstance(first, LookAgain)
    assert first.reason == "item-not-found-yet"
    last = desk.attempt(after=first.after)
    assert isinstance(last, Failed)
    assert (last.reason, last.transient) == ("item-not-found", False)


def test_not_found_that_is_not_amplience_s_own_says_nothing_of_the_item(storage: Storage) -> None:
    gateway = NotFound("<html>", status=404, refusing=True)
    desk = Desk(storage, Amplience(unreadable=gateway))
    with pytest.raises(NotFound):
        desk.attempt(after=LONG_AFTER)


def test_job_waits_for_the_quota_longer_each_time(storage: Storage) -> None:
    amplience = Amplience()
    desk = Desk(storage, amplience)
    for _ in range(5):
        assert reserve_publish(storage, per_minute=5) == 0.0
    waits = [desk.attempt() for _ in range(2)]
    assert all(isinstance(one, LookAgain) and one.reason == "awaiting-quota" for one in waits)
    first, second = [one.after for one in waits if isinstance(one, LookAgain)]
    assert 60 < first < 73 < second < 85
    assert amplience.calls == 0


def test_bulk_job_leaves_the_last_of_the_quota(storage: Storage) -> None:
    amplience = Amplience()
    desk = Desk(storage, amplience, bulk=True)
    for _ in range(4):
        assert reserve_publish(storage, per_minute=5) == 0.0
    assert isinstance(desk.attempt(), LookAgain)
    assert amplience.calls == 0


def test_hub_without_credentials_is_dead(storage: Storage) -> None:
    desk = Desk(storage, Amplience())
    action = Unpublish(clients={}, per_minute=5, clock=desk.clock, spread=lambda: 0)
    outcome = action.run(Attempt(job=desk.job(), storage=storage))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "unknown-hub"


@dataclass
class Place:
    """A destination that remembers what it was sent, and fails `failures` times first."""

    failures: int = 0
    sent: list[Message] = field(default_factory=list)

    def send(self, destination: Destination, message: Message, *, now: datetime) -> Answer:
        self.sent.append(message)
        if len(self.sent) <= self.failures:
            raise DestinationUnavailable("503", destination=destination.name)
        return Answer(status=200, body="", milliseconds=1)


def dropping(amplience: Amplience | None, place: Place, name: str = "default") -> Action:
    drop = Drop(clients={"main": amplience} if amplience else {}, sender=place, clock=Clock())
    return ToDestination({name: Destination(name, "https://search.example/items")}, drop)


def deletion(storage: Storage, version: int = 5) -> Job:
    plan = forward_plan(args={"kind": "deleted", "item_id": ITEM}, version=version)
    accept(storage, [(event(), [plan])])
    [job] = claim(storage, owner="worker-1", wanted={"forward:default": 1})
    return job


@pytest.mark.parametrize(
    "now", [item(), item(status="ACTIVE", publishing_status="UNPUBLISHED"), None]
)
def test_destination_is_told_unless_the_item_is_published_again(
    storage: Storage, now: ContentItem | None
) -> None:
    place = Place()
    attempt = Attempt(job=deletion(storage), storage=storage)
    assert isinstance(dropping(Amplience(now), place).run(attempt), Succeeded)
    assert len(place.sent) == 1


@pytest.mark.parametrize("status", ["LATEST", "EARLY"])
def test_deletion_of_what_is_published_again_is_not_sent(storage: Storage, status: str) -> None:
    place, back = Place(), Amplience(item(status="ACTIVE", publishing_status=status))
    outcome = dropping(back, place).run(Attempt(job=deletion(storage), storage=storage))
    assert outcome == Skipped("published-again")
    assert place.sent == []


def test_gateways_not_found_is_no_proof_that_the_item_is_gone(storage: Storage) -> None:
    place, gateway = Place(), Amplience(unreadable=NotFound("<html>", status=404, refusing=True))
    with pytest.raises(NotFound):
        dropping(gateway, place).run(Attempt(job=deletion(storage), storage=storage))
    assert place.sent == []


def test_retried_deletion_sends_the_same_bytes(storage: Storage) -> None:
    place = Place(failures=1)
    attempt = Attempt(job=deletion(storage), storage=storage)
    action = dropping(Amplience(), place)
    with pytest.raises(DestinationUnavailable):
        action.run(attempt)
    action.run(attempt)
    first, second = place.sent
    assert (first.body, first.webhook_id) == (second.body, second.webhook_id)


def test_deletion_never_follows_a_newer_publish(storage: Storage) -> None:
    accept(storage, [(event(), [forward_plan(version=9)])])
    [publish] = claim(storage, owner="worker-1", wanted={"forward:default": 1})
    finish(storage, publish, Decision("succeeded", "succeeded"))
    place = Place()
    # Amplience is not believed alone: it may not have heard of the newest publish.
    attempt = Attempt(job=deletion(storage, version=5), storage=storage)
    assert dropping(Amplience(), place).run(attempt) == Superseded("newer-sent")
    assert place.sent == []


def test_deletion_for_what_is_not_configured_is_dead(storage: Storage) -> None:
    attempt = Attempt(job=deletion(storage), storage=storage)
    elsewhere = dropping(Amplience(), Place(), name="other").run(attempt)
    no_hub = dropping(None, Place()).run(attempt)
    assert isinstance(elsewhere, Failed)
    assert isinstance(no_hub, Failed)
    assert (elsewhere.reason, no_hub.reason) == ("unknown-destination", "unknown-hub")
