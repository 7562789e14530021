"""What the tests of long commands share: content in the sandbox, and the command's own summary."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from sandbox import SandboxServer
from tests.cli.conftest import invoke

BANNER = "https://schema-examples.com/banner"
CARD = "https://schema-examples.com/card"
# Everything comes due at once.
AT_ONCE = ("--per-minute", "1000000")


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Workers run in the test's process: they must not write into the command's output."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def create(
    sandbox: SandboxServer, count: int = 1, *, schema: str = BANNER, locale: str | None = "en-GB"
) -> list[str]:
    repository = sandbox.state.options.repositories[0].id
    body = {"_meta": {"name": "Item", "schema": schema}, "headline": "Hello"}
    return [
        sandbox.content.create(repository, label=f"Item {number}", body=body, locale=locale).id
        for number in range(count)
    ]


def publish(sandbox: SandboxServer, *items: str) -> None:
    for item in items:
        sandbox.content.publish(item)
    assert sandbox.settle()


def archive(sandbox: SandboxServer, *items: str) -> None:
    for item in items:
        sandbox.content.archive(item, sandbox.state.item(item).version, archived=True)


def summary(*arguments: str, env: dict[str, str], exit_code: int = 0) -> dict[str, Any]:
    """The JSON that a long command ends with."""
    result = invoke(*arguments, "--json", env=env)
    assert result.exit_code == exit_code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def calls(sandbox: SandboxServer, verb: str) -> list[str]:
    """The items that were asked for with a verb, such as `localize`, one for each call."""
    return [
        call.path.split("/")[-2]
        for call in list(sandbox.state.calls)
        if call.method == "POST" and call.path.endswith(f"/{verb}")
    ]
