import re
import signal
import socket
import subprocess
import sys

import pytest
import requests
from click.testing import CliRunner

from app.cli.sandbox import sandbox as command

RUN = "from app.cli.sandbox import sandbox; sandbox()"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_command_prints_settings_and_ends_cleanly(how: signal.Signals) -> None:
    arguments = ["--port", "0", "--webhook-url", "http://127.0.0.1:9/webhooks"]
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN, *arguments, "--webhook-secret", "it's"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or "FORWARD_ALLOW_PRIVATE" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr and process.stderr.read()
        printed = "".join(lines)
        found = re.search(r"^export AMPLIENCE_AUTH_URL=(\S+)$", printed, re.MULTILINE)
        assert found
        state = requests.get(f"{found[1]}/sandbox/state", timeout=5).json()
        assert state["webhooks"][0]["handlers"] == ["http://127.0.0.1:9/webhooks"]
        assert """export WEBHOOK_SECRET='it'"'"'s'""" in printed
        process.send_signal(how)
        rest, errors = process.communicate(timeout=5)
    assert (process.returncode, errors) == (0, "")
    assert "has ended" in rest


def test_command_says_that_a_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(command, ["--port", str(taken.getsockname()[1])])
    assert result.exit_code != 0
    assert "port" in result.output.lower() or "in use" in result.output.lower()
