from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.processes.running import alive, descendants, eventually

ROOT = Path(__file__).parents[2]
SECRET = "the-webhook-secret"
# A worker that is told to stop waits a moment for a last request on each open connection.
CLOSE = {"Connection": "close"}


def web_command() -> list[str]:
    """The web process of the Procfile, with another application in place of ours."""
    line = next(
        line for line in (ROOT / "Procfile").read_text().splitlines() if line.startswith("web: ")
    )
    python, *arguments, application = shlex.split(line.removeprefix("web: "))
    assert python == "python"
    assert application == "app.web.wsgi:app"
    return [sys.executable, *arguments, "tests.deploy.hello:app"]


def environment(home: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "RELAY_CONFIG": "",
        "DATABASE_URL": f"sqlite:///{home}/relay.db",
        "WEBHOOK_SECRET": SECRET,
        **more,
    }


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def serving(home: Path, **more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = free_port()
    process = subprocess.Popen(
        web_command(),
        cwd=ROOT,
        env=environment(home, PORT=str(port), WEB_CONCURRENCY="2", **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                requests.get(url, headers=CLOSE, timeout=5)
                break
            except requests.ConnectionError:
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.05)
        yield process, url
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.processes
def test_web_serves_finishes_what_runs_and_logs_json_lines_only(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, url), ThreadPoolExecutor() as callers:
        slow = callers.submit(requests.get, f"{url}/slow?token={SECRET}", headers=CLOSE, timeout=10)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        answer = slow.result()
        out, err = process.communicate(timeout=30)

    lines: list[dict[str, Any]] = [json.loads(line) for line in err.splitlines()]
    events = [line["event"] for line in lines]
    assert answer.text == "hello"
    assert process.returncode == 0
    assert out == ""
    assert {line["logger"] for line in lines} == {"gunicorn.error"}
    assert sum(event.startswith("Booting worker") for event in events) == 2
    assert "Using worker: app.web.buffering.BufferingWorker" in events
    assert SECRET not in err
    # Nothing is left in the home directory: no control socket.
    assert not (tmp_path / ".gunicorn").exists()


@pytest.mark.processes
def test_faulty_settings_stop_the_start_with_every_fault_and_no_stack(tmp_path: Path) -> None:
    done = subprocess.run(
        web_command(),
        cwd=ROOT,
        env=environment(tmp_path, WEBHOOK_SECRET="", LOG_LEVEL="LOUD"),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert done.returncode != 0
    assert "WEBHOOK_SECRET" in done.stderr
    assert "LOG_LEVEL" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.processes
@pytest.mark.parametrize("option", ["--certfile=tls.pem", "--proxy-protocol"])
def test_what_only_a_proxy_in_front_can_do_stops_the_start(tmp_path: Path, option: str) -> None:
    (tmp_path / "tls.pem").touch()
    done = refused_start(tmp_path, GUNICORN_CMD_ARGS=option.replace("tls", f"{tmp_path}/tls"))

    assert "speaks plain HTTP/1 only" in done.stderr
    assert "proxy in front" in done.stderr


def refused_start(home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        web_command(),
        cwd=ROOT,
        env=environment(home, PORT=str(free_port()), **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.processes
@pytest.mark.parametrize("place", ["file", "file/below", "/proc/dc-relay"])
def test_unusable_directory_for_counters_stops_the_start(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    directory = str(tmp_path / place)
    done = refused_start(tmp_path, PROMETHEUS_MULTIPROC_DIR=directory)

    assert f"PROMETHEUS_MULTIPROC_DIR: {directory} cannot be used for counters" in done.stderr
    assert "Name a directory that the web process may write to" in done.stderr


@pytest.mark.processes
def test_directory_for_counters_is_shared_with_others_and_left_as_it_was(tmp_path: Path) -> None:
    shared = tmp_path / "not-made-yet" / "metrics"
    with serving(tmp_path, PROMETHEUS_MULTIPROC_DIR=str(shared)) as (process, _):
        foreign = shared / "of-another-app" / "counter_1.db"
        foreign.parent.mkdir()
        for file in (foreign, shared / "counter_2.db"):
            file.write_text("foreign")
        with serving(tmp_path, PROMETHEUS_MULTIPROC_DIR=str(shared)):
            assert len(list(shared.glob("dc-relay-*"))) == 2
        assert len(list(shared.glob("dc-relay-*"))) == 1
        below = descendants(process.pid)
        process.kill()
        process.wait()
        assert eventually(lambda: not any(alive(pid) for pid in below))
    killed = next(shared.glob("dc-relay-*"))

    with serving(tmp_path, PROMETHEUS_MULTIPROC_DIR=str(shared)) as (process, _):
        assert not killed.exists()
        process.terminate()
        assert process.wait(30) == 0
    assert {path.name for path in shared.iterdir()} == {"of-another-app", "counter_2.db"}
    assert foreign.read_text() == "foreign"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("given", "bind", "workers"),
    [
        ({"PORT": "", "WEB_CONCURRENCY": ""}, "127.0.0.1:8000", "1"),
        ({"PORT": " ", "WEB_CONCURRENCY": " "}, "127.0.0.1:8000", "1"),
        ({"PORT": "8123", "WEB_CONCURRENCY": "3"}, "0.0.0.0:8123", "3"),
    ],
)
def test_empty_port_and_number_of_processes_count_as_not_set(
    tmp_path: Path, given: dict[str, str], bind: str, workers: str
) -> None:
    done = subprocess.run(
        [*web_command(), "--print-config"],
        cwd=ROOT,
        env=environment(tmp_path, **given),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = dict(re.findall(r"(?m)^(\w+) += (.*)$", done.stdout))
    assert (shown["bind"], shown["workers"]) == (f"['{bind}']", workers)
