"""Why there was no answer, in a few words that hold no address and no secret.

What `requests`, urllib3 and the socket raise quotes whole URLs, so its own text is never shown.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import TypeVar

import requests

from app.errors import AmplienceError, AppError, causes

NAME_UNKNOWN = "the name does not resolve"

E = TypeVar("E", bound=BaseException)


def error_text(problem: AppError) -> str:
    """The error's text, with the reason where Amplience did not answer at all."""
    if isinstance(problem, AmplienceError) and problem.status is None and problem.__cause__:
        return f"{problem} ({why_no_answer(problem)})"
    return str(problem)


def why_no_answer(problem: BaseException) -> str:
    """The reason at the bottom of a failed connection, such as `connection refused`."""
    chain = list(causes(problem))
    # UnicodeError: a label that is empty or too long never gets as far as the resolver.
    if _first(chain, socket.gaierror) or _first(chain, UnicodeError):
        return NAME_UNKNOWN
    if untrusted := _first(chain, ssl.SSLCertVerificationError):
        return f"TLS failed: {untrusted.verify_message}"
    if broken := _first(chain, ssl.SSLError):
        return f"TLS failed: {str(broken.reason or 'no agreement').replace('_', ' ').lower()}"
    if _first(chain, TimeoutError) or _first(chain, requests.Timeout):
        return "timed out"
    system = (cause.strerror for cause in chain if isinstance(cause, OSError) and cause.strerror)
    return next(system, "the connection broke").lower()


def _first(chain: Sequence[BaseException], kind: type[E]) -> E | None:
    return next((cause for cause in chain if isinstance(cause, kind)), None)
