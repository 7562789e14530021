"""What a user waits for, with 1,000 and with 1,000,000 finished events in the database.

Two services run side by side and do each thing by turns, so that what else the machine does meets
both: answer a webhook, deliver it, and show pages, API lists, `/metrics` and `/readyz`. Besides
finished events both hold the same 40 dead, 40 waiting and 60 cancelled jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import quote

from tools import report, stores
from tools.benchmarks import stubs
from tools.benchmarks.filling import fill, fill_waiting
from tools.benchmarks.sides import DESTINATIONS, Side, Sides, sides

LITTLE, MUCH, WAITING = 1_000, 1_000_000, 100_000
# A ratio, and milliseconds of difference that nobody waits for.
ALLOWED, UNNOTICED = 1.2, 2.0
TURNS = 11
# Of several turns; what else the machine does only adds to them.
_quartile = partial(report.percentile, share=0.25)
# No index leads there: the search stops after so many rows, and the page says so.
BOUNDED = (
    "/events?label=no-such",
    "/events?schema=no-such",
    "/api/v1/events?hub=none",
    "/api/v1/events?origin=resync",
    "/api/v1/jobs?target=none",
    "/api/v1/jobs?action=unpublish",
)
OVERVIEW = "/"
PAGES = (
    "/destinations",
    "/dead",
    "/dead/group?reason=destination-refused&action=forward&target=search",
    "/events/{event}",
    "/events",
    "/events?cursor={deep}",
    "/events?event_id={event_id}",
    "/events?item_id={item_id}",
    "/events?label=banner",
    "/events?label=banner&cursor={deep}",
    "/events?schema=type-7.",
    "/events?state=waiting",
    "/events?state=succeeded",
    "/events?state=skipped&cursor={deep}",
    "/events?state=dead",
    "/events?state=cancelled",
    "/events?target=search",
    "/events?target=archive",
    "/events?target=search&state=superseded",
    "/api/v1/status",
    "/api/v1/events?hub=lab",
    "/api/v1/events?received_from={day}&received_to={next_day}",
    "/api/v1/jobs?cursor={deep}",
    "/api/v1/jobs?item_id={item_id}",
    "/api/v1/jobs?event={event}",
    "/api/v1/jobs?state=waiting",
    "/api/v1/jobs?state=succeeded",
    "/api/v1/jobs?state=dead",
    "/api/v1/jobs?target=mail",
    "/api/v1/jobs?reason=sent",
    "/api/v1/jobs?hub=outlet",
    "/metrics",
    "/readyz",
    *BOUNDED,
    OVERVIEW,
)


@dataclass(frozen=True)
class Found:
    """How long one thing took, in milliseconds."""

    name: str
    little: float
    much: float

    @property
    def ratio(self) -> float:
        return self.much / self.little

    @property
    def well(self) -> bool:
        grown = self.ratio > ALLOWED and self.much - self.little > UNNOTICED
        return self.name in BOUNDED or not grown


def measure(*, brief: bool) -> list[str]:
    much, waiting, turns = (5_000, 1_000, 1) if brief else (MUCH, WAITING, TURNS)
    found: dict[str, list[Found]] = {}
    now = time.time_ns() // 1_000_000

    def finished(count: int) -> Callable[[str], None]:
        return lambda url: fill(url, count, now)

    with stubs.running() as outside:
        for kind in stores.KINDS.values():
            with sides(kind, outside, finished(LITTLE), finished(much)) as both:
                found[kind.name] = _compared(both, turns)
            wait = partial(fill_waiting, count=waiting, now=now, places=DESTINATIONS)
            with sides(kind, outside, lambda _: None, wait) as both:
                found[kind.name] += _delivered(both, turns, f"; {waiting:,} jobs wait, or none")
    return _lines(found, much)


def _delivered(both: Sides, turns: int, what: str = "") -> list[Found]:
    pairs = both.by_turns(Side.delivered, turns)
    return [
        Found(name + what, *(_quartile([each[part] for each in side]) for side in pairs))
        for part, name in enumerate(("webhook to its answer", "webhook to the destination"))
    ]


def _compared(both: Sides, turns: int) -> list[Found]:
    settled = time.monotonic() + (70 if turns == TURNS else 0)
    found = _delivered(both, turns)
    places = {side: _places(side) for side in (both.little, both.much)}
    for path in PAGES:
        if path == OVERVIEW:  # Its charts are counted by the worker, once a minute.
            time.sleep(max(0.0, settled - time.monotonic()))

        def timed(side: Side, path: str = path) -> float:
            return side.timed(path.format(**places[side]))

        both.by_turns(timed, 1)  # Caches, and prepared statements.
        found.append(Found(path, *map(_quartile, both.by_turns(timed, turns))))
    return found


def _places(side: Side) -> Mapping[str, str]:
    """What the pages ask for: an event in the middle of the thirty days."""
    day = datetime.now(UTC) - timedelta(days=15)
    times = {"day": day - timedelta(days=1), "next_day": day}
    given = {name: quote(at.isoformat()) for name, at in times.items()}
    page = side.get(f"/api/v1/events?limit=1&received_to={given['next_day']}").json()
    event = page["events"][0]
    return {
        **given,
        "deep": quote(page["next"]),
        "event": str(event["id"]),
        "event_id": event["event_id"],
        "item_id": event["item_id"],
    }


def _lines(found: Mapping[str, list[Found]], much: int) -> list[str]:
    head = ["", *(cell for store in found for cell in (f"{store}, ms", "ratio"))]
    rows = []
    for row in zip(*found.values(), strict=True):
        name = row[0].name if row[0].name.startswith("webhook") else f"`{row[0].name}`"
        cells = [f"{name} *" if row[0].name in BOUNDED else name]
        for one in row:
            ratio = f"{one.ratio:.2f}"
            cells += [f"{one.little:.1f} → {one.much:.1f}", ratio if one.well else f"**{ratio}**"]
        rows.append(cells)
    every = [one for each in found.values() for one in each]
    return [
        "## As the database grows",
        "",
        f"Milliseconds with {LITTLE:,} and with {much:,} finished events of thirty days, by turns "
        f"(lower quartiles). Bound: {ALLOWED} times, or {UNNOTICED:.0f} ms more. Rows with * have "
        "no index: they stop after a bounded number of rows, and the page says so.",
        "",
        *report.table(head, rows),
        f"{sum(one.well for one in every)} of {len(every)} within the bound.",
        "",
    ]
