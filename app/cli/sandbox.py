"""`dc-relay sandbox`: run the Amplience emulator in the foreground.

Starts it, prints the settings that point a service at it, and waits to be stopped.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
import signal
from types import FrameType

import click

from sandbox import SandboxOptions, SandboxServer

# From a supervisor, and from a terminal that is closed.
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def settings(url: str, options: SandboxOptions, webhook_secret: str) -> dict[str, str]:
    """List what a service needs in its environment to use the emulator."""
    return {
        "AMPLIENCE_AUTH_URL": url,
        "AMPLIENCE_API_URL": f"{url}/v2/content",
        "AMPLIENCE_DELIVERY_URL": f"{url}/fresh",
        "AMPLIENCE_HUB_ID": options.hub_id,
        "AMPLIENCE_HUB_NAME": options.hub_name,
        "AMPLIENCE_CLIENT_ID": options.client_id,
        "AMPLIENCE_CLIENT_SECRET": options.client_secret,
        "AMPLIENCE_FRESH_API_KEY": options.fresh_api_key,
        "WEBHOOK_SECRET": webhook_secret,
        "FORWARD_URL": f"{url}/downstream/default",
        "FORWARD_ALLOW_PRIVATE": "1",
    }


def interrupt_on_signals() -> None:
    """Have SIGTERM and SIGHUP raise `KeyboardInterrupt`, so that child processes end as well.

    Once: a second signal must not break off what the first one began.
    """
    for number in _ENDING_SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in _ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=4010, show_default=True, help="Port; 0 takes any free one.")
@click.option("--webhook-url", help="Send the webhooks of all events there.")
@click.option("--webhook-secret", help="Sign them with this; default: a random one.")
def sandbox(host: str, port: int, webhook_url: str | None, webhook_secret: str | None) -> None:
    """Run the Amplience emulator: its APIs, its webhooks, and a downstream that receives."""
    options = SandboxOptions()
    secret = webhook_secret or secrets.token_urlsafe(24)
    try:
        server = SandboxServer(options, host=host, port=port).start()
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from error
    try:
        if webhook_url:
            server.add_webhook(webhook_url, secret)
        with contextlib.suppress(KeyboardInterrupt):
            interrupt_on_signals()
            click.echo(f"# The sandbox answers at {server.url}; stop it with Ctrl-C.")
            for name, value in settings(server.url, options, secret).items():
                click.echo(f"export {name}={shlex.quote(value)}")
            signal.pause()
    finally:
        server.close()
    click.echo("# The sandbox has ended.")
