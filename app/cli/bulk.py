"""`dc-relay localize`, `unpublish-archived` and `resync`: long commands over existing items."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, NoReturn

import click

from app.amplience.delivery import DeliveryClient
from app.amplience.management import ManagementClient
from app.bootstrap import build_worker
from app.cli.access import click_error, management_of, open_database
from app.cli.common import (
    choose_destination,
    choose_hub,
    hub_id_of,
    hub_option,
    settings_or_exit,
    start_observing,
    with_options,
)
from app.cli.output import Progress, print_json
from app.config import Hub, Settings
from app.db import Storage
from app.errors import AmplienceError, StorageUnavailable
from app.operations.bulk import BulkItem, BulkOperation, BulkSession, dry_run, is_over
from app.operations.localize import LocalizeExisting, localize_spec
from app.operations.published import Removals
from app.operations.resync import Resync, resync_rules
from app.operations.unpublish_archived import (
    UnpublishArchived,
    default_destinations,
    default_per_minute,
)
from app.queue.bulk import RunState, dead_items, published_before

SOME_FAILED = 1
NOT_FINISHED = 3
_ITEM_FIELDS = ("id", "verb", "label", "schema", "locale")


@dataclass(frozen=True)
class _Bulk:
    """The options that all long commands have; `stack` closes what a command opens."""

    settings: Settings
    hub: Hub
    stack: ExitStack
    per_minute: float | None
    dry_run: bool
    as_json: bool
    restart: bool
    work: bool
    timeout: float | None

    def management(self) -> ManagementClient:
        return self.stack.enter_context(management_of(self.settings, self.hub))

    def run(self, operation: BulkOperation) -> NoReturn:
        """Run it to its exit code.

        0: all is done; 1: some jobs are dead, or it cannot continue; 3: it was stopped, or is not
        done in time, and the same command continues.
        """
        with exit_when_unfinished():
            if self.dry_run:
                _print_dry_run(operation, as_json=self.as_json)
                sys.exit(0)
            with open_database(self.settings) as storage:
                session = BulkSession(
                    storage, operation, per_minute=self.per_minute, restart=self.restart
                )
                finished = _run_session(self, session)
                sys.exit(_print_result(storage, session, finished=finished, as_json=self.as_json))


@contextmanager
def exit_when_unfinished() -> Iterator[None]:
    """Exit with 3 after a transient error of Amplience or the database, else with 1."""
    try:
        yield
    except (AmplienceError, StorageUnavailable) as problem:
        click_error(problem, click.get_current_context()).show()
        if problem.transient:
            click.echo("Not finished. Run the same command again to go on.", err=True)
        sys.exit(NOT_FINISHED if problem.transient else SOME_FAILED)


def _bulk_command(per_minute: int | None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    options = with_options(
        hub_option,
        click.option(
            "--per-minute",
            type=click.FloatRange(min=0, min_open=True),
            default=per_minute,
            show_default=True,
            help="Items that come due in a minute.",
        ),
        click.option("--dry-run", is_flag=True, help="List what would be done; write nothing."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end."),
        click.option("--restart", is_flag=True, help="Start a new run, do not continue one."),
        click.option("--work", is_flag=True, help="Do the jobs here if no worker runs."),
        click.option(
            "--timeout", type=click.FloatRange(min=0), help="Stop watching after so many seconds."
        ),
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(*, hub_key: str | None, **chosen: Any) -> None:
            common = {name: chosen.pop(name) for name in _Bulk.__annotations__ if name in chosen}
            settings = settings_or_exit()
            with ExitStack() as stack:
                command(_Bulk(settings, choose_hub(settings, hub_key), stack, **common), **chosen)

        return options(run)

    return decorate


@click.command()
@click.option("--schema", "schemas", multiple=True, metavar="GLOB", help="Items of this schema.")
@click.option("--repository", "repositories", multiple=True, metavar="ID", help="Items in it.")
@click.option("--item", "items", multiple=True, metavar="ID", help="This item.")
@click.option("--locales", metavar="fr-FR,de-DE", help="Locales to create, or *.")
@click.option("--source-locale", help="Locale of the items that are localized.")
@click.option("--set-missing-locale", is_flag=True, help="Give items without a locale that one.")
@_bulk_command(per_minute=300)
def localize(
    bulk: _Bulk,
    *,
    locales: str | None,
    source_locale: str | None,
    set_missing_locale: bool,
    **items: tuple[str, ...],
) -> None:
    """Create the missing locale variants of items that exist already.

    Give --schema, --repository or --item, each as often as you like: items of any of the schemas
    and in any of the repositories, and those that are named. Only active items in the source locale
    are localized. Locales that are not given are those of the hub's localize rule, if there is
    exactly one. "*" stands for all that an item's repository allows.
    """
    spec = localize_spec(
        bulk.settings,
        bulk.hub,
        locales=tuple(part.strip() for part in locales.split(",")) if locales else (),
        source_locale=source_locale,
        set_missing_locale=set_missing_locale,
    )
    bulk.run(LocalizeExisting(bulk.hub, bulk.management(), hub_id_of(bulk.hub), spec, **items))


@click.command("unpublish-archived")
@click.option("--to", multiple=True, metavar="DESTINATION", help="Send it a deletion.")
@_bulk_command(per_minute=None)
def unpublish_archived(bulk: _Bulk, *, to: tuple[str, ...]) -> None:
    """Unpublish every archived item of a hub that is still published.

    Publishing and unpublishing are limited for the whole company, so this uses at most four fifths
    of PUBLISH_QUOTA_PER_MINUTE. Deletions are sent to the destinations of the hub's unpublish rule,
    if there is exactly one and --to is not given.
    """
    for name in to:
        choose_destination(bulk.settings, name)
    names = tuple(dict.fromkeys(to)) or default_destinations(bulk.settings, bulk.hub)
    bulk = replace(bulk, per_minute=bulk.per_minute or default_per_minute(bulk.settings))
    bulk.run(UnpublishArchived(bulk.hub, bulk.management(), hub_id_of(bulk.hub), names))


@click.command()
@click.option("--to", required=True, metavar="DESTINATION", help="The destination.")
@click.option("--schema", "schemas", multiple=True, required=True, metavar="URI")
@click.option("--rule", "rule_name", help="Only this rule, without its other conditions.")
@click.option("--remove-many", is_flag=True, help="Remove, even if it is more than half.")
@_bulk_command(per_minute=1200)
def resync(
    bulk: _Bulk, *, to: str, schemas: tuple[str, ...], rule_name: str | None, remove_many: bool
) -> None:
    """Send a destination all published content of some content types, and remove what is gone.

    Each item is sent as the forward rules for that destination and schema say. A rule that has
    conditions which published content cannot be tested for (match, locale, repository, status) is
    left out unless it is named with --rule. Removing needs credentials for the Management API.
    """
    settings, hub = bulk.settings, bulk.hub
    choose_destination(settings, to)
    if hub.delivery is None:
        raise click.UsageError(f"The hub {hub.key} has no place to read published content from.")
    types = tuple(sorted(set(schemas)))
    rules = resync_rules(settings, hub, to, types, rule_name)
    delivery = bulk.stack.enter_context(closing(DeliveryClient(hub.delivery)))

    def sent() -> dict[str, tuple[str, int]]:
        with open_database(settings) as storage:
            return published_before(storage, destination=to, hub=hub.key, schemas=types)

    removals = Removals(
        sent=sent,
        delivery=delivery,
        management=bulk.management() if hub.credentials else None,
        confirmed=remove_many,
        dry_run=bulk.dry_run,
    )
    bulk.run(Resync(hub, to, types, rules, rule_name, settings.destinations, delivery, removals))


def _print_dry_run(operation: BulkOperation, *, as_json: bool) -> None:
    items: list[BulkItem] = []
    for part in dry_run(operation):
        items += part.items
        if part.notice:
            click.echo(part.notice, err=True)
    if as_json:
        shown = [{name: getattr(item, name) for name in _ITEM_FIELDS} for item in items]
        print_json({"kind": operation.kind, "dry_run": True, "items": shown, "count": len(items)})
        return
    for item in items:
        facts = "  ".join(fact for fact in (item.locale, item.schema, item.label) if fact)
        click.echo(f"{item.verb} {item.id}  {facts}".rstrip())
    click.echo(f"{len(items)} items; nothing was changed.")


def _run_session(bulk: _Bulk, session: BulkSession) -> bool:
    """List and watch, with progress; tells whether all jobs have ended."""
    progress = Progress(session.run.kind)
    if session.run.resumed:
        progress.note(f"Continuing run {session.run.id}; --restart begins a new one.")
    finished = False
    try:
        for listed, part in session.list_items():
            if part.notice:
                progress.note(part.notice)
            progress.show(f"{listed} items listed")
        with ExitStack() as stack:
            if is_over(session.state()) or _has_worker(bulk, session, progress, stack):
                finished = _watch(bulk, session, progress)
    except KeyboardInterrupt:
        progress.note("Stopped. The jobs that are listed run without this command.")
    if finished:
        session.close()
    progress.end()
    return finished


def _has_worker(bulk: _Bulk, session: BulkSession, progress: Progress, stack: ExitStack) -> bool:
    """Tell whether a worker runs; with --work, start one for as long as `stack` is open."""
    if session.has_worker():
        if bulk.work:
            progress.note("A worker runs already; it does the jobs.")
        return True
    if not bulk.work:
        progress.note("No worker runs, so nothing is done yet: start one, or give --work as well.")
        return False
    progress.note("No worker runs: the jobs are done here, with all others that wait.")
    stack.enter_context(_working(bulk.settings))
    return True


@contextmanager
def _working(settings: Settings) -> Iterator[None]:
    """Run a worker in this process for the block; it gives back what it has not finished."""
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


def _watch(bulk: _Bulk, session: BulkSession, progress: Progress) -> bool:
    finished = False
    for state in session.watch(timeout=bulk.timeout):
        progress.show(_in_words(state), done=state.ended, of=state.total)
        finished = is_over(state)
    if not finished:
        progress.note(f"Not done within {bulk.timeout:g} s.")
    return finished


def _print_result(storage: Storage, session: BulkSession, *, finished: bool, as_json: bool) -> int:
    run, state = session.run, session.state()
    dead = dead_items(storage, run)
    if as_json:
        print_json(
            {
                "kind": run.kind,
                "run": run.id,
                "resumed": run.resumed,
                "finished": finished,
                "items": len(session.listed_items()),
                "jobs": dict(state.jobs),
                "dead": [
                    {"reason": each.reason, "jobs": each.jobs, "items": list(each.items)}
                    for each in dead
                ],
            }
        )
    else:
        click.echo(f"Run {run.id}: {_in_words(state)}.")
        for each in dead:
            click.echo(f"  dead for {each.reason}: {each.jobs}, such as {', '.join(each.items)}")
        if not finished:
            click.echo("Not finished. Run the same command again to go on.")
    if not finished:
        return NOT_FINISHED
    return SOME_FAILED if state.dead else 0


def _in_words(state: RunState) -> str:
    if not state.total:
        return "nothing to do"
    states = ", ".join(f"{count} {name}" for name, count in sorted(state.jobs.items()))
    return f"{state.ended} of {state.total} jobs have ended: {states}"
