from __future__ import annotations

import pytest

from app.queue.history import BOUNDS, Durations, time_for


def durations(*seconds: float) -> Durations:
    within = tuple(sum(each <= bound for each in seconds) for bound in BOUNDS)
    return Durations("forward", "search", len(seconds), sum(seconds), within)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], None),
        ([durations(0.05)], 0.1),
        ([durations(*[0.05] * 19, 40)], 0.1),
        ([durations(*[0.05] * 18, 40, 40)], 60),
        ([durations(0.05), durations(3)], 5),
        ([durations(100_000)], float("inf")),
    ],
)
def test_time_for_most_is_the_first_bound_that_holds_them(
    found: list[Durations], expected: float | None
) -> None:
    assert time_for(0.95, found) == expected
