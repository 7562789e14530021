"""Takes secrets out of what a destination answers: some echo all that they are sent.

An address can be a secret as a whole (build hooks, chat webhooks), and so can every header. This
module must not know why an answer is shown.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from app.config import Destination
from app.destinations.rendering import Request

# Too short to be a secret, and too likely to be a word.
_SHORTEST_SECRET = 6
_PLAIN_HEADERS = frozenset(
    {"accept", "accept-language", "content-type", "traceparent", "tracestate", "user-agent"}
)


@lru_cache(maxsize=256)
def masked_url(url: str) -> str:
    """`https://host:port/…`: an address with nothing in it that may be secret."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "…"
    return f"{parts.scheme}://{parts.hostname}{port}/…" if parts.hostname else "…"


def host_of(url: str) -> str:
    """`host:port`: the part of an address that may be told, if it has one."""
    return masked_url(url).partition("://")[2].removesuffix("/…")


def secrets_of(destination: Destination, request: Request) -> list[str]:
    """What must not be repeated from an answer to `request`, the longest first."""
    found = set(_secret_parts(destination, request))
    # Longest first, so that no part of one is left when another is inside it.
    return sorted((part for part in found if len(part) >= _SHORTEST_SECRET), key=len, reverse=True)


def hidden(text: str, secrets: list[str]) -> str:
    """`text` without any of `secrets`."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _secret_parts(destination: Destination, request: Request) -> Iterator[str]:
    yield from destination.signing_secrets
    for name, value in request.headers:
        if name.lower() not in _PLAIN_HEADERS:
            yield value
            yield from value.split()
    parts = urlsplit(request.url)
    yield from (parts.path, parts.query, parts.username or "", parts.password or "")
    yield from (pair.partition("=")[2] for pair in parts.query.split("&"))
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        yield base64.b64encode(pair.encode()).decode()
