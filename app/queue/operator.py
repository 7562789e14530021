"""Operator actions: retry, replay, cancel, pause and resume, for one record or for a filter.

They keep the rules that hold for all jobs: never two running for one key, and of several waiting
jobs the newest wins. A running job is refused: its attempt cannot be called back. One record is
one transaction. A filter goes page by page, so that no call takes long: the caller passes the
returned cursor on until there is none; what comes in meanwhile is newer than the first page and
is left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, case, func, null, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.config import Settings
from app.db import Storage
from app.db.tables import destination_states, in_state, jobs, now_ms, webhook_events
from app.errors import NoSuchRecord, VerbRefused, WebhookRejected
from app.events import WebhookEvent, storable, without_future_dates
from app.queue.coalescing import newer_waiting
from app.queue.filters import EventFilter, JobFilter
from app.queue.ingest import add_jobs
from app.queue.insert_events import JOBS_CHANNEL
from app.queue.pagination import LONGEST_PAGE
from app.queue.records import StoredEvent
from app.queue.search import list_events, list_jobs, read_events
from app.rules import Plan, item_of, match
from app.schemas import load_event

_GIVEN_UP = ("dead", "cancelled")
LONGEST_PAUSE_REASON = 100
# Jobs or events of one transaction: the door must not wait long for the database's one writer.
_TOGETHER = 50

RetriedState = Literal["waiting", "superseded"]
_Job = Row[int, str, str, str, str, Any]
_Name = tuple[str, str, str, str | None]
_Event = Row[int, str, int]


@dataclass(frozen=True)
class Replayed:
    """What a replay made: ids of new jobs, and of those that were waiting or running already."""

    event: int
    made: tuple[int, ...]
    active: tuple[int, ...]


def retry_job(storage: Storage, identifier: int) -> RetriedState:
    """Let a dead, cancelled or waiting job run now, with all of its retries again.

    What it sends stays as it was kept. A dead or cancelled job looks at the world afresh; a waiting
    one still knows what it has asked for. Returns its new state: `superseded` where a newer job for
    the same item waits already, which then does what this one would have done. Raises
    `NoSuchRecord`, or `VerbRefused`: `job-running`, `job-done` (replay its event instead).
    """
    with storage.write() as connection:
        state = retry_in(connection, identifier)
        notify_workers(connection)
        return state


def retry_in(connection: Connection, identifier: int) -> RetriedState:
    """Do what `retry_job` does, within a transaction that is already open; wakes nobody."""
    job = _locked(connection, identifier)
    if job.state not in (*_GIVEN_UP, "waiting"):
        raise _wrong_state(job, "retried; replay its event instead")
    values = _afresh(job.state)
    if newer := newer_waiting(connection, identifier):
        values = {
            "state": "superseded",
            "reason": "newer-event",
            "superseded_by": newer,
            "finished_at": now_ms(),
        }
    connection.execute(update(jobs).where(jobs.c.id == identifier).values(values))
    return "superseded" if newer else "waiting"


def _afresh(state: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "state": "waiting",
        "run_at": now_ms(),
        "failures": 0,
        "losses": 0,
        "finished_at": null(),
    }
    if state in _GIVEN_UP:
        # What it asked for long ago must not count as unconfirmed once more.
        values |= {"progress": null(), "reason": null(), "message": null()}
    return values


def cancel_job(storage: Storage, identifier: int) -> None:
    """Take a waiting or dead job away. It stays in the ledger as cancelled.

    Raises `NoSuchRecord`, or `VerbRefused`: `job-running`, `job-done`.
    """
    with storage.write() as connection:
        job = _locked(connection, identifier)
        if job.state not in ("waiting", "dead"):
            raise _wrong_state(job, "cancelled")
        connection.execute(
            update(jobs)
            .where(jobs.c.id == identifier)
            .values(state="cancelled", finished_at=now_ms())
        )


def _locked(connection: Connection, identifier: int) -> Row[Any]:
    job = connection.execute(
        select(jobs).where(jobs.c.id == identifier).with_for_update()
    ).one_or_none()
    if job is None:
        raise NoSuchRecord("job-unknown", f"There is no job {identifier}; it may be pruned.")
    return job


def _wrong_state(job: Row[Any], verb: str) -> VerbRefused:
    if job.state == "running":
        return VerbRefused("job-running", f"Job {job.id} is running: wait for its attempt to end.")
    return VerbRefused("job-done", f"Job {job.id} is {job.state} and cannot be {verb}.")


def replay_event(storage: Storage, identifier: int, plans: Sequence[Plan]) -> Replayed:
    """Ask again for what the current rules make of an event that is in the ledger.

    `plans` is what `rules.match` says of it now. Each becomes a new job that names the last one of
    the same rule, target and item as the one it does again; where one of the event waits or runs
    already, that one stands. A dead one that is done again is superseded. A replay is as old as its
    event: what changed later still wins. Raises `NoSuchRecord`.
    """
    with storage.write() as connection:
        replayed = replay_in(connection, identifier, plans)
        notify_workers(connection)
        return replayed


def replay_in(connection: Connection, identifier: int, plans: Sequence[Plan]) -> Replayed:
    """Do what `replay_event` does, within a transaction that is already open; wakes nobody."""
    event = connection.execute(
        select(webhook_events.c.id, webhook_events.c.hub, webhook_events.c.received_at)
        .where(webhook_events.c.id == identifier)
        # Two who replay the same event at once: the second finds the first one's jobs.
        .with_for_update()
    ).one_or_none()
    if event is None:
        raise NoSuchRecord("event-unknown", f"There is no event {identifier}; it may be pruned.")
    before = _jobs_of(connection, identifier)
    active = [before[_name(plan)] for plan in plans if _is_active(before.get(_name(plan)))]
    wanted = [plan for plan in plans if not _is_active(before.get(_name(plan)))]
    made = _insert(connection, event, wanted, before) if wanted else []
    return Replayed(identifier, tuple(made), tuple(job.id for job in active))


def _name(plan: Plan) -> _Name:
    return plan.rule, plan.action, plan.target, _own_item(plan.args)


def _own_item(args: Any) -> str | None:
    """The item of a job whose event has several; a row may hold anything."""
    return item_of(args).get("item_id") if isinstance(args, Mapping) else None


def _is_active(job: _Job | None) -> bool:
    return job is not None and job.state in ("waiting", "running")


def _jobs_of(connection: Connection, event: int) -> dict[_Name, _Job]:
    """Find the last job of each rule, target and item of an event; active ones before others."""
    active = case((in_state(jobs, "waiting", "running"), 1), else_=0)
    rows = connection.execute(
        select(
            jobs.c.id,
            jobs.c.rule,
            jobs.c.action,
            jobs.c.target,
            jobs.c.state,
            jobs.c.args,
        )
        .where(jobs.c.event == event)
        .order_by(active, jobs.c.id)
    )
    return {(row.rule, row.action, row.target, _own_item(row.args)): row for row in rows}


def _insert(
    connection: Connection,
    event: _Event,
    plans: Sequence[Plan],
    before: Mapping[_Name, _Job],
) -> list[int]:
    now = connection.execute(select(now_ms())).scalar_one()
    as_old = [replace(plan, version=event.received_at, delay=0) for plan in plans]
    made = add_jobs(connection, as_old, hub=event.hub, event_row=event.id, now=now)
    for plan, identifier in zip(plans, made, strict=True):
        last = before.get(_name(plan))
        if last is None:
            continue
        connection.execute(update(jobs).where(jobs.c.id == identifier).values(replay_of=last.id))
        if last.state == "dead":
            connection.execute(
                update(jobs)
                .where(jobs.c.id == last.id)
                .values(state="superseded", reason="replayed", superseded_by=identifier)
            )
    return made


def pause(storage: Storage, destination: str, reason: str) -> None:
    """Send a destination nothing more until `resume`; its queue is kept, and goes on growing.

    An attempt that is under way is not called back. `reason` is cut at 100 characters. Whether
    there is a destination of this name is the caller's to know.
    """
    dialect = sqlite if storage.is_sqlite else postgresql
    values = {"paused_at": now_ms(), "paused_reason": storable(reason[:LONGEST_PAUSE_REASON])}
    with storage.write() as connection:
        connection.execute(
            dialect.insert(destination_states)
            .values(name=destination, **values)
            .on_conflict_do_update(index_elements=["name"], set_=values)
        )


def resume(storage: Storage, destination: str) -> None:
    """Let a paused destination have its queue again; where its breaker is open, it is tried now."""
    state = destination_states.c
    with storage.write() as connection:
        connection.execute(
            update(destination_states)
            .where(state.name == destination)
            .values(
                paused_at=null(),
                paused_reason=null(),
                probe_at=case((state.breaker == "open", now_ms()), else_=state.probe_at),
            )
        )
        notify_workers(connection)


def notify_workers(connection: Connection) -> None:
    """Notify the workers at the commit. On SQLite they see the commit itself."""
    if connection.dialect.name != "sqlite":
        connection.execute(select(func.pg_notify(JOBS_CHANNEL, "")))


@dataclass(frozen=True)
class Retried:
    """How many jobs were retried, and where to go on.

    `superseded` counts those that a newer job for the same item made pointless, `refused` the
    others by reason.
    """

    jobs: int = 0
    superseded: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    next: str | None = None


@dataclass(frozen=True)
class ReplayedMany:
    """How many events were replayed into how many new jobs, and where to go on.

    `active` counts jobs that were waiting or running already. `refused` counts events by reason:
    a body that cannot be read, a hub that is gone.
    """

    events: int = 0
    jobs: int = 0
    active: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    next: str | None = None


def retry_where(
    storage: Storage, wanted: JobFilter, *, limit: int = LONGEST_PAGE, cursor: str | None = None
) -> Retried:
    """Retry one page of the jobs that the filter finds; see `retry_job`."""
    page = list_jobs(storage, wanted, limit=limit, cursor=cursor)
    states, refused = Counter[str](), Counter[str]()
    # The newest first: of two dead jobs for one item only that one is sent.
    for group in _groups([row.id for row in page.rows]):
        with storage.write() as connection:
            for identifier in group:
                try:
                    states[retry_in(connection, identifier)] += 1
                except (NoSuchRecord, VerbRefused) as error:
                    refused[error.reason] += 1
            notify_workers(connection)
    return Retried(states["waiting"], states["superseded"], refused, page.next)


def replay_where(
    storage: Storage,
    wanted: EventFilter,
    plan: Callable[[StoredEvent], Sequence[Plan]],
    *,
    limit: int = LONGEST_PAGE,
    cursor: str | None = None,
) -> ReplayedMany:
    """Replay one page of the events that the filter finds; see `replay_event`.

    `plan` says what the current rules make of an event; a `VerbRefused` from it is counted.
    """
    page = list_events(storage, wanted, limit=limit, cursor=cursor)
    events, made, active, refused = 0, 0, 0, Counter[str]()
    for group in _groups([row.id for row in reversed(page.rows)]):
        planned: list[tuple[int, Sequence[Plan]]] = []
        for stored in read_events(storage, group):
            try:
                planned.append((stored.id, plan(stored)))
            except VerbRefused as error:
                refused[error.reason] += 1
        with storage.write() as connection:
            for identifier, plans in planned:
                try:
                    replayed = replay_in(connection, identifier, plans)
                except NoSuchRecord as error:
                    refused[error.reason] += 1
                    continue
                events += 1
                made += len(replayed.made)
                active += len(replayed.active)
            notify_workers(connection)
    return ReplayedMany(events, made, active, refused, page.next)


def _groups(identifiers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(identifiers), _TOGETHER):
        yield identifiers[start : start + _TOGETHER]


def reread(stored: StoredEvent) -> WebhookEvent:
    """Read a stored body once more; raises `VerbRefused` (`event-unreadable`).

    A date that was in the future when the event came is as unknown as it was then.
    """
    received_at = stored.received_at or datetime.min.replace(tzinfo=UTC)
    try:
        event, _ = without_future_dates(load_event(stored.body, hub=stored.hub), received_at)
        return event
    except WebhookRejected as error:
        # A command or a schedule may make events without a webhook's body.
        text = f"The body of event {stored.id} is no webhook that rules can be asked about."
        raise VerbRefused("event-unreadable", text) from error


def planner(settings: Settings) -> Callable[[StoredEvent], Sequence[Plan]]:
    """Make the function that plans replays by these settings; it raises as `reread` does."""

    def plan(stored: StoredEvent) -> Sequence[Plan]:
        return match(reread(stored), settings.rules, settings.destinations)

    return plan
