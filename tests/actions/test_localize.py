"""What localize decides: whom it leaves alone, what it asks for, when it stops waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from app.actions.confirmation import ConfirmationTiming
from app.actions.localize import Localize, choose_targets
from app.errors import (
    AmplienceError,
    NotFound,
    Refused,
    Unauthorized,
    Unavailable,
    VersionConflict,
)
from app.events import ContentItem
from app.retry import Failed, LookAgain, Outcome, Skipped, Succeeded
from tests.actions.fakes import ITEM, NOW, Amplience, HeldAttempt, item, variant


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


def run(amplience: Amplience, clock: Clock | None = None, **changes: Any) -> Outcome:
    action = Localize(clients={"main": amplience}, hub_ids={"main": "hub"}, clock=clock or Clock())
    return action.run(HeldAttempt(**changes))


def run_until_settled(amplience: Amplience, **changes: Any) -> list[Outcome]:
    """Run attempt after attempt, each with the progress and the pause of the one before."""
    clock, outcomes = Clock(), list[Outcome]()
    progress: Any = {}
    while len(outcomes) < 100:
        outcome = run(amplience, clock, progress=progress, **changes)
        outcomes.append(outcome)
        if not isinstance(outcome, LookAgain):
            return outcomes
        progress = outcome.progress
        clock.now += outcome.after
    raise AssertionError("it never settles")


def test_missing_variants_are_requested_with_the_latest_version_and_confirmed() -> None:
    amplience = Amplience(source=item(version=7))
    requested, confirmed = run_until_settled(amplience)
    assert amplience.requests == [(7, ("fr-FR", "de-DE"))]
    assert isinstance(requested, LookAgain)
    assert isinstance(confirmed, Succeeded)
    assert confirmed.detail["variants"] == {"fr-FR": "variant-fr-FR", "de-DE": "variant-de-DE"}


@pytest.mark.parametrize(
    ("source", "variants", "reason"),
    [
        (item(status="ARCHIVED"), [], "not-active"),
        (item(status="DELETED"), [], "not-active"),
        (item("fr-FR"), [], "not-in-source-locale"),
        (item(None), [], "no-locale"),
        # A variant in the locale of another rule's source: its source is in the group.
        (
            item(),
            [item("fr-FR", id="source", extra={"createdDate": "2025-01-01T00:00:00Z"})],
            "is-a-variant",
        ),
        (item(), [item("en-GB", id="another")], "is-a-variant"),
    ],
)
def test_item_is_left_alone_with_a_reason(
    source: ContentItem, variants: list[ContentItem], reason: str
) -> None:
    amplience = Amplience(source=source, variants=variants)
    outcome = run(amplience)
    assert isinstance(outcome, Skipped)
    assert outcome.reason == reason
    assert amplience.requests == []


def test_nothing_missing_makes_no_request() -> None:
    amplience = Amplience(variants=[item(), variant("fr-FR"), variant("de-DE", status="ARCHIVED")])
    assert isinstance(run(amplience), Succeeded)
    assert amplience.requests == []


def test_only_missing_locales_are_requested() -> None:
    amplience = Amplience(variants=[variant("fr-FR")])
    run(amplience)
    assert amplience.requests == [(1, ("de-DE",))]


def test_locales_that_the_repository_does_not_allow_are_not_requested() -> None:
    amplience = Amplience(allowed=("en-GB", "de-DE"))
    run(amplience)
    assert amplience.requests == [(1, ("de-DE",))]


def test_no_allowed_locale_at_all_is_a_skip_that_names_them() -> None:
    outcome = run(Amplience(allowed=("en-GB",)))
    assert isinstance(outcome, Skipped)
    assert outcome.reason == "locales-not-allowed"
    assert outcome.detail["not_allowed"] == ["fr-FR", "de-DE"]


@pytest.mark.parametrize(
    ("wanted", "allowed", "own", "variants", "missing"),
    [
        (["*"], ["en-GB", "fr-FR", "de-DE"], "en-GB", [], ("fr-FR", "de-DE")),
        (["*"], [], "en-GB", [], ()),
        (["fr-FR", "fr-FR"], ["fr-FR"], "en-GB", [], ("fr-FR",)),
        (["en-GB", "fr-FR"], ["en-GB", "fr-FR"], "en-GB", [], ("fr-FR",)),
        (["fr-fr"], ["fr-FR"], "en-GB", [], ()),
        (["fr-FR"], ["fr-FR"], "en-GB", ["fr-FR"], ()),
    ],
)
def test_targets_are_wanted_and_allowed_and_not_there(
    wanted: list[str], allowed: list[str], own: str, variants: list[str], missing: tuple[str, ...]
) -> None:
    targets = choose_targets(wanted=wanted, allowed=allowed, own=own, variants=variants)
    assert targets.missing == missing


def test_missing_locale_is_set_only_when_the_rule_says_so() -> None:
    amplience = Amplience(source=item(None, version=4))
    run(amplience, set_missing_locale=True)
    assert ("set_locale", 4, "en-GB") in amplience.calls
    assert amplience.requests == [(5, ("fr-FR", "de-DE"))]


def test_version_conflict_reads_again_and_asks_with_the_new_version() -> None:
    amplience = Amplience(problems=[VersionConflict("saved meanwhile", status=409)])

    def saved() -> None:
        if len(amplience.requests) == 1:
            amplience.source = item(version=2)

    amplience.before_localize = saved
    run(amplience)
    assert [version for version, _ in amplience.requests] == [1, 2]


def test_endless_version_conflict_is_retried_later_not_at_once_for_ever() -> None:
    amplience = Amplience(problems=[VersionConflict("saved", status=409) for _ in range(50)])
    outcome = run(amplience)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.transient) == ("version-conflict", True)
    assert len(amplience.requests) == 4


def test_refusal_is_looked_at_again_once_before_it_counts() -> None:
    amplience = Amplience(problems=[Refused("locale exists", status=400)])

    def made_by_somebody() -> None:
        amplience.variants = [variant("fr-FR")]

    amplience.before_localize = made_by_somebody
    run(amplience)
    assert amplience.requests == [(1, ("fr-FR", "de-DE")), (1, ("de-DE",))]


def test_second_refusal_is_final() -> None:
    amplience = Amplience(problems=[Refused("no", status=400), Refused("no", status=400)])
    with pytest.raises(Refused):
        run(amplience)


@pytest.mark.parametrize(
    "problem",
    [Unavailable("502", status=502, maybe_done=True), Unavailable("timed out", maybe_done=True)],
)
def test_request_that_may_have_arrived_is_not_repeated_when_the_variants_appear(
    problem: AmplienceError,
) -> None:
    amplience = Amplience(problems=[problem])
    amplience.before_localize = lambda: amplience.variants.extend(
        [variant("fr-FR"), variant("de-DE")]
    )
    outcomes = run_until_settled(amplience)
    assert isinstance(outcomes[-1], Succeeded)
    assert len(amplience.requests) == 1


def test_request_that_got_lost_is_repeated_only_after_looking_for_a_while() -> None:
    amplience = Amplience(problems=[Unavailable("timed out", maybe_done=True)])
    outcomes = run_until_settled(amplience)
    waited = sum(o.after for o in outcomes[:-1] if isinstance(o, LookAgain))
    assert isinstance(outcomes[-1], Succeeded)
    assert len(amplience.requests) == 2
    assert waited >= ConfirmationTiming().repeat_after


def test_attempt_that_died_in_the_request_is_followed_by_a_look_not_a_request() -> None:
    amplience = Amplience()
    died = HeldAttempt()
    amplience.before_localize = lambda: (_ for _ in ()).throw(SystemError("killed"))
    action = Localize(clients={"main": amplience}, hub_ids={}, clock=Clock())
    with pytest.raises(SystemError):
        action.run(died)
    [progress] = died.written
    amplience.before_localize = lambda: None
    outcome = run(amplience, Clock(NOW + 12), progress=progress)
    assert isinstance(outcome, LookAgain)
    assert len(amplience.requests) == 1


def test_failure_before_the_request_left_is_an_ordinary_failure() -> None:
    amplience = Amplience(problems=[Unavailable("connection refused", maybe_done=False)])
    attempt = HeldAttempt()
    action = Localize(clients={"main": amplience}, hub_ids={}, clock=Clock())
    with pytest.raises(Unavailable):
        action.run(attempt)
    assert attempt.written[-1] == {}


def test_variants_that_never_appear_end_as_unconfirmed() -> None:
    amplience = Amplience(works=False)
    outcomes = run_until_settled(amplience)
    assert isinstance(outcomes[-1], Failed)
    assert (outcomes[-1].reason, outcomes[-1].transient) == ("unconfirmed", False)
    assert "fr-FR" in outcomes[-1].message
    assert len(amplience.requests) == 1
    pauses = [o.after for o in outcomes if isinstance(o, LookAgain)]
    assert pauses == sorted(pauses)


def test_item_that_is_not_there_yet_is_looked_for_and_then_given_up() -> None:
    amplience = Amplience(source=None)
    outcomes = run_until_settled(amplience)
    assert isinstance(outcomes[0], LookAgain)
    assert outcomes[0].reason == "item-not-found-yet"
    assert isinstance(outcomes[-1], Failed)
    assert outcomes[-1].reason == "item-not-found"


def test_hub_without_credentials_is_a_clear_failure() -> None:
    outcome = Localize(clients={}, hub_ids={}, clock=Clock()).run(HeldAttempt())
    assert isinstance(outcome, Failed)
    assert outcome.reason == "unknown-hub"


def test_missing_permission_is_passed_on() -> None:
    amplience = Amplience(problems=[Unauthorized("no permission", status=403)])
    with pytest.raises(Unauthorized):
        run(amplience)
    assert amplience.calls[0] == ("localizations", ITEM)


def test_one_not_found_is_never_enough_however_old_the_job_is() -> None:
    clock = Clock(NOW + 3600)
    first = run(Amplience(source=None), clock)
    assert isinstance(first, LookAgain)
    second = run(Amplience(source=None), clock, progress=first.progress)
    assert isinstance(second, Failed)
    assert (second.reason, second.transient) == ("item-not-found", False)


def test_not_found_that_is_not_amplience_s_own_says_nothing_of_the_item() -> None:
    amplience = Amplience(problems=[NotFound("<html>", status=404, refusing=True)])
    with pytest.raises(NotFound):
        run(amplience, Clock(NOW + 3600), progress={"not_found": 5})
