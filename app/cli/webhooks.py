"""`dc-relay webhooks`: the hub's webhook for this service, and what did not arrive through it.

A webhook that this service did not make is shown and never touched.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

import click
from marshmallow import ValidationError

from app.amplience.management import ManagementClient
from app.amplience.webhooks import Webhook
from app.cli.bulk import telling_unfinished
from app.cli.choosing import chosen_hub, hub_id_of, management_of, telling_failures
from app.cli.starting import ready_schema_or_exit, settings_or_exit
from app.config import Hub, Settings
from app.config.fields import Duration
from app.errors import AmplienceError
from app.operations.missed import MissedWebhooks, Report
from app.operations.registering import WantedWebhook, differences, in_words, wanted_webhook
from app.operations.webhook_log import is_ours, label_for, own_webhooks
from app.storage import Storage

_LONGEST_SINCE = 90 * 86_400.0

_hub_option = click.option("--hub", "hub_key", help="The hub; needed where there are several.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
_yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group()
def webhooks() -> None:
    """The hub's webhooks: list them, register ours, find what did not arrive."""


@webhooks.command("list")
@_hub_option
@_json_option
def list_webhooks(*, hub_key: str | None, as_json: bool) -> None:
    """List all webhooks of the hub; * marks those that this service made."""
    settings = settings_or_exit()
    hub = chosen_hub(settings, hub_key)
    with telling_failures(settings), management_of(settings, hub) as client:
        found = client.webhooks(hub_id_of(hub))
    if as_json:
        click.echo(json.dumps([_shown(one) for one in found], indent=2, ensure_ascii=False))
        return
    for one in found:
        state = "inactive" if one.active is False else "active"
        click.echo(f"{'*' if is_ours(one) else ' '} {one.id}  {state}  {one.label or ''}".rstrip())
        click.echo(f"    to {', '.join(one.handlers)}")
        click.echo(f"    {', '.join(one.events)}")


@webhooks.command()
@click.option("--url", required=True, help="Where this service is: https://host/webhooks[/{hub}].")
@_hub_option
@_yes_option
def register(*, url: str, hub_key: str | None, yes: bool) -> None:
    """Make the hub's webhook for the rules in use, or bring ours up to date.

    Shows what would change, and asks. It is signed with the first webhook secret of the settings.
    """
    settings = settings_or_exit()
    hub = chosen_hub(settings, hub_key)
    wanted = wanted_webhook(settings, hub, _address(settings, hub, url))
    if not wanted.events:
        raise click.UsageError(f"No rule wants any event of the hub {hub.key}.")
    with telling_failures(settings), management_of(settings, hub) as client:
        hub_id = hub_id_of(hub)
        found = client.webhooks(hub_id)
        _tell_others(found, wanted)
        ours = [one for one in found if one.label == wanted.label and is_ours(one)]
        if not ours:
            _create(client, hub_id, wanted, yes=yes)
        else:
            _bring_up_to_date(client, hub_id, ours[0], wanted, yes=yes)


@webhooks.command()
@click.option("--url", help="Only the one that is sent there.")
@_hub_option
@_yes_option
def remove(*, url: str | None, hub_key: str | None, yes: bool) -> None:
    """Delete the webhooks that this service made."""
    settings = settings_or_exit()
    hub = chosen_hub(settings, hub_key)
    with telling_failures(settings), management_of(settings, hub) as client:
        hub_id = hub_id_of(hub)
        address = url and _address(settings, hub, url)
        ours = [
            one
            for one in client.webhooks(hub_id)
            if is_ours(one) and (address is None or one.label == label_for(address))
        ]
        if not ours:
            click.echo("There is no webhook of this service.")
        for one in ours:
            click.echo(f"{one.id}  {one.label}")
            if yes or click.confirm("Delete it?"):
                client.delete_webhook(hub_id, one.id)
                click.echo("Deleted.")


@webhooks.command()
@click.option("--since", default="24h", show_default=True, help="How far back, at most: 2h, 3d.")
@click.option("--url", help="The webhook that is sent there; needed where there are several.")
@click.option("--dry-run", is_flag=True, help="Only show; write nothing.")
@_hub_option
@_json_option
def missed(
    *, since: str, url: str | None, dry_run: bool, hub_key: str | None, as_json: bool
) -> None:
    """Find webhooks that did not arrive, and do what is still to be done for them.

    Reads Amplience's log of what it sent. An event that failed and is not in the ledger is made up
    for as its content item is now. The next time the log is read from there on.
    """
    seconds = _seconds(since)
    settings = settings_or_exit()
    hub = chosen_hub(settings, hub_key)
    with (
        telling_unfinished(settings),
        management_of(settings, hub) as client,
        closing(Storage(settings.database_url)) as storage,
    ):
        ready_schema_or_exit(storage)
        own = _own(settings, hub, client, url)
        looking = MissedWebhooks(
            storage=storage,
            client=client,
            hub=hub,
            rules=settings.rules,
            destinations=settings.destinations,
            clock=time.time,
        )
        report = looking.read(own.id, since=seconds, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps({**asdict(report), "dry_run": dry_run}, indent=2))
    else:
        _tell_report(report, dry_run=dry_run)


