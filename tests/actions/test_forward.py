"""What forward decides: what it sends, what it calls proven, and when it stops looking."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

import pytest

from app.actions import Action, Attempt, ToDestination
from app.actions.forward import Forward, HubContent
from app.amplience.delivery import ContentParameters, DeliveredContent
from app.amplience.loader import Turn
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
from app.queue import Job
from app.retry import Failed, LookAgain, Outcome, Skipped, Succeeded, Superseded
from tests.actions.fakes import ITEM, NOW, job

SNAPSHOT = "65f1a0c2d3e4f50001a2b505"
SCHEMA = "https://schema-examples.com/banner"


def version(number: int, **changes: Any) -> ContentItem:
    """A version of the item, whose headline is its number; published unless changed."""
    body = {"_meta": {"name": "banner", "schema": SCHEMA}, "headline": f"v{number}"}
    extra = {"lastPublishedVersion": number}
    made = ContentItem(id=ITEM, version=number, publishing_status="LATEST", body=body, extra=extra)
    return replace(made, **changes)


@dataclass
class Amplience:
    """Delivers the version `shown`, while `snapshot` was published and the item is `now`."""

    shown: int | None = 2
    snapshot: ContentItem | None = field(default_factory=lambda: version(2))
    now: ContentItem | None = field(default_factory=lambda: version(2))
    problem: AmplienceError | None = None
    after_pull: Callable[[int], None] = lambda pulls: None
    calls: list[str] = field(default_factory=list)

    def load(
        self, item_id: str, parameters: ContentParameters, turn: Turn | None = None
    ) -> DeliveredContent:
        self.calls.append("pull")
        shown = self.shown
        self.after_pull(self.calls.count("pull"))
        if shown is None:
            raise NotFound("the item is not published")
        body = dict(version(shown).body)
        return DeliveredContent({**body, "_meta": {**body["_meta"], "deliveryId": item_id}})

    def snapshot_item(self, snapshot_id: str, item_id: str) -> ContentItem:
        return self._answer("snapshot", self.snapshot)

    def content_item(self, item_id: str) -> ContentItem:
        return self._answer("item", self.now)

    def _answer(self, name: str, found: ContentItem | None) -> ContentItem:
        self.calls.append(name)
        if self.problem:
            raise self.problem
        if found is None:
            raise NotFound("none", status=404)
        return found


@dataclass
class Downstream:
    """Takes everything, or raises `problem` once."""

    sent: list[Message] = field(default_factory=list)
    problem: DestinationUnavailable | None = None

    def send(self, destination: Destination, message: Message, *, now: datetime) -> Answer:
        problem, self.problem = self.problem, None
        if problem:
            raise problem
        self.sent.append(message)
        return Answer(status=200, body="", milliseconds=1)

    @property
    def envelopes(self) -> list[dict[str, Any]]:
        return [json.loads(message.body)["data"] for message in self.sent]


class KeptAttempt(Attempt):
    """An attempt that always owns its job, and keeps its message as the ledger would."""

    kept: tuple[bytes, str] | None
    newer: bool

    def __init__(self, claimed: Job, *, newer: bool = False) -> None:
        super().__init__(job=claimed, storage=cast("Storage", None))
        object.__setattr__(self, "kept", None)
        object.__setattr__(self, "newer", newer)

    def hold(self, *, progress: Any = None) -> None:
        return

    def newer_was_sent(self) -> bool:
        return self.newer

    def kept_message(self) -> tuple[bytes, str] | None:
        return self.kept

    def keep_unless_newer(self, *, body: bytes, content_type: str) -> bool:
        if not self.newer:
            object.__setattr__(self, "kept", (body, content_type))
        return not self.newer


def forward_job(**changes: Any) -> Job:
    made = replace(
        job(),
        action="forward",
        target="search",
        event_name="dynamic-content.snapshot.published",
        args={"item_id": ITEM},
        snapshot_id=SNAPSHOT,
    )
    return replace(made, **changes)


@dataclass
class Bench:
    """The action with its surroundings."""

    amplience: Amplience
    downstream: Downstream = field(default_factory=Downstream)
    verify: bool = True

    @property
    def action(self) -> Action:
        forward = Forward(
            hubs={
                "main": HubContent(self.amplience, "cdn", self.amplience if self.verify else None)
            },
            sender=self.downstream,
            clock=lambda: NOW,
        )
        return ToDestination({"search": Destination("search", "https://search.example")}, forward)

    def run(self, **changes: Any) -> Outcome:
        return self.action.run(KeptAttempt(forward_job(**changes)))

    def until_settled(self, **changes: Any) -> Sequence[Outcome]:
        """Run attempt after attempt, each with the progress of the one before."""
        outcomes = list[Outcome]()
        progress: dict[str, Any] = {}
        while len(outcomes) < 50:
            outcomes.append(self.run(progress=progress, **changes))
            last = outcomes[-1]
            if not isinstance(last, LookAgain):
                return outcomes
            progress = dict(last.progress)
        raise AssertionError("it never settles")


def reasons(outcomes: Sequence[Outcome]) -> set[str]:
    return {outcome.reason for outcome in outcomes if isinstance(outcome, LookAgain)}


def waited(outcomes: Sequence[Outcome]) -> float:
    return sum(outcome.after for outcome in outcomes if isinstance(outcome, LookAgain))


def test_content_that_equals_its_snapshot_is_sent_as_verified_after_one_question() -> None:
    bench = Bench(Amplience())
    outcome = bench.run()
    assert isinstance(outcome, Succeeded)
    assert outcome.detail["verified"] is True
    assert bench.downstream.envelopes[0]["verified"] is True
    assert bench.amplience.calls == ["pull", "snapshot"]


def test_old_copy_is_pulled_again_until_the_published_version_comes() -> None:
    amplience = Amplience(shown=1)

    def refresh(pulls: int) -> None:
        if pulls == 3:
            amplience.shown = 2

    amplience.after_pull = refresh
    bench = Bench(amplience)
    outcomes = bench.until_settled()
    assert [type(outcome) for outcome in outcomes] == [LookAgain] * 3 + [Succeeded]
    assert reasons(outcomes) == {"differs-from-snapshot"}
    [envelope] = bench.downstream.envelopes
    assert (envelope["content"]["headline"], envelope["verified"]) == ("v2", True)


def test_old_copy_that_stays_is_sent_as_unverified_after_the_last_look() -> None:
    bench = Bench(Amplience(shown=1))
    outcomes = bench.until_settled()
    last = outcomes[-1]
    assert isinstance(last, Succeeded)
    assert last.detail["because"] == "unverified-after-deadline"
    assert last.detail["last_look"] == "differs-from-snapshot"
    [envelope] = bench.downstream.envelopes
    assert (envelope["content"]["headline"], envelope["verified"]) == ("v1", False)
    assert 900 <= waited(outcomes) < 1000
    pauses = [outcome.after for outcome in outcomes if isinstance(outcome, LookAgain)]
    assert pauses == sorted(pauses)
    assert max(pauses) == 60


def test_job_that_is_old_when_it_starts_still_gets_its_looks() -> None:
    long_ago = datetime.fromtimestamp(NOW - 86_400, tz=forward_job().created_at.tzinfo)
    outcome = Bench(Amplience(shown=1)).run(created_at=long_ago)
    assert isinstance(outcome, LookAgain)


def test_newer_publish_is_proven_by_the_item_itself_and_sent() -> None:
    # The newer snapshot may be a parent's, and then no event comes for this item.
    bench = Bench(Amplience(shown=3, now=version(3)))
    outcome = bench.run()
    assert isinstance(outcome, Succeeded)
    assert (outcome.detail["verified"], outcome.detail["newer_than_event"]) == (True, True)
    assert bench.downstream.envelopes[0]["content"]["headline"] == "v3"


@pytest.mark.parametrize(
    ("shown", "now"),
    [
        # The cache is behind both publishes.
        (1, version(3)),
        # Saved since the newer publish: its body is not what was published.
        (3, version(4, extra={"lastPublishedVersion": 3})),
        # Saved, not published: equal to the item as it is now, which proves nothing.
        (3, version(3, extra={"lastPublishedVersion": 2})),
        (3, version(3, extra={})),
        # The Management API does not know of our publish yet.
        (1, version(1)),
        # Somebody answers with the version of the snapshot and another body.
        (3, version(2, body=version(3).body)),
        (1, None),
    ],
)
def test_content_that_is_proven_by_nothing_is_never_called_verified(
    shown: int, now: ContentItem | None
) -> None:
    bench = Bench(Amplience(shown=shown, now=now))
    outcomes = bench.until_settled()
    assert isinstance(outcomes[0], LookAgain)
    assert [envelope["verified"] for envelope in bench.downstream.envelopes] == [False]


def test_missing_content_is_looked_for_and_then_dead_with_all_looks_to_come() -> None:
    bench = Bench(Amplience(shown=None))
    outcomes = bench.until_settled()
    last = outcomes[-1]
    assert isinstance(last, Failed)
    assert (last.reason, last.transient, last.progress) == ("content-not-found", False, {})
    assert reasons(outcomes) == {"content-not-found-yet"}
    assert bench.downstream.sent == []


def test_missing_content_is_looked_for_without_verify_as_well() -> None:
    bench = Bench(Amplience(shown=None), verify=False)
    assert isinstance(bench.until_settled()[-1], Failed)
    assert set(bench.amplience.calls) == {"pull"}


@pytest.mark.parametrize("shown", [None, 1])
def test_item_that_is_unpublished_is_not_sent_once_that_is_sure(shown: int | None) -> None:
    gone = version(2, publishing_status="UNPUBLISHED")
    bench = Bench(Amplience(shown=shown, now=gone))
    outcomes = bench.until_settled()
    assert outcomes[-1] == Skipped("unpublished-meanwhile")
    assert bench.downstream.sent == []
    assert 5 < waited(outcomes) < 60


def test_state_of_before_the_publish_does_not_end_the_job() -> None:
    amplience = Amplience(shown=None, now=version(1, publishing_status="UNPUBLISHED"))

    def published(pulls: int) -> None:
        if pulls == 2:
            amplience.shown, amplience.now = 2, version(2)

    amplience.after_pull = published
    last = Bench(amplience).until_settled()[-1]
    assert isinstance(last, Succeeded)
    assert last.detail["verified"] is True


@pytest.mark.parametrize("problem", [Unavailable("502"), RateLimited("429", retry_after=7)])
def test_management_api_that_is_away_is_waited_for_and_nothing_goes_out_unverified(
    problem: AmplienceError,
) -> None:
    bench = Bench(Amplience(problem=problem))
    outcome = bench.run()
    assert isinstance(outcome, LookAgain)
    assert outcome.reason == "verification-unavailable"
    assert outcome.after >= (problem.retry_after or 0)
    assert bench.downstream.sent == []
    last = bench.until_settled()[-1]
    assert isinstance(last, Succeeded)
    assert last.detail["last_look"] == "verification-unavailable"


def test_wait_that_the_management_api_asks_for_has_an_end() -> None:
    outcome = Bench(Amplience(problem=RateLimited("429", retry_after=1e9))).run()
    assert isinstance(outcome, LookAgain)
    assert outcome.after == 900


@pytest.mark.parametrize(
    "problem",
    [
        Unauthorized("403", status=403),
        Refused("400", status=400),
        NotFound("<html>", status=404, refusing=True),
    ],
)
def test_refusal_is_passed_on_and_nothing_goes_out_unverified(problem: AmplienceError) -> None:
    bench = Bench(Amplience(problem=problem))
    with pytest.raises(type(problem)):
        bench.run()
    assert bench.downstream.sent == []


def test_snapshot_that_is_not_there_is_looked_for_and_then_done_without() -> None:
    bench = Bench(Amplience(snapshot=None))
    outcomes = bench.until_settled()
    assert reasons(outcomes) == {"snapshot-not-found-yet"}
    assert bench.downstream.envelopes[0]["verified"] is False


def test_event_without_a_snapshot_is_sent_unverified_at_once() -> None:
    bench = Bench(Amplience())
    outcome = bench.run(snapshot_id=None)
    assert isinstance(outcome, Succeeded)
    assert (outcome.detail["verified"], outcome.detail["because"]) == (False, "no-snapshot")
    assert bench.downstream.envelopes[0]["verified"] is False


def test_without_verify_the_management_api_is_not_asked() -> None:
    bench = Bench(Amplience(shown=1), verify=False)
    outcome = bench.run()
    assert isinstance(outcome, Succeeded)
    assert outcome.detail["because"] == "verify-is-off"
    assert bench.amplience.calls == ["pull"]


def test_locale_of_the_rule_is_applied_before_comparing() -> None:
    values = [{"locale": "en-GB", "value": "v2"}, {"locale": "fr-FR", "value": "deux"}]
    schema = "http://bigcontent.io/cms/schema/v1/core#/definitions/localized-value"
    headline = {"_meta": {"schema": schema}, "values": values}
    published = version(2, body={**version(2).body, "headline": headline})
    bench = Bench(Amplience(snapshot=published))
    outcome = bench.run(args={"item_id": ITEM, "locale": "de-DE,en-*"})
    assert isinstance(outcome, Succeeded)
    assert outcome.detail["verified"] is True


def test_older_version_is_not_sent_after_a_newer_one() -> None:
    bench = Bench(Amplience())
    outcome = bench.action.run(KeptAttempt(forward_job(), newer=True))
    assert outcome == Superseded("newer-sent")
    assert bench.downstream.sent == []


def test_retry_sends_what_was_kept_and_looks_at_nothing() -> None:
    bench = Bench(Amplience(), Downstream(problem=DestinationUnavailable("", destination="search")))
    attempt = KeptAttempt(forward_job())
    with pytest.raises(DestinationUnavailable):
        bench.action.run(attempt)
    bench.amplience.shown = 1
    assert isinstance(bench.action.run(attempt), Succeeded)
    assert bench.amplience.calls == ["pull", "snapshot"]
    assert bench.downstream.envelopes[0]["content"]["headline"] == "v2"


def test_retry_is_not_sent_when_something_newer_went_out_meanwhile() -> None:
    bench = Bench(Amplience(), Downstream(problem=DestinationUnavailable("", destination="search")))
    attempt = KeptAttempt(forward_job())
    with pytest.raises(DestinationUnavailable):
        bench.action.run(attempt)
    object.__setattr__(attempt, "newer", True)
    assert bench.action.run(attempt) == Superseded("newer-sent")
    assert bench.downstream.sent == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"target": "gone"}, "unknown-destination"), ({"hub": "gone"}, "unknown-hub")],
)
def test_what_is_no_longer_configured_is_a_clear_failure(
    changes: dict[str, Any], reason: str
) -> None:
    outcome = Bench(Amplience()).run(**changes)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.transient) == (reason, False)
