"""What is valid and warned about."""

from __future__ import annotations

import pytest

from app.config.warnings import settings_warnings
from tests.config.loading import (
    FILE_DESTINATION,
    FILE_HUB,
    FORWARD_RULE,
    HUB,
    LOCALIZE_RULE,
    load,
)

SHARED = "[hubs.a]\nwebhook_secrets = ['x', 'y']\n[hubs.b]\nwebhook_secrets = ['y']"


@pytest.mark.parametrize(
    ("given", "file", "place", "word"),
    [
        ({**HUB, "FORWARD_SIGNING_SECRET": "x"}, "", "FORWARD_SIGNING_SECRET", "Unset it"),
        ({}, SHARED, "hubs.b.webhook_secrets", "of its own"),
        ({**HUB, "AMPLIENCE_API_URL": "http://api.example"}, "", "AMPLIENCE_API_URL", "https://"),
        ({**HUB, "AMPLIENCE_AUTH_URL": "http://10.0.0.1"}, "", "AMPLIENCE_AUTH_URL", "https://"),
        (
            {**HUB, "AMPLIENCE_DELIVERY_URL": "http://a.example"},
            "",
            "hubs.main.delivery.url",
            "https://",
        ),
        (
            {},
            f'{FILE_HUB}{FILE_DESTINATION}{FORWARD_RULE}where = {{ status = "ACTIVE" }}',
            "rules.f.where.status",
            "where.status",
        ),
        (
            {},
            f'{FILE_HUB}{FILE_DESTINATION}{FORWARD_RULE}where = {{ repository = "*" }}',
            "rules.f.where.repository",
            "where.repository",
        ),
    ],
)
def test_warning_says_where_and_what_to_do(
    given: dict[str, str], file: str, place: str, word: str
) -> None:
    (warning,) = settings_warnings(load(given, file))
    assert warning.place == place
    assert word in warning.advice


@pytest.mark.parametrize(
    ("given", "file"),
    [
        (HUB, ""),
        ({**HUB, "AMPLIENCE_API_URL": "http://127.0.0.1:8100"}, ""),
        ({**HUB, "AMPLIENCE_AUTH_URL": "http://localhost:8100"}, ""),
        ({**HUB, "AMPLIENCE_DELIVERY_URL": "http://[::1]:8100"}, ""),
        ({}, f'{FILE_HUB}{LOCALIZE_RULE}where = {{ status = "ACTIVE", repository = "*" }}'),
        ({}, f'{FILE_HUB}{FILE_DESTINATION}{FORWARD_RULE}where = {{ locale = "en" }}'),
    ],
)
def test_what_is_usual_is_not_warned_about(given: dict[str, str], file: str) -> None:
    assert settings_warnings(load(given, file)) == []
