"""The command `dc-relay`.

Each command is imported when it is called, so that `--help` and short commands start fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from app import __version__
from app.errors import AppError

# Name: where the command is, and its line in the list.
_COMMANDS = {
    "serve": ("app.cli.serve:serve", "Run the web and the worker together, under one parent."),
    "worker": ("app.cli.worker:worker", "Run a worker: it does the jobs."),
    "db": ("app.cli.worker:db", "Look after the database's schema."),
    "check": ("app.cli.check:check", "Check the configuration and every connection."),
    "explain": ("app.cli.events:explain", "Tell which rules want an event, and why not."),
    "events": ("app.cli.events:events", "Look at events, and replay them."),
    "jobs": ("app.cli.jobs:jobs", "Look at jobs; retry or cancel them."),
    "destinations": (
        "app.cli.destinations:destinations",
        "Look at destinations; pause, resume and test them.",
    ),
    "send": ("app.cli.send:send", "Post a signed sample of a webhook to a URL."),
    "localize": ("app.cli.bulk:localize", "Localize items that exist already."),
    "unpublish-archived": (
        "app.cli.bulk:unpublish_archived",
        "Unpublish archived items that are still published.",
    ),
    "resync": ("app.cli.bulk:resync", "Send a destination all published content again."),
    "webhooks": ("app.cli.webhooks:webhooks", "The hub's webhooks, and what did not arrive."),
    "content": ("app.cli.content:content", "Read published content, as destinations get it."),
    "sandbox": ("app.cli.sandbox:sandbox", "Run the Amplience emulator."),
    "demo": ("app.cli.demo:demo", "See the service at work on the Amplience emulator."),
}


class _LazyGroup(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above is ours
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except AppError as problem:
            raise import_module("app.cli.access").click_error(problem, context) from problem


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dc-relay")
def main() -> None:
    """Take Amplience Dynamic Content webhooks and act on them, losing none.

    Settings come from the environment and, where there is one, relay.toml: see
    docs/configuration.md. Start with `dc-relay demo`.
    """
