"""`dc-relay demo`: the service at work on a pretend Amplience, told line by line.

Starts the sandbox in this process and `dc-relay serve` as a child, on a database of its own in a
temporary directory. What it tells comes from the service's own log and from what the sandbox saw:
nothing is acted.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click
import requests

from app.cli.interrupting import end_as_by_interrupt
from app.cli.sandbox import settings as sandbox_settings
from app.cli.story import Story
from app.ledger import Counts, counts
from app.sandbox import SandboxOptions, SandboxServer
from app.storage import Storage

_ENDED_WELL = frozenset({"succeeded", "skipped", "superseded"})
_KEPT_VARIABLES = frozenset({"PATH", "HOME", "TMPDIR", "LANG"})
_STARTED_WITHIN = 30.0
_DONE_WITHIN = 60.0


@click.command()
@click.option("--exit", "leave", is_flag=True, help="End by itself; 0 if every job succeeded.")
@click.option("--port", type=int, default=0, help="Port of the service; any free one by default.")
@click.option("--sandbox-port", type=int, default=0, help="Port of the pretend Amplience.")
def demo(*, leave: bool, port: int, sandbox_port: int) -> None:
    """See the service at work on a pretend Amplience: no account, no network.

    An editor creates a banner, which is localized into French and German; publishes it, and it is
    pulled and forwarded; publishes again while the receiver is away, and nothing is lost.
    """
    end_as_by_interrupt()
    secret = secrets.token_urlsafe(24)
    options = SandboxOptions()
    with (
        tempfile.TemporaryDirectory(prefix="dc-relay-demo-") as directory,
        _sandbox(options, sandbox_port) as sandbox,
    ):
        story = Story(sandbox, click.echo)
        url = f"http://127.0.0.1:{port or free_port()}"
        database = f"sqlite:///{directory}/relay.db"
        environment = {
            **sandbox_settings(sandbox.url, options, secret),
            "DATABASE_URL": database,
            "LOCALIZE_LOCALES": "fr-FR,de-DE",
            "LOCALIZE_SOURCE_LOCALE": "en-GB",
            "LOG_FORMAT": "json",
            "PORT": url.rpartition(":")[2],
        }
        with _service(environment, url, story):
            sandbox.add_webhook(f"{url}/webhooks", secret)
            story.tell("demo", f"sandbox at {sandbox.url}, dc-relay at {url}, SQLite")
            story.start()
            try:
                _play(sandbox, story, database)
            finally:
                story.finish()
            found = _summary(database)
            well = _tell_summary(sandbox, found, url)
            if not leave:
                click.echo("The service stays up until Ctrl-C.")
                _wait_for_interrupt()
    if not well:
        sys.exit(1)


def _play(sandbox: SandboxServer, story: Story, database: str) -> None:
    repository = sandbox.state.options.repositories[0].id
    banner = {
        "_meta": {"name": "Spring banner", "schema": "https://schema-examples.com/banner"},
        "headline": "Spring is here",
    }
    story.tell("editor", "creates “Spring banner” in en-GB")
    item = sandbox.content.create(repository, label="Spring banner", body=banner, locale="en-GB")
    _until_quiet(sandbox, database)
    story.tell("editor", "publishes “Spring banner”")
    sandbox.content.publish(item.id)
    _until_quiet(sandbox, database)
    story.tell("editor", "changes the headline and publishes, while the receiver is away")
    sandbox.faults.add(where="downstream", kind="status", status=503, times=1)
    changed = {**banner, "headline": "Spring is here to stay"}
    current = sandbox.state.item(item.id)
    sandbox.content.update(item.id, current.version, {"body": changed})
    sandbox.content.publish(item.id)
    _until_quiet(sandbox, database)


def _until_quiet(sandbox: SandboxServer, database: str) -> None:
    """Wait until Amplience has sent everything and no job is left to do."""
    deadline = time.monotonic() + _DONE_WITHIN
    sandbox.settle(_DONE_WITHIN)
    while time.monotonic() < deadline:
        jobs = _summary(database).jobs
        if not jobs.get("waiting") and not jobs.get("running") and sandbox.settle(0.05):
            return
        time.sleep(0.1)
    raise click.ClickException(f"jobs are still under way after {_DONE_WITHIN:.0f} s: {jobs}")


def _summary(database: str) -> Counts:
    storage = Storage(database)
    try:
        return counts(storage)
    finally:
        storage.close()


def _tell_summary(sandbox: SandboxServer, found: Counts, url: str) -> bool:
    received = len(sandbox.received("default"))
    states = ", ".join(f"{count} {state}" for state, count in sorted(found.jobs.items()))
    click.echo()
    for name, text in (
        ("webhook events", str(found.events)),
        ("jobs", states),
        ("attempts", str(found.attempts)),
        ("received downstream", str(received)),
        ("health", f"{url}/healthz and {url}/readyz"),
        ("pretend Amplience", f"{sandbox.url}/sandbox/state"),
        ("what arrived", f"{sandbox.url}/sandbox/downstream/default"),
    ):
        click.echo(f"  {name:<20} {text}")
    click.echo()
    well = set(found.jobs) <= _ENDED_WELL and bool(found.jobs.get("succeeded")) and received > 0
    click.echo("Every job came to a good end." if well else "Some jobs did not come to a good end.")
    return well


@contextlib.contextmanager
def _sandbox(options: SandboxOptions, port: int) -> Iterator[SandboxServer]:
    server = SandboxServer(options, port=port)
    try:
        server.start()
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error.strerror}") from error
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def _service(environment: dict[str, str], url: str, story: Story) -> Iterator[None]:
    # Nothing of the caller's configuration may reach the demo, but what a process needs to start.
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES & os.environ.keys()}
    directory = environment["DATABASE_URL"].removeprefix("sqlite:///").rpartition("/")[0]
    process = subprocess.Popen(
        (sys.executable, "-m", "app", "serve"),
        env={**kept, **environment},
        cwd=directory,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None  # noqa: S101 - asked for above
    log = Path(directory) / "service.log"
    reader = threading.Thread(target=story.follow, args=(process.stderr, log), daemon=True)
    reader.start()
    try:
        _wait_until_up(process, url, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(5)
        process.stderr.close()


def _wait_until_up(process: subprocess.Popen[str], url: str, log: Path) -> None:
    deadline = time.monotonic() + _STARTED_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/readyz", timeout=1).status_code == 200:
                return
        time.sleep(0.1)
    text = log.read_text() if log.exists() else ""
    raise click.ClickException(f"the service did not start:\n{text[-2000:]}")


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_for_interrupt() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(1)
