from __future__ import annotations

import pytest

from app.web.holding import chosen


@pytest.mark.parametrize("period", range(20))
def test_siblings_get_different_processors_while_there_are_enough(period: int) -> None:
    found = [chosen([2, 3, 5, 7], place=place, shared=42, period=period) for place in range(1, 5)]
    assert sorted(found) == [2, 3, 5, 7]


def test_none_stays_where_it_is_for_ever() -> None:
    found = {chosen([0, 1, 2, 3], place=1, shared=42, period=period) for period in range(50)}
    assert found == {0, 1, 2, 3}


def test_others_choose_otherwise() -> None:
    found = {chosen(range(64), place=1, shared=shared, period=7) for shared in range(50)}
    assert len(found) > 20
