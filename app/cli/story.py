"""Tells the demo: turns the service's log lines and the sandbox's calls into a story.

It only reads. It must not know how either of them works inside.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from app.sandbox import SandboxServer

_LOOK_EVERY = 0.05


class Story:
    """Prints one line per thing that happened, as it happens."""

    def __init__(self, sandbox: SandboxServer, echo: Callable[[str], None]) -> None:
        self._sandbox = sandbox
        self._echo = echo
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._calls_lock = threading.Lock()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch_calls, daemon=True)
        self._seen = 0

    def tell(self, who: str, what: str) -> None:
        """Print one line."""
        with self._lock:
            self._echo(f"{time.monotonic() - self._began:7.2f}s  {who:<10} {what}")

    def start(self) -> None:
        """Begin to watch what the sandbox is asked."""
        self._seen = len(self._sandbox.state.calls)
        self._watcher.start()

    def finish(self) -> None:
        """Tell what is left, and stop watching."""
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join(5)

    def follow(self, lines: IO[str], log: Path) -> None:
        """Tell what the service's log says, and keep all of it in `log`."""
        with log.open("w") as file:
            for line in lines:
                file.write(line)
                file.flush()
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    self._tell_entry(entry)

    def _tell_entry(self, entry: dict[str, Any]) -> None:
        teller = _TELLERS.get(str(entry.get("event")))
        if teller and (text := teller(self, entry)):
            # What the service says that it did, the sandbox has seen before.
            self._tell_calls()
            self.tell("dc-relay", text)

    def item(self, item_id: object) -> str:
        """Name a content item as an editor knows it."""
        item = self._sandbox.state.items.get(str(item_id))
        return f"“{item.label}” ({item.locale})" if item else str(item_id)

    def _watch_calls(self) -> None:
        while not self._ended.wait(_LOOK_EVERY):
            self._tell_calls()
        self._tell_calls()

    def _tell_calls(self) -> None:
        with self._calls_lock:
            calls = list(self._sandbox.state.calls)[self._seen :]
            self._seen += len(calls)
        for call in calls:
            if text := _CALLS.get((call.where, call.path.rpartition("/")[2])):
                self.tell(call.where, f"{text} -> {call.status}")
            elif call.where == "downstream":
                self.tell("downstream", f"receives {call.method} {call.path} -> {call.status}")


_CALLS = {
    ("management", "localize"): "POST …/localize",
    ("fresh", "fetch"): "POST /content/fetch",
    ("auth", "token"): "POST /oauth/token",
}


def _webhook(_story: Story, entry: dict[str, Any]) -> str:
    name = str(entry.get("name")).removeprefix("dynamic-content.")
    count = entry.get("jobs", 0)
    jobs = f", {count} job{'s' if count != 1 else ''}" if count else ""
    return f"webhook {name}: {entry.get('reason')}{jobs}"


def _started(story: Story, entry: dict[str, Any]) -> str:
    verb = {"localize": "localizes", "forward": "forwards"}.get(str(entry.get("action")), "runs")
    again = f", attempt {entry['attempt']}" if entry.get("attempt", 1) > 1 else ""
    return f"job {entry.get('job_id')}: {verb} {story.item(entry.get('item_id'))}{again}"


def _finished(_story: Story, entry: dict[str, Any]) -> str:
    reason = f" ({entry['reason']})" if entry.get("reason") else ""
    again = f", again in {entry['retry_in']:.1f} s" if entry.get("retry_in") is not None else ""
    return f"job {entry.get('job_id')}: {entry.get('state')}{reason}{again}"


_TELLERS: dict[str, Callable[[Story, dict[str, Any]], str]] = {
    "webhook": _webhook,
    "attempt.started": _started,
    "attempt.finished": _finished,
    "job.dead": _finished,
}
