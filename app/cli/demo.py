"""`dc-relay demo`: the service at work on the Amplience emulator, shown line by line.

Starts the emulator in this process and `dc-relay serve` as a child, on a database of its own in a
temporary directory. What it shows comes from the service's log and from the emulator's calls.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import click
import requests

from app.cli.sandbox import interrupt_on_signals
from app.cli.sandbox import settings as sandbox_settings
from app.db import Storage
from app.queue import Counts, counts
from sandbox import SandboxOptions, SandboxServer

_ENDED_WELL = frozenset({"succeeded", "skipped", "superseded"})
_KEPT_VARIABLES = frozenset({"PATH", "HOME", "TMPDIR", "LANG"})
_STARTED_WITHIN = 30.0
_DONE_WITHIN = 60.0


@click.command()
@click.option("--exit", "leave", is_flag=True, help="End by itself; 0 if every job succeeded.")
@click.option("--port", type=int, default=0, help="Port of the service; any free one by default.")
@click.option("--sandbox-port", type=int, default=0, help="Port of the Amplience emulator.")
def demo(*, leave: bool, port: int, sandbox_port: int) -> None:
    """See the service at work on the Amplience emulator: no account, no network.

    An editor creates a banner, which is localized into French and German; publishes it, and it is
    pulled and forwarded; publishes again while the receiver is away, and nothing is lost.
    """
    interrupt_on_signals()
    secret = secrets.token_urlsafe(24)
    options = SandboxOptions()
    url = f"http://127.0.0.1:{port or _free_port()}"
    with (
        tempfile.TemporaryDirectory(prefix="dc-relay-demo-") as directory,
        _sandbox(options, sandbox_port) as sandbox,
    ):
        story = _Story(sandbox)
        environment = {
            **sandbox_settings(sandbox.url, options, secret),
            "DATABASE_URL": f"sqlite:///{directory}/relay.db",
            "LOCALIZE_LOCALES": "fr-FR,de-DE",
            "LOCALIZE_SOURCE_LOCALE": "en-GB",
            "LOG_FORMAT": "json",
            "PORT": url.rpartition(":")[2],
        }
        with _service(environment, Path(directory), url, story):
            sandbox.add_webhook(f"{url}/webhooks", secret)
            story.show("demo", f"emulator at {sandbox.url}, dc-relay at {url}, SQLite")
            _play(sandbox, story, environment["DATABASE_URL"])
            well = _print_summary(sandbox, _counts(environment["DATABASE_URL"]), url)
            if not leave:
                with contextlib.suppress(KeyboardInterrupt):
                    click.echo("The service stays up until Ctrl-C.")
                    signal.pause()
    if not well:
        sys.exit(1)


def _play(sandbox: SandboxServer, story: _Story, database: str) -> None:
    repository = sandbox.state.options.repositories[0].id
    banner = {
        "_meta": {"name": "Spring banner", "schema": "https://schema-examples.com/banner"},
        "headline": "Spring is here",
    }
    story.show("editor", "creates “Spring banner” in en-GB")
    item = sandbox.content.create(repository, label="Spring banner", body=banner, locale="en-GB")
    _until_quiet(sandbox, database)
    story.show("editor", "publishes “Spring banner”")
    sandbox.content.publish(item.id)
    _until_quiet(sandbox, database)
    story.show("editor", "changes the headline and publishes, while the receiver is away")
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
        jobs = _counts(database).jobs
        if not jobs.get("waiting") and not jobs.get("running") and sandbox.settle(0.05):
            return
        time.sleep(0.1)
    raise click.ClickException(f"jobs are still under way after {_DONE_WITHIN:.0f} s: {jobs}")


def _counts(database: str) -> Counts:
    with contextlib.closing(Storage(database)) as storage:
        return counts(storage)


def _print_summary(sandbox: SandboxServer, found: Counts, url: str) -> bool:
    received = len(sandbox.received("default"))
    states = ", ".join(f"{count} {state}" for state, count in sorted(found.jobs.items()))
    click.echo()
    for name, text in (
        ("webhook events", str(found.events)),
        ("jobs", states),
        ("attempts", str(found.attempts)),
        ("received downstream", str(received)),
        ("health", f"{url}/healthz and {url}/readyz"),
        ("Amplience emulator", f"{sandbox.url}/sandbox/state"),
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
def _service(
    environment: dict[str, str], directory: Path, url: str, story: _Story
) -> Iterator[None]:
    # Nothing of the caller's configuration may reach the demo, but what a process needs to start.
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES & os.environ.keys()}
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
    log = directory / "service.log"
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


def _free_port() -> int:
    """Find a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class _Story:
    """Prints a line for each thing that happened, as the service logs it."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self._sandbox = sandbox
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._calls_shown = 0

    def show(self, who: str, what: str) -> None:
        """Print one line."""
        with self._lock:
            self._print(who, what)

    def follow(self, lines: IO[str], log: Path) -> None:
        """Show what the service logs, after the calls that led to it; keep all lines in `log`."""
        with log.open("w") as file:
            for line in lines:
                file.write(line)
                file.flush()
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    self._show_entry(entry)

    def _show_entry(self, entry: dict[str, Any]) -> None:
        describe = _DESCRIPTIONS.get(str(entry.get("event")))
        if describe and (text := describe(self, entry)):
            with self._lock:
                self._print_calls()
                self._print("dc-relay", text)

    def item(self, item_id: object) -> str:
        """Name a content item as an editor knows it."""
        item = self._sandbox.state.items.get(str(item_id))
        return f"“{item.label}” ({item.locale})" if item else str(item_id)

    def _print(self, who: str, what: str) -> None:
        click.echo(f"{time.monotonic() - self._began:7.2f}s  {who:<10} {what}")

    def _print_calls(self) -> None:
        calls = list(self._sandbox.state.calls)[self._calls_shown :]
        self._calls_shown += len(calls)
        for call in calls:
            if text := _CALLS.get((call.where, call.path.rpartition("/")[2])):
                self._print(call.where, f"{text} -> {call.status}")
            elif call.where == "downstream":
                self._print("downstream", f"receives {call.method} {call.path} -> {call.status}")


_CALLS = {
    ("management", "localize"): "POST …/localize",
    ("fresh", "fetch"): "POST /content/fetch",
    ("auth", "token"): "POST /oauth/token",
}


def _webhook(_story: _Story, entry: dict[str, Any]) -> str:
    name = str(entry.get("name")).removeprefix("dynamic-content.")
    count = entry.get("jobs", 0)
    jobs = f", {count} job{'s' if count != 1 else ''}" if count else ""
    return f"webhook {name}: {entry.get('reason')}{jobs}"


def _started(story: _Story, entry: dict[str, Any]) -> str:
    verb = {"localize": "localizes", "forward": "forwards"}.get(str(entry.get("action")), "runs")
    again = f", attempt {entry['attempt']}" if entry.get("attempt", 1) > 1 else ""
    return f"job {entry.get('job_id')}: {verb} {story.item(entry.get('item_id'))}{again}"


def _finished(_story: _Story, entry: dict[str, Any]) -> str:
    reason = f" ({entry['reason']})" if entry.get("reason") else ""
    again = f", again in {entry['retry_in']:.1f} s" if entry.get("retry_in") is not None else ""
    return f"job {entry.get('job_id')}: {entry.get('state')}{reason}{again}"


_DESCRIPTIONS: dict[str, Callable[[_Story, dict[str, Any]], str]] = {
    "webhook": _webhook,
    "attempt.started": _started,
    "attempt.finished": _finished,
    "job.dead": _finished,
}
