"""What all long commands share: ask for jobs, watch them, stop and go on, tell the sum.

A long command lists items and writes an event with jobs for each, as a webhook would; the workers
do them. So it may be stopped at any moment, and the same command takes its run up again. This
module must not know what is done with the items.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeVar

import click

from app.bootstrap import build_worker
from app.cli.choosing import failure_text
from app.cli.progress import Progress
from app.cli.starting import ready_schema_or_exit, start_observing
from app.config import Settings
from app.errors import AmplienceError, StorageUnavailable
from app.events import WebhookEvent
from app.ledger import readiness
from app.ledger.bulk import (
    ORIGIN,
    BulkRun,
    RunState,
    accept_for_run,
    close_run,
    dead_items,
    items_of_run,
    open_run,
    run_state,
)
from app.operations.listing import BulkItem, Parts, tell_dry_run
from app.rules import Plan
from app.storage import Storage

SOME_FAILED = 1
NOT_FINISHED = 3

# A worker beats every 2.5 s; one that is silent for longer is gone.
_OLDEST_BEAT = 15.0
_LONGEST_PAUSE = 1.0
_ALL_LISTED = "all-listed"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class BulkCommand:
    """What one long command does.

    `args` is plain JSON and all that makes two runs the same. `parts` lists the items from a
    position on; the function that it is handed tells which were listed before, also by an earlier
    process. `plans` says what is to be done for an event of one item. Not more than `per_minute`
    items come due, so that the work that webhooks ask for meanwhile goes between them.
    """

    kind: str
    hub: str
    args: Mapping[str, Any]
    parts: Parts
    plans: Callable[[WebhookEvent, BulkItem], Sequence[Plan]]
    per_minute: float


@dataclass(frozen=True)
class BulkOptions:
    """How a long command is run; `timeout` in seconds, None for no end."""

    dry_run: bool = False
    as_json: bool = False
    restart: bool = False
    work: bool = False
    timeout: float | None = None


def bulk_options(default_per_minute: int | None) -> Callable[[F], F]:
    """Add the options that all long commands have; the command gets them by these names."""
    options = [
        click.option("--hub", "hub_key", help="The hub; needed where there are several."),
        click.option(
            "--per-minute",
            type=click.FloatRange(min=0, min_open=True),
            default=default_per_minute,
            show_default=True,
            help="Items that come due in a minute.",
        ),
        click.option("--dry-run", is_flag=True, help="List what would be done; write nothing."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end."),
        click.option("--restart", is_flag=True, help="Begin anew, not where it was stopped."),
        click.option("--work", is_flag=True, help="Do the jobs here if no worker runs."),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0),
            help="Stop watching after so many seconds.",
        ),
    ]

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def run_bulk(settings: Settings, command: BulkCommand, options: BulkOptions) -> NoReturn:
    """Run a long command to its exit code.

    0: all is done; 1: some jobs are dead, or it cannot go on; 3: it was stopped, or is not done in
    time, and the same command goes on.
    """
    with telling_unfinished(settings):
        if options.dry_run:
            tell_dry_run(command.kind, command.parts, as_json=options.as_json)
            sys.exit(0)
        with closing(Storage(settings.database_url)) as storage:
            ready_schema_or_exit(storage)
            sys.exit(_Session(settings, storage, command, options).run())


@contextmanager
def telling_unfinished(settings: Settings) -> Iterator[None]:
    """Turn what may pass into a line without secrets and exit 3; what will not, into exit 1."""
    try:
        yield
    except (AmplienceError, StorageUnavailable) as problem:
        is_ours = isinstance(problem, StorageUnavailable)
        text = str(problem) if is_ours else failure_text(settings, problem)  # type: ignore[arg-type]
        click.echo(f"Error: {text}", err=True)
        if problem.transient:
            click.echo("Not finished. Run the same command again to go on.", err=True)
        sys.exit(NOT_FINISHED if problem.transient else SOME_FAILED)


@dataclass
class _Session:
    settings: Settings
    storage: Storage
    command: BulkCommand
    options: BulkOptions
    started: float = field(default_factory=time.monotonic)

    def run(self) -> int:
        command = self.command
        run = open_run(self.storage, command.kind, command.args, restart=self.options.restart)
        self.progress = Progress(command.kind)
        if run.resumed:
            self.progress.tell(f"Going on with run {run.id}; --restart begins anew.")
        finished = False
        try:
            if run.position != _ALL_LISTED:
                self._list(run)
            with ExitStack() as opened:
                if self._is_over(run) or self._has_worker(opened):
                    finished = self._watch(run)
        except KeyboardInterrupt:
            self.progress.tell(
                "Stopped. The jobs that are written down go on without this command."
            )
        if finished:
            close_run(self.storage, run)
        return self._tell(run, finished=finished)

    def _list(self, run: BulkRun) -> None:
        before = run.counts.get("listed", 0) if run.position is not None else 0
        listed = before
        for part in self.command.parts(run.position, lambda: items_of_run(self.storage, run)):
            turns = (self._turn(run, before, listed + n) for n in range(len(part.items)))
            batch = [
                self._entry(run, item, turn) for item, turn in zip(part.items, turns, strict=True)
            ]
            listed += len(batch)
            counts = {"listed": listed}
            accept_for_run(self.storage, run, batch, position=part.position, counts=counts)
            self.progress.show(f"{listed} items listed")
        counts = {"listed": listed}
        accept_for_run(self.storage, run, [], position=_ALL_LISTED, counts=counts)

    def _turn(self, run: BulkRun, before: int, number: int) -> float:
        """In how many seconds the item is to come due, with `before` listed by earlier commands."""
        gap = 60 / self.command.per_minute
        # A run that stood still for an hour does not make up for it all at once.
        waiting = max(0.0, before * gap - (run.opened_at - run.created_at) / 1000)
        return waiting + (number - before) * gap - (time.monotonic() - self.started)

    def _entry(self, run: BulkRun, item: BulkItem, turn: float) -> tuple[WebhookEvent, list[Plan]]:
        event = _event(run, self.command, item)
        plans = self.command.plans(event, item)
        return event, [replace(plan, delay=max(plan.delay, turn)) for plan in plans]

    def _is_over(self, run: BulkRun) -> bool:
        state = run_state(self.storage, run)
        return state.ended == state.total

    def _has_worker(self, opened: ExitStack) -> bool:
        if _is_beating(self.storage):
            if self.options.work:
                self.progress.tell("A worker runs already; it does the jobs.")
            return True
        if not self.options.work:
            self.progress.tell(
                "No worker runs, so nothing is done yet: start one, or give --work as well."
            )
            return False
        self.progress.tell("No worker runs: the jobs are done here, with all others that wait.")
        opened.enter_context(_working(self.settings))
        return True

    def _watch(self, run: BulkRun) -> bool:
        pause = 0.05
        while True:
            state = run_state(self.storage, run)
            self.progress.show(_in_words(state), done=state.ended, of=state.total)
            if state.ended == state.total:
                return True
            left = self._left()
            if left is not None and left <= 0:
                self.progress.tell(f"Not done within {self.options.timeout:g} s.")
                return False
            time.sleep(pause if left is None else min(pause, left))
            pause = min(_LONGEST_PAUSE, pause * 1.5)

    def _left(self) -> float | None:
        if self.options.timeout is None:
            return None
        return self.started + self.options.timeout - time.monotonic()

    def _tell(self, run: BulkRun, *, finished: bool) -> int:
        state, dead = run_state(self.storage, run), dead_items(self.storage, run)
        self.progress.end()
        if self.options.as_json:
            found = {
                "kind": run.kind,
                "run": run.id,
                "resumed": run.resumed,
                "finished": finished,
                "items": len(items_of_run(self.storage, run)),
                "jobs": dict(state.jobs),
                "dead": [
                    {"reason": each.reason, "jobs": each.jobs, "items": list(each.items)}
                    for each in dead
                ],
            }
            click.echo(json.dumps(found, indent=2))
        else:
            click.echo(f"Run {run.id}: {_in_words(state)}.")
            for each in dead:
                some = ", ".join(each.items)
                click.echo(f"  dead for {each.reason}: {each.jobs}, such as {some}")
            if not finished:
                click.echo("Not finished. Run the same command again to go on.")
        if not finished:
            return NOT_FINISHED
        return SOME_FAILED if state.dead else 0


def _event(run: BulkRun, command: BulkCommand, item: BulkItem) -> WebhookEvent:
    """The event of one item: the same each time that the run lists it, whatever changed."""
    name = f"dc-relay.bulk.{command.kind}"
    identifier = f"{run.name}-{item.id}"
    payload = {"id": item.id, "run": run.name}
    envelope = {"id": identifier, "name": name, "requestId": run.name, "payload": payload}
    return WebhookEvent(
        hub=command.hub,
        id=identifier,
        name=name,
        payload=payload,
        body=json.dumps(envelope).encode(),
        item_id=item.id,
        request_id=run.name,
        schema=item.schema,
        label=item.label,
        locale=item.locale,
        origin=ORIGIN,
    )


def _is_beating(storage: Storage) -> bool:
    age = readiness(storage).worker_beat_age
    return age is not None and age < _OLDEST_BEAT


@contextmanager
def _working(settings: Settings) -> Iterator[None]:
    """Run a worker in this process for the block; what it has not finished it gives back."""
    start_observing(replace(settings, log_level="WARNING"))
    built = build_worker(settings)
    thread = threading.Thread(target=built.worker.run, name="worker")
    thread.start()
    try:
        yield
    finally:
        built.worker.stop()
        thread.join()
        built.close()


def _in_words(state: RunState) -> str:
    if not state.total:
        return "nothing to do"
    states = ", ".join(f"{count} {name}" for name, count in sorted(state.jobs.items()))
    return f"{state.ended} of {state.total} jobs have ended: {states}"
