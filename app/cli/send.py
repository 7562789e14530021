"""`dc-relay send`: post a signed sample of a webhook, as Amplience would, and show the answer."""

from __future__ import annotations

import os
import secrets
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import requests

from app import __version__
from app.cli.common import choose_hub
from app.cli.sampling import event_name, has_content_item, sample, suggestion
from app.config import load_settings
from app.destinations.sending import masked_url
from app.errors import ConfigError
from app.operations.connection_errors import why_no_answer
from app.signature import HEADER, sign

_TIMEOUT = (3.05, 30.0)
_LONGEST_ANSWER = 2000
_DEFAULT_PORT = "8000"


@click.command()
@click.argument("event", metavar="EVENT_NAME_OR_FILE")
@click.option("--url", help="Where to post; default: the service on this machine.")
@click.option("--secret", help="Sign with this; default: the first webhook secret of the settings.")
@click.option("--hub", "hub_key", help="Post as this hub of the settings, to /webhooks/HUB.")
@click.option("--item", help="Id of the content item.")
@click.option("--label", help="Label of the content item.")
@click.option("--locale", help="Locale of the content item.")
@click.option("--schema", help="Content type of the content item: the URI of its schema.")
@click.option("--count", type=click.IntRange(min=1), default=1, help="Send so many.")
@click.option("--id", "event_id", help="Id of the event; default: a new one for each.")
@click.option("--bad-signature", is_flag=True, help="Sign with a random secret.")
@click.option("--print", "only_print", is_flag=True, help="Show what would be sent.")
def send(
    *,
    event: str,
    url: str | None,
    secret: str | None,
    hub_key: str | None,
    count: int,
    event_id: str | None,
    bad_signature: bool,
    only_print: bool,
    **choices: str | None,
) -> None:
    """Post a signed sample of a webhook to a URL.

    The event is a name, such as content-item.created or snapshot.published, or a file whose bytes
    are sent as they are. Exits with 0 when every answer was a 2xx, else with 1.
    """
    chosen = {name: value for name, value in choices.items() if value is not None}
    make_body = _body_maker(event, chosen, event_id)
    if bad_signature:
        secret = secrets.token_hex(32)
    target = _target(url=url, secret=secret, hub_key=hub_key)
    if only_print:
        for _ in range(count):
            _print(target, make_body())
        return
    with requests.Session() as session:
        # No proxy, because the usual target is this machine; and no netrc.
        session.trust_env = False
        results = [_post(session, target, make_body()) for _ in range(count)]
    if count > 1:
        _print_summary(results)
    if not all(200 <= status < 300 for status, _ in results):
        sys.exit(1)


@dataclass(frozen=True)
class _Target:
    url: str
    secret: str

    def headers(self, body: bytes) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "User-Agent": f"dc-relay/{__version__}",
            HEADER: sign(body, self.secret),
        }


def _body_maker(
    event: str, choices: Mapping[str, str], event_id: str | None
) -> Callable[[], bytes]:
    name = event_name(event)
    if name:
        if choices and not has_content_item(name):
            options = ", ".join(f"--{choice}" for choice in choices)
            raise click.UsageError(f"{name} has no content item, so {options} has no place in it.")
        return lambda: sample(name, choices, event_id=event_id)
    path = Path(event)
    if not path.is_file():
        raise click.UsageError(
            f"{event!r} is no event that Amplience sends, and no file. {suggestion(event)}"
        )
    if choices or event_id:
        raise click.UsageError(
            "A file is sent as it is: --id, --item, --label, --locale and --schema change samples."
        )
    try:
        body = path.read_bytes()
    except OSError as error:
        raise click.ClickException(f"cannot read {event}: {error.strerror}") from error
    return lambda: body


def _target(*, url: str | None, secret: str | None, hub_key: str | None) -> _Target:
    if url and secret:
        return _Target(url, secret)
    try:
        settings = load_settings(os.environ)
    except ConfigError:
        settings = None
    hub = choose_hub(settings, hub_key) if settings else None
    if not secret:
        if hub is None:
            raise click.UsageError(
                "The settings cannot be used (`dc-relay check` says why), so there is no secret to"
                " sign with: give --secret."
            )
        secret = hub.webhook_secrets[0]
    port = settings.port if settings else os.environ.get("PORT") or _DEFAULT_PORT
    default = f"http://127.0.0.1:{port}/webhooks" + (f"/{hub_key}" if hub_key else "")
    return _Target(url or default, secret)


def _print(target: _Target, body: bytes) -> None:
    click.echo(f"POST {target.url}")
    for name, value in target.headers(body).items():
        click.echo(f"{name}: {value}")
    click.echo()
    click.echo(body)


def _post(session: requests.Session, target: _Target, body: bytes) -> tuple[int, float]:
    """Post once and print the answer; returns its status and milliseconds."""
    started = time.perf_counter()
    try:
        answer = session.post(
            target.url,
            data=body,
            headers=target.headers(body),
            timeout=_TIMEOUT,
            allow_redirects=False,
        )
    except ValueError as problem:  # requests' errors for an unusable URL are ValueErrors
        raise click.UsageError(
            "This URL cannot be used. Write a whole one, such as http://127.0.0.1:8000/webhooks."
        ) from problem
    except requests.RequestException as problem:
        raise click.ClickException(
            f"no answer from {masked_url(target.url)}: {why_no_answer(problem)}"
        ) from problem
    milliseconds = (time.perf_counter() - started) * 1000
    text = " ".join(answer.text[:_LONGEST_ANSWER].split())
    click.echo(f"{answer.status_code} {answer.reason}  {milliseconds:.0f} ms  {text}")
    return answer.status_code, milliseconds


def _print_summary(results: list[tuple[int, float]]) -> None:
    statuses = Counter(status for status, _ in results)
    times = [milliseconds for _, milliseconds in results]
    by_status = ", ".join(
        f"{number} answered {status}" for status, number in sorted(statuses.items())
    )
    click.echo(
        f"{len(results)} sent: {by_status}; median {statistics.median(times):.1f} ms,"
        f" longest {max(times):.1f} ms"
    )
