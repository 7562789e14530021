"""`dc-relay content`: published content as Content Delivery 2 returns it, on stdout as JSON.

It only reads, and works without the database.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import click

from app.amplience.answers import value_at
from app.amplience.delivery import (
    ContentMissing,
    ContentParameters,
    ContentRequest,
    DeliveredContent,
    DeliveryClient,
    FetchResult,
    ReadParameters,
)
from app.amplience.filtering import MOST_PATHS, FilterQuery
from app.cli.access import management_of
from app.cli.common import choose_hub, hub_id_of, hub_option, settings_or_exit, with_options
from app.cli.output import print_json
from app.config import Delivery, Hub, Settings
from app.errors import AmplienceError, NotFound

_SCHEMA = "/_meta/schema"
_read_options = with_options(
    click.option("--format", "form", type=click.Choice(["inlined", "linked"]), default="inlined"),
    click.option("--locale", help="A list such as fr-FR,en-*,* ; default: every locale's value."),
    hub_option,
    click.option(
        "--staging", is_flag=True, help="What was saved last: the virtual staging environment."
    ),
    click.option("--staging-url", help="Its address; default: the one in the hub's settings."),
)


@click.group()
def content() -> None:
    """Read published content, as destinations get it."""


@content.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--depth", default="all", show_default=True, help="root, all, or 0 to 22 for one item."
)
@click.option("--key", "as_keys", is_flag=True, help="Take a name that looks like an id as a key.")
@_read_options
def get(
    *,
    names: tuple[str, ...],
    depth: str,
    form: Any,
    locale: str | None,
    as_keys: bool,
    **source: Any,
) -> None:
    """Print content items by their ids or delivery keys.

    One item is printed as it is; several as a JSON array in the order of the names, with null for
    what is not published. Exits with 1 where one is not published.
    """
    settings = settings_or_exit()
    hub = choose_hub(settings, source.pop("hub_key"))
    wanted = [_request(name, as_key=as_keys) for name in names]
    with closing(DeliveryClient(_source(settings, hub, **source))) as client:
        if len(wanted) == 1:
            found = [_one(client, wanted[0], ReadParameters(_depth(depth), form, locale))]
        else:
            found = client.fetch(wanted, ContentParameters(_root_or_all(depth), form, locale))
    _print_results(names, found)


@content.command("filter")
@click.option("--schema", help="The content type: the URI of its schema.")
@click.option("--where", multiple=True, metavar="/PATH=VALUE", help="More conditions, 5 at most.")
@click.option("--sort", metavar="KEY[:desc]", help="A sort key of the content type.")
@click.option("--all", "every", is_flag=True, help="All pages, not the first 12 items.")
@click.option("--depth", type=click.Choice(["root", "all"]), default="all", show_default=True)
@_read_options
@click.option("--json", "as_json", is_flag=True, help="One JSON array in place of a line per item.")
def filter_content(
    *,
    schema: str | None,
    where: tuple[str, ...],
    sort: str | None,
    every: bool,
    depth: Any,
    form: Any,
    locale: str | None,
    as_json: bool,
    **source: Any,
) -> None:
    """Print the content items that match, a line of JSON for each.

    A VALUE is a number, true or false where it looks like one; "12" in quotation marks is a text.
    Each path but /_meta/schema must be filterable in the content type.
    """
    settings = settings_or_exit()
    hub = choose_hub(settings, source.pop("hub_key"))
    query = _query(schema, where, sort)
    parameters = ContentParameters(depth, form, locale)
    with closing(DeliveryClient(_source(settings, hub, **source))) as client:
        read: Iterable[DeliveredContent]
        if every:
            read = client.filter_all(query, parameters)
        else:
            read = client.filter(query, parameters).contents
        shown = map(_shown, read)
        if as_json:
            print_json(list(shown))
        else:
            for one in shown:
                click.echo(json.dumps(one, ensure_ascii=False))


def _request(name: str, *, as_key: bool) -> ContentRequest:
    return ContentRequest(key=name) if as_key or not _is_id(name) else ContentRequest(id=name)


def _is_id(name: str) -> bool:
    try:
        # `uuid` reads other forms as well, which are no ids of Amplience's.
        return str(uuid.UUID(name)) == name.lower()
    except ValueError:
        return False


def _depth(text: str) -> Any:
    return int(text) if text.isdecimal() else text


def _root_or_all(depth: str) -> Any:
    if depth not in ("root", "all"):
        raise click.UsageError("Several items are fetched with --depth root or all: no numbers.")
    return depth


def _source(settings: Settings, hub: Hub, *, staging: bool, staging_url: str | None) -> Delivery:
    if staging_url:
        return Delivery("staging", staging_url.rstrip("/"))
    if hub.delivery and (not staging or hub.delivery.source == "staging"):
        return hub.delivery
    if not staging:
        raise click.UsageError(
            f"The hub {hub.key} has no place to read content from: set AMPLIENCE_HUB_NAME, or name"
            f" in [hubs.{hub.key}]."
        )
    with management_of(settings, hub) as client:
        found = client.hub(hub_id_of(hub)).extra
    host = value_at(found, "settings", "virtualStagingEnvironment", "hostname")
    if not isinstance(host, str) or not host:
        raise click.UsageError(
            f"The hub {hub.key} names no virtual staging environment: give --staging-url."
        )
    return Delivery("staging", f"https://{host}")


def _one(client: DeliveryClient, wanted: ContentRequest, parameters: ReadParameters) -> FetchResult:
    try:
        if wanted.id is not None:
            return client.by_id(wanted.id, parameters)
        return client.by_key(wanted.key or "", parameters)
    except NotFound:
        return ContentMissing(wanted)


def _print_results(names: Sequence[str], found: Sequence[FetchResult]) -> None:
    shown = [_shown(one) if isinstance(one, DeliveredContent) else None for one in found]
    for name, one in zip(names, found, strict=True):
        if isinstance(one, ContentMissing):
            click.echo(f"{name} is not published.", err=True)
        elif isinstance(one, AmplienceError):
            click.echo(f"{name}: {one}", err=True)
    if len(names) > 1:
        print_json(shown)
    elif shown[0] is not None:
        print_json(shown[0])
    if None in shown:
        sys.exit(1)


def _shown(found: DeliveredContent) -> dict[str, Any]:
    linked = found.linked_content
    return {"content": found.content, **({} if linked is None else {"linkedContent": linked})}


def _query(schema: str | None, where: Sequence[str], sort: str | None) -> FilterQuery:
    conditions: list[tuple[str, str | float | bool]] = [(_SCHEMA, schema)] if schema else []
    for text in where:
        path, equals, value = text.partition("=")
        if not equals or not path.startswith("/"):
            raise click.UsageError(f"--where {text}: write a path and a value, such as /color=red.")
        conditions.append((path, _value(value)))
    if not 1 <= len(conditions) <= MOST_PATHS:
        raise click.UsageError(
            f"Give --schema, --where, or both: {MOST_PATHS} conditions at most together."
        )
    query = FilterQuery(where=tuple(conditions))
    if sort is None:
        return query
    key, _, direction = sort.partition(":")
    if direction.lower() not in ("", "asc", "desc"):
        raise click.UsageError("--sort: write KEY, KEY:asc or KEY:desc.")
    return replace(query, sort_key=key, descending=direction.lower() == "desc")


def _value(text: str) -> str | float | bool:
    try:
        value = json.loads(text, parse_constant=_no_number)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float) else text


def _no_number(text: str) -> float:
    # Python reads NaN and Infinity; JSON has neither.
    raise ValueError(text)
