"""Warnings about a configuration that is valid and may still surprise. Connects to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from app.config import Destination, ForwardSpec, Hub, Settings
from app.config.warnings import settings_warnings
from app.destinations.rendering import try_templates
from app.errors import ConfigProblem
from app.observability import tracing

SHORTEST_SECRET = 16


def config_warnings(settings: Settings) -> list[ConfigProblem]:
    """Every warning, in the order of the file: hubs, rules, destinations. None shows a value."""
    forwarded = {
        name
        for rule in settings.rules
        if isinstance(rule.action, ForwardSpec)
        for name in rule.action.to
    }
    return [
        *(warning for hub in settings.hubs for warning in _of_hub(hub)),
        *([] if settings.rules else [_NO_RULES]),
        *([_NO_EXPORTER] if settings.traces_endpoint and not tracing.can_export() else []),
        *(
            warning
            for each in settings.destinations
            for warning in _of_destination(each, forwarded=each.name in forwarded)
        ),
        *settings_warnings(settings),
    ]


_NO_RULES = ConfigProblem(
    place="rules",
    message="There is no rule: events are stored, and nothing is done with them.",
    advice="Set LOCALIZE_LOCALES or FORWARD_URL, or write [[rules]].",
)


_NO_EXPORTER = ConfigProblem(
    place="OTEL_EXPORTER_OTLP_ENDPOINT",
    message="Tracing is configured, but the packages that export spans are not installed.",
    advice="Install dc-relay[otel], or set OTEL_SDK_DISABLED=true.",
)


def _of_hub(hub: Hub) -> Iterator[ConfigProblem]:
    if any(len(secret) < SHORTEST_SECRET for secret in hub.webhook_secrets):
        yield ConfigProblem(
            place=f"hubs.{hub.key}.webhook_secrets",
            message=f"A webhook secret is shorter than {SHORTEST_SECRET} characters.",
            advice="It alone protects the endpoint: make one with `openssl rand -hex 32`, and set"
            " it here and in Amplience.",
        )


def _of_destination(destination: Destination, *, forwarded: bool) -> Iterator[ConfigProblem]:
    where = f"destinations.{destination.name}"
    if forwarded and not destination.signing_secrets:
        yield ConfigProblem(
            place=where,
            message="What is forwarded is not signed: the receiver cannot tell who sent it.",
            advice="Give it a signing_secret (FORWARD_SIGNING_SECRET).",
        )
    for problem in try_templates(destination):
        yield ConfigProblem(
            place=where,
            message=f"Tried on a sample, {problem}.",
            advice="Correct it, unless your content differs from the sample or never comes so.",
        )
    if urlsplit(destination.url).scheme == "http":
        yield ConfigProblem(
            place=where,
            message="Its URL is http://: content and headers travel unencrypted.",
            advice="Write https:// unless the network is yours.",
        )
