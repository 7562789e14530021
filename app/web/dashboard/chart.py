"""What came in over time, as the bars of a drawing. Pure: counts in, geometry out.

Bars of events that came in stand on the axis, bars of jobs that died hang from it, so that the
two differ in more than colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

# The drawing's own units; a page stretches them to its width.
WIDTH = 600
UP = 80
DOWN = 24
HEIGHT = UP + DOWN
_GAP = 0.2


@dataclass(frozen=True)
class Point:
    """One span of time: events that came in, and jobs that ended well or were given up."""

    at: datetime
    received: int
    succeeded: int
    dead: int


@dataclass(frozen=True)
class Bar:
    """One span as drawn: `x` and `width` are shared, `y` is the top of what came in."""

    point: Point
    x: float
    width: float
    y: float
    height: float
    dead_height: float


@dataclass(frozen=True)
class Chart:
    """A drawing, and what it says in numbers. `unit` is the span's name: minute or hour."""

    unit: str
    bars: tuple[Bar, ...]
    received: int
    succeeded: int
    dead: int
    highest: int
    deepest: int

    @property
    def points(self) -> tuple[Point, ...]:
        """The spans in which anything happened, newest first, for a table."""
        points = (bar.point for bar in reversed(self.bars))
        return tuple(each for each in points if each.received or each.succeeded or each.dead)


def draw(points: Sequence[Point], *, unit: str) -> Chart:
    """Lay out the bars of `points`, oldest first, scaled to the highest of them."""
    highest = max((point.received for point in points), default=0)
    deepest = max((point.dead for point in points), default=0)
    step = WIDTH / max(1, len(points))
    bars = []
    for number, point in enumerate(points):
        height = _scaled(point.received, highest, UP)
        bars.append(
            Bar(
                point=point,
                x=round(step * (number + _GAP / 2), 2),
                width=round(step * (1 - _GAP), 2),
                y=round(UP - height, 2),
                height=height,
                dead_height=_scaled(point.dead, deepest, DOWN),
            )
        )
    return Chart(
        unit=unit,
        bars=tuple(bars),
        received=sum(point.received for point in points),
        succeeded=sum(point.succeeded for point in points),
        dead=sum(point.dead for point in points),
        highest=highest,
        deepest=deepest,
    )


def _scaled(value: int, highest: int, room: int) -> float:
    # One event beside thousands is still seen.
    return max(2.0, round(room * value / highest, 2)) if value else 0.0
