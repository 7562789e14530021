"""`dc-relay explain`: which rules want an event, and why not the others. Nothing is done."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli.opening import opened
from app.cli.sampling import Choices, event_name, sample
from app.cli.starting import settings_or_exit
from app.cli.tables import print_json
from app.config import Settings
from app.errors import WebhookRejected
from app.events import WebhookEvent
from app.ledger.planning import reread
from app.ledger.searching import find_event, read_event
from app.rules import Explanation, Plan
from app.schemas import load_event
from app.web.api import schemas
from app.web.api.rules import explained


@click.command()
@click.argument("event", metavar="FILE|EVENT_ID|SAMPLE")
@click.option("--hub", "hub_key", help="Take it as an event of this hub of the settings.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(*, event: str, hub_key: str | None, as_json: bool) -> None:
    """Tell which rules want an event, and why not the others.

    The event is a file with a webhook's body, the id of an event that was received, or the name of
    a sample, such as snapshot.published.
    """
    settings = settings_or_exit()
    found = explained(_event(event, settings, hub_key), settings)
    if as_json:
        print_json(schemas.Explained().dump(found))
        return
    click.echo(f"{found.name} of hub {found.hub}, item {found.item_id or '-'}")
    if not found.rules:
        click.echo("There are no rules.")
    for explanation in found.rules:
        _tell(explanation, [plan for plan in found.plans if _is_of(plan, explanation)])


def _tell(explanation: Explanation, plans: list[Plan]) -> None:
    rule = explanation.rule
    if explanation.item_id:
        rule += f", item {explanation.item_id}"
    if explanation.matched:
        jobs = ", ".join(f"{plan.action} at {plan.target}" for plan in plans)
        click.echo(f"  yes  {rule}: {jobs or 'one job for all items'}")
        return
    found = explanation.found
    value = "nothing there" if found is None or found == [] else f"here it is {found!r}"
    click.echo(f"  no   {rule}: it needs that {explanation.condition}; {value}")


def _is_of(plan: Plan, explanation: Explanation) -> bool:
    wanted = explanation.item_id
    return plan.rule == explanation.rule and wanted in (None, plan.args.get("item_id"))


def _event(written: str, settings: Settings, hub_key: str | None) -> WebhookEvent:
    path = Path(written)
    if path.is_file():
        try:
            return _loaded(path.read_bytes(), _hub(settings, hub_key))
        except OSError as error:
            raise click.ClickException(f"cannot read {written}: {error.strerror}") from error
    if name := event_name(written):
        return _loaded(sample(name, Choices()), _hub(settings, hub_key))
    with opened(settings) as storage:
        return reread(read_event(storage, find_event(storage, written)))


def _loaded(body: bytes, hub: str) -> WebhookEvent:
    try:
        return load_event(body, hub=hub)
    except WebhookRejected as error:
        raise click.ClickException(f"{error.detail} ({error.reason})") from error


def _hub(settings: Settings, key: str | None) -> str:
    keys = ", ".join(hub.key for hub in settings.hubs)
    if key is None and len(settings.hubs) == 1:
        return settings.hubs[0].key
    if key is None:
        raise click.UsageError(f"There are several hubs: choose one with --hub: {keys}.")
    if settings.hub(key) is None:
        raise click.UsageError(f"There is no hub {key!r} in the settings. There is: {keys}.")
    return key
