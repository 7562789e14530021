"""Warnings about settings that are valid and yet do less, or risk more, than they seem to."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from urllib.parse import urlsplit

from app.config.settings import Hub, Rule, Settings
from app.errors import ConfigProblem
from app.events import SNAPSHOT_PUBLISHED

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# A snapshot names its item and the item's schema, label and locale, and no more.
_NOT_IN_SNAPSHOTS = ("repository", "status")


def settings_warnings(settings: Settings) -> list[ConfigProblem]:
    """Every warning that follows from the settings alone. None shows a value."""
    return [
        *_unused_variables(settings),
        *_shared_secrets(settings),
        *_unencrypted(settings),
        *(warning for rule in settings.rules for warning in _never_met(rule)),
    ]


def _unused_variables(settings: Settings) -> Iterator[ConfigProblem]:
    for name in settings.unused_variables:
        yield ConfigProblem(
            place=name,
            message="This variable is set and not used.",
            advice=f'Unset it, or write "${{{name}}}" in the file where it belongs.',
        )


def _shared_secrets(settings: Settings) -> Iterator[ConfigProblem]:
    for one, other in combinations(settings.hubs, 2):
        if set(one.webhook_secrets) & set(other.webhook_secrets):
            yield ConfigProblem(
                place=f"hubs.{other.key}.webhook_secrets",
                message=f"The hub {one.key} has the same webhook secret: a webhook of either hub is"
                " accepted for the other.",
                advice="Give each hub a secret of its own, here and in Amplience.",
            )


def _unencrypted(settings: Settings) -> Iterator[ConfigProblem]:
    hosts = [
        ("AMPLIENCE_AUTH_URL", settings.amplience.auth_url),
        ("AMPLIENCE_API_URL", settings.amplience.api_url),
        *(_delivery_url(hub) for hub in settings.hubs),
    ]
    for place, url in hosts:
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            yield ConfigProblem(
                place=place,
                message="This URL is http://: credentials and content travel unencrypted.",
                advice="Write https:// unless the network is yours.",
            )


def _delivery_url(hub: Hub) -> tuple[str, str]:
    return f"hubs.{hub.key}.delivery.url", hub.delivery.url if hub.delivery else ""


def _never_met(rule: Rule) -> Iterator[ConfigProblem]:
    if SNAPSHOT_PUBLISHED not in rule.events:
        return
    for setting in _NOT_IN_SNAPSHOTS:
        if getattr(rule.where, setting):
            yield ConfigProblem(
                place=f"rules.{rule.name}.where.{setting}",
                message=f"{SNAPSHOT_PUBLISHED} carries no {setting}: the rule never acts on it.",
                advice=f"Take where.{setting} out, or use schema, locale or label.",
            )
