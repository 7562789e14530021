"""How the tests of this folder load settings: from given variables and the text of a file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from app.config import Settings, load_settings
from app.errors import ConfigError, ConfigProblem

HUB = {"WEBHOOK_SECRET": "from-amplience"}
CREDENTIALS = {"AMPLIENCE_CLIENT_ID": "an-id", "AMPLIENCE_CLIENT_SECRET": "a-client-secret"}
LOCALIZE = {"LOCALIZE_LOCALES": "fr-FR,de-DE", "LOCALIZE_SOURCE_LOCALE": "en-GB"}
FORWARD = {"FORWARD_URL": "https://search.example/items", "AMPLIENCE_HUB_NAME": "docs"}
SIGNING_SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"

FILE_HUB = """
[hubs.main]
name = "docs"
webhook_secrets = ["one"]
client_id = "an-id"
client_secret = "a-client-secret"
"""
FILE_DESTINATION = """
[destinations.search]
url = "https://search.example/items"
"""
LOCALIZE_RULE = """
[[rules]]
name = "l"
events = ["dynamic-content.content-item.created"]
action = "localize"
source_locale = "en-GB"
locales = ["fr-FR"]
"""
FORWARD_RULE = """
[[rules]]
name = "f"
events = ["dynamic-content.snapshot.published"]
action = "forward"
to = ["search"]
"""


def load(environ: dict[str, str], file: str | None = None) -> Settings:
    """The settings of these variables and a `relay.toml` of this text."""
    with tempfile.TemporaryDirectory() as folder:
        if file is not None:
            (Path(folder) / "relay.toml").write_text(file, encoding="utf-8")
        return load_settings(environ, directory=Path(folder))


def problems(environ: dict[str, str], file: str | None = None) -> list[ConfigProblem]:
    """What is wrong with them; the test fails if nothing is."""
    with pytest.raises(ConfigError) as caught:
        load(environ, file)
    return caught.value.problems


def places(environ: dict[str, str], file: str | None = None) -> list[str]:
    """Where something is wrong with them."""
    return [problem.place for problem in problems(environ, file)]
