"""What each page shows, as values for its template. Reads the ledger; changes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.advice import Advice, of_reason
from app.config import Destination, Settings
from app.db import Storage
from app.db.driver import read_json
from app.destinations.hiding import masked_url
from app.errors import VerbRefused
from app.queue.alerts import ALERT_ORIGIN
from app.queue.filters import EventFilter, JobFilter
from app.queue.history import Hour, Minute, done_lately, last_day, last_hour, time_for
from app.queue.operator import reread
from app.queue.records import EventRow, EventStory, JobRow, StoredEvent
from app.queue.search import list_events, list_jobs, show_event
from app.queue.stats import DeadGroup, DestinationRow, Overview, list_destinations, overview
from app.rules import Explanation, explain
from app.web.dashboard.chart import Chart, Point, draw
from app.web.dashboard.timeline import Line, line
from app.web.dashboard.wording import duration, plural

# A worker beats every 2.5 s, and its lease ends after 10 s.
OLDEST_BEAT = 15.0
LONGEST_SHOWN = 20_000
_LATEST = 8


@dataclass(frozen=True)
class Trouble:
    """Something that a person should see: how bad (`bad` or `warn`), what it is, what to do.

    `endpoint` is the page that has more of it; None where there is none.
    """

    level: str
    text: str
    todo: str
    endpoint: str | None = None


@dataclass(frozen=True)
class Why:
    """Why a rule did or did not want an event, as the rules are now."""

    explanation: Explanation
    made_a_job: bool

    @property
    def found(self) -> str | None:
        """What the event has in the place of the condition that failed; None for nothing."""
        found = self.explanation.found
        if found is None or found == []:
            return None
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


@dataclass(frozen=True)
class EventPage:
    """One event's story. `body` is None in a live answer, which leaves out what cannot change."""

    story: EventStory
    lines: tuple[Line, ...]
    whys: tuple[Why, ...]
    unreadable: str | None
    body: str | None
    body_cut: bool

    @property
    def alert(self) -> dict[str, Any] | None:
        """What an alert says; None for every other event."""
        if self.story.event.origin != ALERT_ORIGIN:
            return None
        told = read_json(self.story.body)
        return told if isinstance(told, dict) and told.get("text") else None


@dataclass(frozen=True)
class Group:
    """Dead jobs of one reason and target, with the newest of them as an example."""

    counts: DeadGroup
    newest: JobRow | None

    @property
    def advice(self) -> Advice | None:
        """What the reason means, and what to do."""
        return of_reason(self.counts.reason)


@dataclass(frozen=True)
class Place:
    """A destination: how it fares, and what the settings say of it where they know it."""

    row: DestinationRow
    settings: Destination | None

    @property
    def facts(self) -> list[str]:
        """Where it is, and how it is sent to."""
        if self.settings is None:
            return []
        signed = "signed" if self.settings.signing_secrets else "not signed"
        facts = [masked_url(self.settings.url), signed]
        if self.settings.rate is not None:
            facts.append(f"at most {self.settings.rate:g} a second")
        if self.settings.concurrency is not None:
            facts.append(f"{self.settings.concurrency} at once")
        return facts


def names(settings: Settings) -> list[str]:
    """The destinations' names, as they stand in the settings."""
    return [place.name for place in settings.destinations]


def targets(settings: Settings) -> list[str]:
    """What a job may be for: a destination, or a hub."""
    return list(dict.fromkeys([*names(settings), *(hub.key for hub in settings.hubs)]))