def _shown(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "ours": is_ours(webhook),
        "label": webhook.label,
        "active": webhook.active,
        "events": list(webhook.events),
        "handlers": list(webhook.handlers),
        "filters": webhook.extra.get("filters") or [],
    }


def _address(settings: Settings, hub: Hub, url: str) -> str:
    address = url.replace("{hub}", hub.key)
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        usable = None
    if not usable:
        raise click.UsageError("--url: write a whole URL, such as https://relay.example/webhooks.")
    if len(settings.hubs) > 1 and parts.path.rstrip("/").rpartition("/")[2] != hub.key:
        raise click.UsageError(
            f"There are several hubs: the path must end with this one's key, /webhooks/{hub.key}."
        )
    return address


def _tell_others(found: Sequence[Webhook], wanted: WantedWebhook) -> None:
    for one in found:
        if is_ours(one) and one.label != wanted.label:
            click.echo(f"There is another webhook of this service: {one.label}.")
        elif not is_ours(one) and wanted.url in one.handlers:
            click.echo(
                f"{one.label or one.id} is sent to this address as well, and was not made here:"
                " it stays as it is, and events may come twice."
            )


def _create(client: ManagementClient, hub_id: str, wanted: WantedWebhook, *, yes: bool) -> None:
    click.echo(f"A new webhook: {wanted.label}")
    shown = {"events": wanted.events, "filters": wanted.filters, "secret": None}
    click.echo("\n".join(in_words(None, shown)))
    if not (yes or click.confirm("Make it?")):
        return
    try:
        made = client.create_webhook(
            hub_id,
            label=wanted.label,
            events=wanted.events,
            handlers=[wanted.url],
            secret=wanted.secret,
            filters=wanted.filters,
        )
    except AmplienceError as problem:
        if not problem.maybe_done:
            raise
        made_all_the_same = [one for one in client.webhooks(hub_id) if one.label == wanted.label]
        if not made_all_the_same:
            raise
        made = made_all_the_same[0]
    click.echo(f"Made: {made.id}.")


def _bring_up_to_date(
    client: ManagementClient, hub_id: str, ours: Webhook, wanted: WantedWebhook, *, yes: bool
) -> None:
    changes = differences(ours, wanted)
    if not changes:
        click.echo(f"{ours.id} is as it should be.")
        return
    click.echo(f"{ours.id}  {ours.label} differs:")
    click.echo("\n".join(in_words(ours, changes)))
    if yes or click.confirm("Change it?"):
        client.update_webhook(hub_id, ours.id, changes)
        click.echo("Changed.")


def _seconds(text: str) -> float:
    try:
        found: Any = Duration(longest=_LONGEST_SINCE).deserialize(text)
    except ValidationError as problem:
        said = " ".join(str(problem.messages[0]).split())
        raise click.UsageError(f"--since {text}: {said}") from problem
    return float(found)


def _own(settings: Settings, hub: Hub, client: ManagementClient, url: str | None) -> Webhook:
    ours = own_webhooks(client.webhooks(hub_id_of(hub)), hub.webhook_secrets)
    if url is not None:
        address = _address(settings, hub, url)
        ours = [one for one in ours if one.label == label_for(address)]
    if not ours:
        raise click.UsageError(
            "The hub has no webhook that this service made: `dc-relay webhooks register` makes one."
        )
    if len(ours) > 1:
        labels = ", ".join(str(one.label) for one in ours)
        raise click.UsageError(f"There are several: choose one with --url. {labels}")
    return ours[0]


def _tell_report(report: Report, *, dry_run: bool) -> None:
    for one in report.missed:
        actions = ", ".join(one.actions) or "nothing to do any more"
        click.echo(f"{one.event_id}  {one.name}  {one.item_id or ''}: {actions}")
    verb = "would be made up for" if dry_run else "made up for"
    click.echo(
        f"{report.requests} requests, {report.failed} not delivered: {report.known} known all the"
        f" same, {len(report.missed)} {verb}, {report.unreadable} that name no event;"
        f" {report.pending} are under way."
    )
    if report.unreadable:
        click.echo("What names no event cannot be made up for: `dc-relay resync` sends all again.")
