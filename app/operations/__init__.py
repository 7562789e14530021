"""Operator's work on what is already there: resync, localize, unpublish, checks, webhooks.

Functions return values or yield progress and raise the project's own exceptions. They print
nothing; `app.cli` does.
"""

from app.errors import AppError


class RequestInvalid(AppError):
    """The request does not fit the settings; the message says what to give instead."""
