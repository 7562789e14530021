"""Does a destination that hangs slow another one? One run, two phases, a ratio.

Starts the sandbox and `dc-relay serve` on SQLite. Every publish goes to two destinations. First
both answer at once; then one of them hangs for 15 seconds a call. What counts is the time from the
publish to the arrival at the healthy one, and how its 95th percentile changes.

    .venv/bin/python -m benchmarks.isolation
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from app.cli.demo import free_port
from app.cli.sandbox import settings as sandbox_settings
from app.sandbox import SandboxOptions, SandboxServer

EVENTS = 300
PER_SECOND = 20
RULES = """
[destinations.healthy]
url = "{url}/downstream/healthy"
allow_private = true

[destinations.hanging]
url = "{url}/downstream/hanging"
allow_private = true
timeout = "15s"

[[rules]]
name = "forward"
events = ["dynamic-content.snapshot.published"]
action = "forward"
to = ["hanging", "healthy"]
"""


@contextlib.contextmanager
def serving(sandbox: SandboxServer, folder: Path, secret: str) -> Iterator[str]:
    """Run the service as its users do."""
    (folder / "relay.toml").write_text(RULES.format(url=sandbox.url))
    port = free_port()
    wanted = sandbox_settings(sandbox.url, sandbox.state.options, secret)
    wanted = {name: value for name, value in wanted.items() if not name.startswith("FORWARD")}
    environ = {**os.environ, **wanted, "PORT": str(port), "LOG_LEVEL": "WARNING"}
    command = (sys.executable, "-m", "app", "serve")
    process = subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{url}/readyz", timeout=1).ok:
                    break
            time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def delays(sandbox: SandboxServer, phase: str) -> list[float]:
    """Publish items at a steady rate; the seconds until each reached the healthy destination."""
    repository = sandbox.state.options.repositories[0].id
    published: dict[str, float] = {}
    before = len(sandbox.received("healthy"))
    for number in range(EVENTS):
        body = {"_meta": {"name": f"{phase} {number}", "schema": "https://schema.example/banner"}}
        item = sandbox.content.create(repository, label=f"{phase} {number}", body=body)
        published[item.id] = time.time()
        sandbox.content.publish(item.id)
        time.sleep(1 / PER_SECOND)
    arrived = sandbox.received("healthy", at_least=before + EVENTS, timeout=60)[before:]
    found = []
    for one in arrived:
        item_id = next(item_id for item_id in published if item_id.encode() in one.body)
        found.append(one.time - published[item_id])
    return sorted(found)


def main() -> None:
    """Print both phases and their ratio."""
    options = SandboxOptions(publish_delay=0, publish_quota_per_minute=100_000)
    secret = secrets.token_urlsafe(24)
    with (
        tempfile.TemporaryDirectory() as folder,
        SandboxServer(options) as sandbox,
        serving(sandbox, Path(folder), secret) as url,
    ):
        published = "dynamic-content.snapshot.published"
        sandbox.add_webhook(f"{url}/webhooks", secret, events=[published])
        delays(sandbox, "warm-up")
        alone = delays(sandbox, "alone")
        sandbox.faults.add(where="downstream", path="/hanging", kind="hang", seconds=15)
        beside = delays(sandbox, "beside")
    at = int(EVENTS * 0.95)
    for name, found in (("alone", alone), ("beside a hanging one", beside)):
        middle, slow = found[len(found) // 2], found[at]
        print(f"{name:<22} n={len(found)} p50={middle * 1000:.0f} ms p95={slow * 1000:.0f} ms")
    print(f"ratio of the p95: {beside[at] / alone[at]:.2f}")


if __name__ == "__main__":
    main()
