"""`dc-relay webhooks`: the hub's webhook for this service, and what it did not deliver.

A webhook that this service did not make is shown and never touched.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click
from marshmallow import ValidationError

from app.amplience.management import ManagementClient
from app.amplience.webhooks import Webhook
from app.cli.access import management_of, open_database
from app.cli.bulk import exit_when_unfinished
from app.cli.common import choose_hub, hub_id_of, hub_option, json_option, settings_or_exit
from app.cli.output import print_json
from app.config import Hub, Settings
from app.config.fields import Duration
from app.operations.missed import MissedWebhooks, Report
from app.operations.webhook_log import is_ours
from app.operations.webhooks import (
    WantedWebhook,
    create_webhook,
    differences,
    logged_webhook,
    wanted_webhook,
    webhook_address,
    webhooks_made_here,
)

_LONGEST_SINCE = 90 * 86_400.0
_confirmed_option = click.option("--yes", is_flag=True, help="Do not ask.")


@contextmanager
def _hub_webhooks(
    settings: Settings, hub_key: str | None
) -> Iterator[tuple[Hub, ManagementClient, str, list[Webhook]]]:
    """The hub, a client for it, its id and its webhooks."""
    hub = choose_hub(settings, hub_key)
    with management_of(settings, hub) as client:
        hub_id = hub_id_of(hub)
        yield hub, client, hub_id, client.webhooks(hub_id)


@click.group()
def webhooks() -> None:
    """The hub's webhooks: list them, register ours, find what did not arrive."""


@webhooks.command("list")
@hub_option
@json_option
def list_webhooks(*, hub_key: str | None, as_json: bool) -> None:
    """List all webhooks of the hub; * marks those that this service made."""
    with _hub_webhooks(settings_or_exit(), hub_key) as (_, _, _, found):
        pass
    if as_json:
        print_json([_shown(one) for one in found])
        return
    for one in found:
        state = "inactive" if one.active is False else "active"
        click.echo(f"{'*' if is_ours(one) else ' '} {one.id}  {state}  {one.label or ''}".rstrip())
        click.echo(f"    to {', '.join(one.handlers)}")
        click.echo(f"    {', '.join(one.events)}")


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


@webhooks.command()
@click.option("--url", required=True, help="Where this service is: https://host/webhooks[/{hub}].")
@hub_option
@_confirmed_option
def register(*, url: str, hub_key: str | None, yes: bool) -> None:
    """Create the hub's webhook for the rules in use, or update ours.

    Shows what would change, and asks. It is signed with the first webhook secret of the settings.
    """
    settings = settings_or_exit()
    wanted = wanted_webhook(settings, choose_hub(settings, hub_key), url)
    with _hub_webhooks(settings, hub_key) as (_, client, hub_id, found):
        _print_others(found, wanted)
        ours = next((one for one in found if one.label == wanted.label and is_ours(one)), None)
        changes = differences(ours, wanted)
        if ours is None:
            click.echo(f"A new webhook: {wanted.label}")
        elif not changes:
            click.echo(f"{ours.id} is as it should be.")
            return
        else:
            click.echo(f"{ours.id}  {ours.label} differs:")
        _print_changes(ours, changes)
        if not (yes or click.confirm("Make it?" if ours is None else "Change it?")):
            return
        if ours is None:
            click.echo(f"Made: {create_webhook(client, hub_id, wanted).id}.")
        else:
            client.update_webhook(hub_id, ours.id, changes)
            click.echo("Changed.")


def _print_others(found: Sequence[Webhook], wanted: WantedWebhook) -> None:
    for one in found:
        if is_ours(one) and one.label != wanted.label:
            click.echo(f"There is another webhook of this service: {one.label}.")
        elif not is_ours(one) and wanted.url in one.handlers:
            click.echo(
                f"{one.label or one.id} is sent to this address as well, and was not made here:"
                " it stays as it is, and events may come twice."
            )


def _print_changes(found: Webhook | None, changes: Mapping[str, Any]) -> None:
    """Print what changes, without the secret."""
    for name, value in changes.items():
        if name == "events":
            before = set(found.events) if found else set()
            texts = [f"+ {event}" for event in sorted(set(value) - before)]
            texts += [f"- {event}" for event in sorted(before - set(value))]
        elif name == "filters":
            texts = [_filter_text(value)]
        else:
            texts = ["the first webhook secret of the settings" if name == "secret" else value]
        for text in texts:
            click.echo(f"  {name}: {text}")


def _filter_text(filters: Sequence[Mapping[str, Any]]) -> str:
    if not filters:
        return "none"
    path, values = filters[0]["arguments"]
    return f"{path['jsonPath']} in {', '.join(values['value'])}"


@webhooks.command()
@click.option("--url", help="Only the one that is sent there.")
@hub_option
@_confirmed_option
def remove(*, url: str | None, hub_key: str | None, yes: bool) -> None:
    """Delete the webhooks that this service made."""
    settings = settings_or_exit()
    with _hub_webhooks(settings, hub_key) as (hub, client, hub_id, found):
        ours = webhooks_made_here(found, url and webhook_address(settings, hub, url))
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
@hub_option
@json_option
def missed(
    *, since: str, url: str | None, dry_run: bool, hub_key: str | None, as_json: bool
) -> None:
    """Find webhooks that did not arrive, and do what is still to be done for them.

    Reads Amplience's log of what it sent. An event that failed and was not received becomes the
    jobs that its content item still needs. The next time the log is read from there on.
    """
    seconds = _seconds(since)
    settings = settings_or_exit()
    with (
        exit_when_unfinished(),
        open_database(settings) as storage,
        _hub_webhooks(settings, hub_key) as (hub, client, _, found),
    ):
        address = url and webhook_address(settings, hub, url)
        report = MissedWebhooks(
            storage=storage,
            client=client,
            hub=hub,
            rules=settings.rules,
            destinations=settings.destinations,
            clock=time.time,
        ).read(logged_webhook(found, hub, address).id, since=seconds, dry_run=dry_run)
    if as_json:
        print_json({**asdict(report), "dry_run": dry_run})
    else:
        _print_report(report, dry_run=dry_run)


def _seconds(text: str) -> float:
    try:
        found: Any = Duration(longest=_LONGEST_SINCE).deserialize(text)
    except ValidationError as problem:
        reason = " ".join(str(problem.messages[0]).split())
        raise click.UsageError(f"--since {text}: {reason}") from problem
    return float(found)


def _print_report(report: Report, *, dry_run: bool) -> None:
    for one in report.missed:
        actions = ", ".join(one.actions) or "nothing to do any more"
        click.echo(f"{one.event_id}  {one.name}  {one.item_id or ''}: {actions}")
    recovered = "would be recovered" if dry_run else "recovered"
    click.echo(
        f"{report.requests} requests, {report.failed} not delivered: {report.known} received all"
        f" the same, {len(report.missed)} {recovered}, {report.unreadable} without a readable"
        f" event; {report.pending} pending."
    )
    if report.unreadable:
        click.echo("Unreadable events cannot be recovered: `dc-relay resync` sends all again.")
