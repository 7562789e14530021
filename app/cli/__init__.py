"""The operator's door: the command `dc-relay`.

Each command lives in a module of its own and is imported when it is called, so that `--help` and
short commands start fast.
"""

from __future__ import annotations

from importlib import import_module

import click

from app import __version__

# Name: where the command is, and its line in the list.
_COMMANDS = {
    "serve": ("app.cli.serve:serve", "Run the web and the worker together, under one parent."),
    "worker": ("app.cli.worker:worker", "Run a worker: it does the jobs."),
    "db": ("app.cli.db:db", "Look after the database's schema."),
    "check": ("app.cli.check:check", "Check the configuration and every connection."),
    "explain": ("app.cli.explain:explain", "Tell which rules want an event, and why not."),
    "events": ("app.cli.events:events", "Look at events, and do them again."),
    "jobs": ("app.cli.jobs:jobs", "Look at jobs; retry or cancel them."),
    "destinations": (
        "app.cli.destinations:destinations",
        "Look at destinations; pause, resume and test them.",
    ),
    "send": ("app.cli.send:send", "Post a signed sample of a webhook to a URL."),
    "localize": ("app.cli.localize:localize", "Localize items that exist already."),
    "unpublish-archived": (
        "app.cli.unpublish_archived:unpublish_archived",
        "Unpublish archived items that are still published.",
    ),
    "resync": ("app.cli.resync:resync", "Send a destination all published content again."),
    "webhooks": ("app.cli.webhooks:webhooks", "The hub's webhooks, and what did not arrive."),
    "content": ("app.cli.content:content", "Read published content, as destinations get it."),
    "sandbox": ("app.cli.sandbox:sandbox", "Run a pretend Amplience."),
    "demo": ("app.cli.demo:demo", "See the service at work on a pretend Amplience."),
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


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dc-relay")
def main() -> None:
    """Take Amplience Dynamic Content webhooks and act on them, losing none.

    Settings come from the environment and, where there is one, relay.toml: see
    docs/configuration.md. Start with `dc-relay demo`.
    """
