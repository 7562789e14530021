"""What the work costs with 1,000 and with 1,000,000 finished events in the ledger.

Both ledgers stand side by side in the same database, and each thing is done in the one and in the
other by turns, so that what else the machine does meets both. Measured are ingest, dispatch,
pruning, and every question that pages, `/metrics`, `/readyz`, alerts and the API's lists ask: the
service's own functions, on its own connections. Besides what is finished both ledgers hold the
same 40 dead, 40 waiting and 60 cancelled jobs.

    .venv/bin/python -m tools.benchmarks.growth
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg
from sqlalchemy import select, text
from sqlalchemy.engine import make_url

from app.events import SNAPSHOT_PUBLISHED, WebhookEvent
from app.ledger import (
    accept,
    beat,
    claim,
    due_times,
    finish,
    prune,
    readiness,
    take_over,
    waiting_lanes,
)
from app.ledger.claiming import Job
from app.ledger.filters import EventFilter, JobFilter
from app.ledger.history import keep_history
from app.ledger.numbers import last_hour, list_destinations, overview, recent
from app.ledger.overview import last_day
from app.ledger.pacing import Pace
from app.ledger.paging import encode_cursor
from app.ledger.searching import (
    count_events,
    count_jobs,
    find_event,
    list_events,
    list_jobs,
    read_event,
    show_event,
    show_job,
)
from app.ledger.watching import look
from app.retry import Decision
from app.rules import Plan
from app.storage import Storage, upgrade_schema
from app.storage.tables import jobs, webhook_events
from tools.benchmarks import service
from tools.benchmarks.filling import DESTINATIONS, add_old, fill

SMALL, LARGE = 1_000, 1_000_000
# The median may grow by so much.
ALLOWED = 1.2
_SECONDS = 0.2
_LEAST, _MOST = 7, 201
_BATCH = 200
_MONTH_MS = 31 * 86_400_000
_DONE = Decision("succeeded", "succeeded", "sent")
_LANES = [f"forward:{place}" for place in DESTINATIONS]
_PACES = {f"forward:{place}": Pace(place, None, 16) for place in DESTINATIONS}


@dataclass(frozen=True)
class Ledger:
    """A filled ledger, and places in it that are asked for. `events` is how many it was given."""

    storage: Storage
    events: int
    event: int
    event_id: str
    item_id: str
    job: int
    dead: int

    @property
    def deep(self) -> str:
        """The cursor of a page in the middle of the events."""
        return encode_cursor(self.event)


@dataclass(frozen=True)
class Step:
    """One thing that is measured. `before` is done each time and not measured.

    `bounded`: no index leads there; the search ends after so many rows and says so.
    """

    name: str
    run: Callable[[Ledger], object]
    before: Callable[[Ledger], object] | None = None
    bounded: bool = False


@dataclass(frozen=True)
class Found:
    """The medians of a step in milliseconds."""

    step: Step
    small: float
    large: float

    @property
    def ratio(self) -> float:
        return self.large / self.small


@dataclass
class Report:
    """What was found on each database, by its name."""

    found: dict[str, list[Found]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        return [
            "## Cost as the ledger grows",
            "",
            "`tools/benchmarks/growth.py`: "
            f"medians in milliseconds with {SMALL:,} and with {LARGE:,} finished events of thirty"
            " days in the ledger, by turns in one run; the ratio is large : small.",
            "",
            *self._table(),
            "",
            self._verdict(),
            "",
        ]

    def _table(self) -> Iterator[str]:
        stores = list(self.found)
        yield "| |" + "".join(f" {store} | ratio |" for store in stores)
        yield "| --- |" + " ---: | ---: |" * len(stores)
        for row in zip(*self.found.values(), strict=True):
            mark = " *" if row[0].step.bounded else ""
            cells = (f" {one.small:.2f} → {one.large:.2f} | {one.ratio:.2f} |" for one in row)
            yield f"| {row[0].step.name}{mark} |{''.join(cells)}"

    def _verdict(self) -> str:
        over = [
            f"{one.step.name} on {store} ({one.ratio:.2f})"
            for store, found in self.found.items()
            for one in found
            if one.ratio > ALLOWED and not one.step.bounded
        ]
        total = sum(not one.step.bounded for found in self.found.values() for one in found)
        said = f"Within {ALLOWED} times: {total - len(over)} of {total}"
        said += f"; not: {', '.join(over)}." if over else "."
        return (
            f"{said} Rows with * have no index and stop after a bounded number of rows, which the"
            " page says: they grow up to that bound and no further."
        )


def measure() -> list[str]:
    report = Report()
    with service.databases() as stores:
        for store in stores:
            with ledgers(store.url) as (small, large):
                report.found[store.name] = compare(small, large)
    return report.lines()


@contextmanager
def ledgers(url: str) -> Iterator[tuple[Ledger, Ledger]]:
    """Two ledgers in one database server, or in one folder: one small, one large."""
    now = time.time_ns() // 1_000_000
    opened = []
    for place, count in ((url, SMALL), (beside(url), LARGE)):
        hurried = Storage(place, timeout=600)
        upgrade_schema(hurried)
        fill(hurried, count, now)
        hurried.close()
        opened.append(look_at(Storage(place), count))
    yield opened[0], opened[1]
    for one in opened:
        one.storage.close()


def beside(url: str) -> str:
    """The address of a second database; a PostgreSQL server is told to make it."""
    place = make_url(url)
    if place.get_backend_name() == "sqlite":
        return url.replace("relay.db", "large.db")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE DATABASE large TEMPLATE template0")
    return place.set(database="large").render_as_string(hide_password=False)


def look_at(storage: Storage, count: int) -> Ledger:
    """Choose the places that are asked for: in the middle of the thirty days."""
    event, job = webhook_events.c, jobs.c
    with storage.read() as connection:
        row = connection.execute(
            select(event.id, event.event_id, event.item_id, job.id.label("job"))
            .join(jobs, job.event == event.id)
            .where(event.id == count // 2)
            .limit(1)
        ).one()
        dead = connection.execute(text("SELECT max(id) FROM jobs WHERE state = 'dead'")).scalar()
    return Ledger(storage, count, row.id, row.event_id, row.item_id, row.job, dead or 0)


def compare(small: Ledger, large: Ledger, wanted: str = "") -> list[Found]:
    return [_compared(step, small, large) for step in STEPS if wanted in step.name]


def _compared(step: Step, small: Ledger, large: Ledger) -> Found:
    times: tuple[list[float], list[float]] = ([], [])
    pair = (small, large)
    for ledger in pair:  # caches, prepared statements
        warm = time.monotonic() + _SECONDS / 4
        for _ in range(6):
            _once(step, ledger)
            if time.monotonic() > warm:
                break
    end = time.monotonic() + _SECONDS
    turn = 0
    while turn < _LEAST or (turn < _MOST and time.monotonic() < end):
        for which in (0, 1) if turn % 2 else (1, 0):
            times[which].append(_once(step, pair[which]))
        turn += 1
    for ledger in pair:
        _forget_new(ledger)
    middle = [statistics.median(each) * 1000 for each in times]
    return Found(step, middle[0], middle[1])


def _once(step: Step, ledger: Ledger) -> float:
    if step.before:
        step.before(ledger)
    started = time.perf_counter()
    step.run(ledger)
    return time.perf_counter() - started


def _forget_new(ledger: Ledger) -> None:
    """Remove what was measured, so that both ledgers stay as large as they are said to be."""
    first = text("SELECT min(id) FROM webhook_events WHERE id > :given")
    theirs = "FROM jobs WHERE event >= :since"
    with ledger.storage.write() as connection:
        since = connection.execute(first, {"given": ledger.events}).scalar()
        for statement in (
            f"DELETE FROM attempts WHERE job IN (SELECT id {theirs})",  # noqa: S608 - ours
            f"DELETE {theirs}",
            "DELETE FROM webhook_events WHERE id >= :since",
        ):
            if since is not None:
                connection.execute(text(statement), {"since": since})


def _new(number: int) -> list[tuple[WebhookEvent, list[Plan]]]:
    """So many publishes, each of an item of its own, for one destination."""
    made = []
    for _ in range(number):
        item = str(uuid.uuid4())
        event = WebhookEvent(
            hub="main",
            id=str(uuid.uuid4()),
            name=SNAPSHOT_PUBLISHED,
            payload={"id": item},
            body=b"x" * 300,
            item_id=item,
            snapshot_id=item,
            label="Banner",
            schema="https://schemas.example.com/type-1.json",
        )
        plan = Plan(
            rule="rule-archive",
            action="forward",
            target="archive",
            lane="forward:archive",
            key=f"forward:archive:main:{item}",
            version=0,
            args={"item_id": item},
        )
        made.append((event, [plan]))
    return made


def _accept_group(ledger: Ledger) -> None:
    accept(ledger.storage, _new(32))


def _accept_one(ledger: Ledger) -> None:
    accept(ledger.storage, _new(1))


def _claim(ledger: Ledger) -> list[Job]:
    wanted = {"forward:archive": 1}
    return claim(ledger.storage, owner="bench", wanted=wanted, paces=_PACES)


def _dispatch(ledger: Ledger) -> None:
    [job] = _claim(ledger)
    assert finish(ledger.storage, job, _DONE)


def _add_old(ledger: Ledger) -> None:
    other = Storage(ledger.storage.url.render_as_string(hide_password=False))
    add_old(other, _BATCH, time.time_ns() // 1_000_000)
    other.close()


def _prune(ledger: Ledger) -> None:
    assert prune(ledger.storage, older_than_ms=_MONTH_MS, batch=_BATCH) == _BATCH


def _keep(ledger: Ledger) -> None:
    keep_history(ledger.storage)


def _events(title: str, *, bounded: bool = False, deep: bool = False, **given: str) -> Step:
    def run(ledger: Ledger) -> object:
        wanted = EventFilter(**{k: v.format(l=ledger) for k, v in given.items()})  # type: ignore[arg-type]
        return list_events(ledger.storage, wanted, cursor=ledger.deep if deep else None)

    return Step(f"events: {title}", run, bounded=bounded)


def _jobs(title: str, *, bounded: bool = False, deep: bool = False, **given: str) -> Step:
    def run(ledger: Ledger) -> object:
        wanted = JobFilter(**{k: v.format(l=ledger) for k, v in given.items()})  # type: ignore[arg-type]
        return list_jobs(ledger.storage, wanted, cursor=ledger.deep if deep else None)

    return Step(f"jobs: {title}", run, bounded=bounded)


def _span(ledger: Ledger) -> object:
    """A day in the middle."""
    day = datetime.now(UTC) - timedelta(days=15)
    wanted = EventFilter(received_from=day, received_to=day + timedelta(days=1))
    return list_events(ledger.storage, wanted)


def _dead_group(**given: str) -> JobFilter:
    return JobFilter(
        **{  # type: ignore[arg-type]
            "state": "dead",
            "reason": "destination-refused",
            "action": "forward",
            "target": "search",
            **given,
        }
    )


STEPS = [
    Step("prune a batch of 200", _prune, _add_old),
    Step("prune when nothing is old", lambda of: prune(of.storage, older_than_ms=_MONTH_MS)),
    Step("accept 1 event", _accept_one),
    Step("accept a group of 32", _accept_group),
    Step("claim and finish a job", _dispatch, _accept_one),
    Step("when is what due", lambda of: due_times(of.storage, _LANES, _PACES)),
    Step("which lanes wait", lambda of: waiting_lanes(of.storage)),
    Step("beat", lambda of: beat(of.storage, owner="bench", host="h", pid=1, running=[])),
    Step("take over", lambda of: take_over(of.storage)),
    Step("/readyz", lambda of: readiness(of.storage)),
    Step("/metrics, overview: queues and dead", lambda of: overview(of.storage)),
    Step("/metrics: the last minute", lambda of: recent(of.storage)),
    # A worker keeps the history every minute.
    Step("overview: the last hour", lambda of: last_hour(of.storage), _keep),
    Step("overview: the last day", lambda of: last_day(of.storage), _keep),
    Step("destinations", lambda of: list_destinations(of.storage, DESTINATIONS)),
    Step("alerts", lambda of: look(of.storage, oldest_waiting_ms=900_000)),
    Step("one event", lambda of: show_event(of.storage, of.event)),
    Step("one event's body", lambda of: read_event(of.storage, of.event)),
    Step("one job", lambda of: show_job(of.storage, of.job)),
    Step("find an event by its id", lambda of: find_event(of.storage, of.event_id)),
    Step("dead group: count", lambda of: count_jobs(of.storage, _dead_group())),
    Step("dead group: page", lambda of: list_jobs(of.storage, _dead_group(), limit=20)),
    _events("newest"),
    _events("deep page", deep=True),
    _events("by id", event_id="{l.event_id}"),
    _events("by item", item_id="{l.item_id}"),
    _events("by label, common", label="banner"),
    _events("by label, deep page", label="banner", deep=True),
    _events("by label, nothing", label="no such", bounded=True),
    _events("by schema, common", schema="type-7."),
    _events("by schema, nothing", schema="no-such", bounded=True),
    _events("by name, common", name=SNAPSHOT_PUBLISHED),
    _events("by hub", hub="lab"),
    _events("by hub, nothing", hub="none", bounded=True),
    _events("by origin, nothing", origin="resync", bounded=True),
    *(
        _events(f"state {state}", state=state)
        for state in (
            "waiting",
            "running",
            "succeeded",
            "skipped",
            "superseded",
            "dead",
            "cancelled",
        )
    ),
    _events("state skipped, deep page", state="skipped", deep=True),
    _events("by destination", target="search"),
    _events("by destination, rare", target="archive"),
    _events("by destination, unknown", target="none"),
    _events("by destination and state", target="search", state="superseded"),
    Step("events: of a day", _span),
    _jobs("newest"),
    _jobs("deep page", deep=True),
    _jobs("by item", item_id="{l.item_id}"),
    Step("jobs: by event", lambda of: list_jobs(of.storage, JobFilter(event=of.event))),
    *(
        _jobs(f"state {state}", state=state)
        for state in (
            "waiting",
            "running",
            "succeeded",
            "skipped",
            "superseded",
            "dead",
            "cancelled",
        )
    ),
    _jobs("by destination", target="mail"),
    _jobs("by destination, unknown", target="none", bounded=True),
    _jobs("by action", action="forward"),
    _jobs("by action, nothing", action="unpublish", bounded=True),
    _jobs("by rule", rule="rule-shop"),
    _jobs("by reason", reason="sent"),
    _jobs("by hub", hub="outlet"),
    # It reads the whole table: what a replay of many would replay, asked for by a person.
    Step(
        "count events by label",
        lambda of: count_events(of.storage, EventFilter(label="no such")),
    ),
]


def main() -> None:
    print("\n".join(measure()))


if __name__ == "__main__":
    main()