def troubles(now: Overview, *, late: float) -> list[Trouble]:
    """Find what is wrong at this moment, the worst first; `late`: seconds that a job may be due."""
    found = []
    if now.beat_age is None or now.beat_age > OLDEST_BEAT:
        todo = "Start one with dc-relay worker. Nothing is lost: everything waits."
        found.append(Trouble("bad", "No worker is running, so no job is done.", todo))
    if now.dead:
        text = f"{plural(now.dead, 'job')} {'was' if now.dead == 1 else 'were'} given up."
        found.append(Trouble("bad", text, "See why, mend the cause, and retry.", "dead"))
    for name in now.open_breakers:
        text = f"{name} fails, so its breaker is open."
        todo = "Its queue is kept, and one job is sent now and then to see whether it is back."
        found.append(Trouble("warn", text, todo, "destinations"))
    for name in now.paused:
        todo = "Its queue is kept until somebody resumes it."
        found.append(Trouble("warn", f"{name} is paused.", todo, "destinations"))
    held = {*now.open_breakers, *now.paused}
    for queue in now.queues:
        if queue.target not in held and (queue.due_age or 0) > late:
            text = f"Jobs of {queue.action} for {queue.target} are {duration(queue.due_age)} late."
            todo = "If it is not slow, run more workers, or raise its rate or concurrency."
            found.append(Trouble("warn", text, todo, "destinations"))
    return found


def minutes_chart(storage: Storage) -> Chart:
    """Draw the last hour by the minute."""
    return draw(_points(last_hour(storage)), unit="minute")


def hours_chart(storage: Storage) -> Chart:
    """Draw the last day by the hour."""
    return draw(_points(last_day(storage)), unit="hour")


def _points(spans: Sequence[Minute] | Sequence[Hour]) -> list[Point]:
    return [
        Point(span.at, span.received, span.ended["succeeded"], span.ended["dead"]) for span in spans
    ]


def event_page(
    storage: Storage, settings: Settings, identifier: int, *, now: datetime, live: bool
) -> EventPage:
    """Read one event with all that is told of it; raises `NoSuchRecord`."""
    story = show_event(storage, identifier)
    places = {place.name: place for place in list_destinations(storage, names(settings))}
    lines = tuple(line(each, places, now) for each in story.jobs)
    if live:
        return EventPage(story, lines, (), None, None, body_cut=False)
    whys, unreadable = _whys(story, settings)
    body = _pretty(story.body)
    return EventPage(
        story, lines, whys, unreadable, body[:LONGEST_SHOWN], body_cut=len(body) > LONGEST_SHOWN
    )


def _whys(story: EventStory, settings: Settings) -> tuple[tuple[Why, ...], str | None]:
    made = {(each.job.rule, item) for each in story.jobs for item in (None, each.job.item_id)}
    row = story.event
    stored = StoredEvent(row.id, row.hub, row.received_at, story.body)
    try:
        event = reread(stored)
    except VerbRefused as error:
        return (), error.detail
    found = explain(event, settings.rules)
    return tuple(Why(each, (each.rule, each.item_id) in made) for each in found), None


def _pretty(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")


def groups(storage: Storage) -> list[Group]:
    """Read the dead jobs by reason and target, each with its newest one."""
    return [Group(counts, _newest(storage, counts)) for counts in overview(storage).dead_groups]


def group_filter(*, reason: str | None, action: str, target: str) -> JobFilter:
    """The filter that finds the jobs of one group of dead ones."""
    return JobFilter(state="dead", reason=reason, action=action, target=target)


def _newest(storage: Storage, counts: DeadGroup) -> JobRow | None:
    wanted = group_filter(reason=counts.reason, action=counts.action, target=counts.target)
    return next(iter(list_jobs(storage, wanted, limit=1).rows), None)


def latest(storage: Storage) -> Sequence[EventRow]:
    """The newest events."""
    return list_events(storage, EventFilter(), limit=_LATEST).rows


def destinations(storage: Storage, settings: Settings) -> list[Place]:
    """Read how each destination fares."""
    rows = list_destinations(storage, names(settings))
    return [Place(row, settings.destination(row.name)) for row in rows]


def done_within(storage: Storage) -> float | None:
    """Seconds within which 95 of 100 jobs succeeded that came to it in the last five minutes."""
    return time_for(0.95, done_lately(storage, last_ms=300_000))


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)
