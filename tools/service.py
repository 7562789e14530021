"""Starts the service's processes as a platform does, on loopback, and signs webhooks for them.

Every process that is started here is ended here.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[1]
SECRET = secrets.token_urlsafe(24)
ADMIN_TOKEN = secrets.token_urlsafe(24)
SIGNATURE = "X-Amplience-Webhook-Signature"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def signature(body: bytes) -> str:
    """The header `SIGNATURE` for a webhook with this body."""
    return base64.b64encode(hmac.digest(SECRET.encode(), body, "sha256")).decode()


@dataclass(frozen=True)
class Checkout:
    """A checkout of the project whose code is started. Only `ROOT`'s is ever imported."""

    root: Path = ROOT

    @property
    def python(self) -> str:
        """Its own interpreter where it has one, else the one that runs this."""
        own = self.root / ".venv" / "bin" / "python"
        return str(own) if own.exists() else sys.executable

    def command(self, name: str) -> list[str]:
        """The arguments for Python of one of the processes in its Procfile."""
        for line in (self.root / "Procfile").read_text().splitlines():
            kind, _, command = line.partition(":")
            if kind == name:
                return shlex.split(command)[1:]
        raise LookupError(f"{self.root}/Procfile has no line {name}")


HERE = Checkout()


@dataclass(frozen=True)
class Process:
    """A running process, and the port where it listens, if it does."""

    popen: subprocess.Popen[bytes]
    port: int = 0

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def environment(database_url: str, **changes: str) -> dict[str, str]:
    """The environment of a service with one hub; nothing of the caller's settings is in it."""
    return {
        "PATH": os.environ["PATH"],
        # No relay.toml that happens to lie in a checkout.
        "RELAY_CONFIG": os.devnull,
        "DATABASE_URL": database_url,
        "WEBHOOK_SECRET": SECRET,
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "AMPLIENCE_HUB_NAME": "tools",
        "LOG_LEVEL": "WARNING",
        **changes,
    }


def make_tables(environ: Mapping[str, str], checkout: Checkout = HERE) -> None:
    """Bring the database's schema to what the checkout needs."""
    subprocess.run(
        (checkout.python, *checkout.command("release")),
        cwd=checkout.root,
        env={**environ, "PYTHONPATH": str(checkout.root)},
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )


@contextlib.contextmanager
def web(
    environ: Mapping[str, str], *, checkout: Checkout = HERE, processes: int = 1
) -> Iterator[Process]:
    """Run the web part until the block ends; it answers when the block begins."""
    port = free_port()
    changes = {"PORT": str(port), "WEB_CONCURRENCY": str(processes)}
    with started(checkout.command("web"), {**environ, **changes}, port, checkout) as process:
        wait_for(process, "/healthz")
        yield process


@contextlib.contextmanager
def worker(environ: Mapping[str, str], *, checkout: Checkout = HERE) -> Iterator[Process]:
    """Run a worker until the block ends."""
    with started(checkout.command("worker"), environ, checkout=checkout) as process:
        yield process


@contextlib.contextmanager
def started(
    command: Sequence[str], environ: Mapping[str, str], port: int = 0, checkout: Checkout = HERE
) -> Iterator[Process]:
    """Run Python with these arguments until the block ends; its log is shown if the block fails."""
    with tempfile.TemporaryFile() as log:
        popen = subprocess.Popen(
            (checkout.python, *command),
            cwd=checkout.root,
            env={**environ, "PYTHONPATH": str(checkout.root)},
            stdout=log,
            stderr=log,
        )
        try:
            yield Process(popen, port)
        except Exception:
            log.seek(0)
            sys.stderr.write(log.read()[-4000:].decode(errors="replace"))
            raise
        finally:
            _end(popen)


def _end(popen: subprocess.Popen[bytes]) -> None:
    if popen.poll() is None:
        popen.send_signal(signal.SIGTERM)
        try:
            popen.wait(40)
        except BaseException:
            popen.kill()
            popen.wait()
            raise


def wait_for(process: Process, path: str, timeout: float = 30) -> None:
    """Wait until the process answers 200 at a path."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.popen.poll() is None:
        with contextlib.suppress(requests.RequestException):
            if requests.get(process.url + path, timeout=1).ok:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{process.url}{path} did not come up")
