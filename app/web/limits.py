"""How much of a body is read, whatever it says of its own length."""

from __future__ import annotations

from flask import Flask, request
from werkzeug.exceptions import RequestEntityTooLarge

from app.errors import WebhookRejected

# An item's body may have 200 KB (https://amplience.com/developers/docs/apis/limits), so this is
# ample for a webhook.
MAX_BODY = 1024 * 1024
_DIGITS = len(str(MAX_BODY))


def register(app: Flask) -> None:
    """Refuse a body that says of itself that it is too large, before anything else is looked at."""
    # One byte more than we take: werkzeug ends a longer body in chunks at its limit without a
    # word, and a body that was cut must not pass for a whole one.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    app.before_request(_refuse_declared)


def whole_body() -> bytes:
    """The raw body of the request.

    Raises 413 when it has more than `MAX_BODY` bytes, and `WebhookRejected` (400,
    `body-unreadable`) when it broke off or its chunks are malformed.
    """
    try:
        body = request.get_data()
    except RequestEntityTooLarge:
        raise
    except Exception as error:  # each server has errors of its own for a body that breaks off
        raise _unreadable() from error
    if len(body) > MAX_BODY:
        raise RequestEntityTooLarge
    if len(body) < (request.content_length or 0):
        raise _unreadable()
    return body


def _unreadable() -> WebhookRejected:
    return WebhookRejected(
        status=400, reason="body-unreadable", detail="The body broke off, or its chunks did."
    )


def _refuse_declared() -> None:
    # A number with fewer digits than ours is smaller.
    declared = request.environ.get("CONTENT_LENGTH", "")
    if len(declared) >= _DIGITS and (request.content_length or 0) > MAX_BODY:
        raise RequestEntityTooLarge
