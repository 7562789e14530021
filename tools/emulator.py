"""The Amplience emulator, for the tools: the one place that knows where it is."""

from __future__ import annotations

from app.cli.sandbox import settings
from sandbox import SandboxOptions, SandboxServer
from sandbox.control import default_payload
from tools.service import SECRET, environment

__all__ = ["SandboxServer", "create", "default_payload", "made", "pointed_at"]


def made() -> SandboxServer:
    """An emulator without delays or quotas, to be entered."""
    return SandboxServer(
        SandboxOptions(
            publish_delay=0, publish_quota_per_minute=100_000, fresh_rate=10_000, fresh_burst=10_000
        )
    )


def pointed_at(emulator: SandboxServer, database_url: str, **changes: str) -> dict[str, str]:
    """The environment of a service that takes the emulator for Amplience."""
    given = settings(emulator.url, emulator.state.options, SECRET)
    return environment(database_url, **{**given, **changes})


def create(emulator: SandboxServer, locale: str) -> str:
    """Create a banner; returns its id."""
    repository = emulator.state.options.repositories[0].id
    body = {"_meta": {"name": "Banner", "schema": "https://schema-examples.com/banner"}}
    return emulator.content.create(repository, label="Banner", body=body, locale=locale).id
