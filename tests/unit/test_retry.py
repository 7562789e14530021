from __future__ import annotations

import itertools
from typing import Any

import pytest

from app.config import RetrySchedule
from app.config.settings import AMPLIENCE_RETRY, DESTINATION_RETRY, REFUSED_RETRY
from app.retry import (
    LONGEST_RETRY_AFTER,
    Decision,
    Failed,
    LookAgain,
    Outcome,
    Skipped,
    Succeeded,
    decide,
)

SCHEDULE = RetrySchedule(delays=(5.0, 60.0, 600.0), jitter=0.2)


def decided(outcome: Outcome, *, failures: int = 0, spread: float = 0.0) -> Decision:
    return decide(outcome, failures=failures, schedule=SCHEDULE, spread=lambda: spread)


def transient(retry_after: float | None = None) -> Failed:
    return Failed("http-503", "answered 503", transient=True, retry_after=retry_after)


def test_success_keeps_its_detail_and_the_count() -> None:
    assert decided(Succeeded({"locales": 2}), failures=2) == Decision(
        "succeeded", "succeeded", failures=2, detail={"locales": 2}
    )


def test_skip_keeps_its_reason() -> None:
    assert decided(Skipped("not-active", {"status": "ARCHIVED"}), failures=1) == Decision(
        "skipped", "skipped", "not-active", failures=1, detail={"status": "ARCHIVED"}
    )


def test_looking_again_is_no_failure_and_keeps_progress() -> None:
    outcome = LookAgain("localizing", 15.0, {"asked": True}, {"seen": 1})
    assert decided(outcome, failures=2) == Decision(
        "waiting",
        "look-again",
        "localizing",
        delay=15.0,
        failures=2,
        progress={"asked": True},
        detail={"seen": 1},
    )


@pytest.mark.parametrize("failures", [3, 50])
def test_looking_again_never_uses_up_the_schedule(failures: int) -> None:
    assert decided(LookAgain("localizing", 1.0), failures=failures).state == "waiting"


@pytest.mark.parametrize(
    ("failures", "state", "delay"),
    [
        (0, "waiting", 5.0),
        (1, "waiting", 60.0),
        (2, "waiting", 600.0),
        (3, "dead", 0.0),
        (4, "dead", 0.0),
    ],
)
def test_transient_failure_follows_the_schedule_then_dies(
    failures: int, state: str, delay: float
) -> None:
    decision = decided(transient(), failures=failures)
    assert (decision.state, decision.delay) == (state, delay)
    assert decision.failures == failures + 1
    assert decision.outcome == ("retry" if state == "waiting" else "failed")
    assert (decision.reason, decision.message) == ("http-503", "answered 503")


@pytest.mark.parametrize(
    ("spread", "delay"), [(-1.0, 48.0), (-0.5, 54.0), (0.0, 60.0), (1.0, 72.0)]
)
def test_jitter_moves_the_delay_by_a_fifth_at_most(spread: float, delay: float) -> None:
    assert decided(transient(), failures=1, spread=spread).delay == pytest.approx(delay)


@pytest.mark.parametrize(
    ("retry_after", "delay"),
    [
        (None, 60.0),
        (0.0, 60.0),
        (30.0, 60.0),
        (61.0, 61.0),
        (3600.0, 3600.0),
        (LONGEST_RETRY_AFTER, LONGEST_RETRY_AFTER),
        (LONGEST_RETRY_AFTER * 30, LONGEST_RETRY_AFTER),
    ],
)
def test_retry_after_makes_the_wait_longer_never_shorter_and_not_endless(
    retry_after: float | None, delay: float
) -> None:
    assert decided(transient(retry_after), failures=1).delay == delay


def test_retry_after_is_kept_whole_when_jitter_goes_down() -> None:
    assert decided(transient(60.0), failures=1, spread=-1.0).delay == 60.0


def test_retry_after_gives_no_try_more_than_the_schedule() -> None:
    assert decided(transient(10.0), failures=3).state == "dead"


@pytest.mark.parametrize("failures", [0, 2])
def test_permanent_failure_is_dead_at_once(failures: int) -> None:
    outcome = Failed("http-400", "answered 400", transient=False, retry_after=5.0)
    decision = decided(outcome, failures=failures)
    assert (decision.state, decision.outcome) == ("dead", "failed")
    assert (decision.delay, decision.failures) == (0.0, failures + 1)


@pytest.mark.parametrize("is_transient", [True, False])
def test_failure_keeps_progress_and_detail(*, is_transient: bool) -> None:
    outcome = Failed("x", "y", transient=is_transient, progress={"asked": True}, detail={"n": 1})
    decision = decided(outcome)
    assert (decision.progress, decision.detail) == ({"asked": True}, {"n": 1})


def refused(**changes: Any) -> Failed:
    return Failed("amplience-unauthorized", "403", transient=True, **changes)


def decide_refusal(outcome: Failed, *, failures: int, refusals: int) -> Decision:
    # The job's own schedule has no retry at all.
    schedule = RetrySchedule(delays=())
    return decide(
        outcome, failures=failures, refusals=refusals, schedule=schedule, spread=lambda: 0.0
    )


def test_refusals_are_retried_ever_later_for_an_hour_and_then_dead() -> None:
    delays: list[float] = []
    for number in itertools.count():
        decision = decide_refusal(refused(), failures=number, refusals=number)
        assert decision.failures == number + 1
        if decision.state == "dead":
            break
        delays.append(decision.delay)
    assert delays[0] < 5
    assert delays == sorted(delays)
    assert 3600 * 0.9 < sum(delays) < 3600 * 1.5
    assert decision.reason == "amplience-unauthorized"


def test_other_failures_do_not_use_up_the_hour() -> None:
    assert decide_refusal(refused(), failures=9, refusals=0).delay == REFUSED_RETRY.delays[0]


def test_retry_after_of_a_refusal_is_obeyed() -> None:
    assert decide_refusal(refused(retry_after=120), failures=0, refusals=0).delay == 120


def test_refusal_that_is_about_the_item_is_dead_at_once() -> None:
    outcome = Failed("amplience-refused", "422", transient=False)
    assert decide_refusal(outcome, failures=0, refusals=0).state == "dead"


def test_failure_that_says_nothing_of_progress_leaves_it() -> None:
    assert decided(transient()).progress is None


def test_empty_schedule_never_retries() -> None:
    schedule = RetrySchedule(delays=())
    decision = decide(transient(), failures=0, schedule=schedule, spread=lambda: 0.0)
    assert decision.state == "dead"


@pytest.mark.parametrize(
    ("schedule", "hours"), [(DESTINATION_RETRY, 27.5), (AMPLIENCE_RETRY, 27.6)]
)
def test_our_schedules_outlast_a_day_and_only_grow(schedule: RetrySchedule, hours: float) -> None:
    assert all(earlier <= later for earlier, later in itertools.pairwise(schedule.delays))
    assert sum(schedule.delays) / 3600 == pytest.approx(hours, abs=0.1)
    assert sum(schedule.delays) * (1 - schedule.jitter) > 0.9 * 86_400
