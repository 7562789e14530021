from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import main

ROOT = Path(__file__).parents[2]
DOCKERFILE = re.sub(
    r"\\\n\s*", "", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
)
STAGES = re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE)[1:]
FINAL = STAGES[-1]
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()


def instructions(stage: str, name: str) -> list[str]:
    return re.findall(rf"^{name} (.+)$", stage, flags=re.MULTILINE)


@pytest.fixture
def status() -> list[int]:
    """What /healthz answers; a test may put another in its place."""
    return [200]


@pytest.fixture
def port(status: list[int]) -> Iterator[int]:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status[0] if self.path == "/healthz" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_request(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def health_check(port: int) -> int:
    (line,) = instructions(FINAL, "HEALTHCHECK")
    python, *arguments = json.loads(line.partition("CMD ")[2])
    assert python == "python"
    proxy = "http://127.0.0.1:1"
    return subprocess.run(
        [sys.executable, *arguments],
        env={"PORT": str(port), "HTTP_PROXY": proxy, "http_proxy": proxy},
        capture_output=True,
        check=False,
    ).returncode


def test_health_check_passes_while_the_service_answers(port: int) -> None:
    assert health_check(port) == 0


def test_health_check_fails_when_the_service_answers_an_error(port: int, status: list[int]) -> None:
    status[0] = 503

    assert health_check(port) != 0


def test_health_check_fails_when_nobody_listens() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        unused = server.server_port

    assert health_check(unused) != 0


def test_base_images_are_pinned_and_the_same_in_both_stages() -> None:
    images = {line.split()[0] for line in instructions(DOCKERFILE, "FROM")}

    assert len(STAGES) == 2
    assert len(images) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", images.pop())


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    assert IGNORED[1] == "*"
    for line in instructions(STAGES[0], "COPY"):
        for source in line.split()[:-1]:
            name = source.removeprefix("./")
            assert (ROOT / name).exists(), name
            assert f"!{name}" in IGNORED, name


def test_nothing_else_gets_into_the_image() -> None:
    copied = {
        source.removeprefix("./")
        for line in instructions(STAGES[0], "COPY")
        for source in line.split()[:-1]
    }

    assert {line[1:] for line in IGNORED if line.startswith("!")} == copied
    assert instructions(FINAL, "COPY") == ["--from=build /opt/dc-relay /opt/dc-relay"]


def test_the_image_is_built_from_the_lock() -> None:
    installs = [line for line in instructions(STAGES[0], "RUN") if "install" in line]

    assert [line.partition(" install ")[2] for line in installs] == [
        '--require-hashes -r "$REQUIREMENTS"',
        "--no-deps .",
    ]
    assert instructions(STAGES[0], "ARG") == ["REQUIREMENTS=requirements.txt"]


def test_the_service_is_not_root_and_owns_its_volume() -> None:
    (user,) = instructions(FINAL, "USER")
    (created,) = instructions(FINAL, "RUN")
    uid, gid = user.split(":")

    assert int(uid) > 0
    assert int(gid) > 0
    assert f"--uid {uid} --gid {gid}" in created
    assert f"install --directory --owner {uid} --group {gid} /data" in created
    assert instructions(FINAL, "VOLUME") == ["/data"]
    # Afterwards nothing is run or copied as root.
    assert not re.search(r"^(RUN|COPY|ADD)", FINAL.partition("\nUSER ")[2], flags=re.MULTILINE)


def test_the_image_starts_a_command_that_exists() -> None:
    (line,) = instructions(FINAL, "CMD")
    command, *arguments = json.loads(line)

    assert command == "dc-relay"
    assert CliRunner().invoke(main, [*arguments, "--help"]).exit_code == 0


def test_no_secret_is_baked_in() -> None:
    assert not re.search(r"SECRET|TOKEN|PASSWORD|API_KEY", DOCKERFILE)


def test_compose_runs_commands_that_exist() -> None:
    compose = (ROOT / "compose.yaml").read_text()
    commands = re.findall(r"command: \[dc-relay, ([^\]]+)\]", compose)

    assert sorted(commands) == ["db, upgrade", "worker"]
    for command in commands:
        assert CliRunner().invoke(main, [*command.split(", "), "--help"]).exit_code == 0
    assert "gunicorn" in compose


def test_compose_pins_images_and_holds_no_password() -> None:
    compose = (ROOT / "compose.yaml").read_text()
    images = re.findall(r"image: (\S+)", compose)
    passwords = re.findall(r"PASSWORD: (\S+)", compose)

    assert all(re.search(r":\d", image) for image in images)
    assert passwords == ["${POSTGRES_PASSWORD:-}"]
