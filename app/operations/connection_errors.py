"""Why there was no answer, in a few words that hold no address and no secret.

What `requests`, urllib3 and the socket raise quotes whole URLs, so its own text is never shown.
"""

from __future__ import annotations

import socket
import ssl

import requests

from app.errors import causes

NAME_UNKNOWN = "the name does not resolve"


def why_no_answer(problem: BaseException) -> str:
    """The reason at the bottom of a failed connection, such as `connection refused`."""
    chain = list(causes(problem))
    for find in (_name, _tls, _timeout, _system):
        for cause in chain:
            if words := find(cause):
                return words
    return "the connection broke"


def _name(cause: BaseException) -> str:
    # UnicodeError: a label that is empty or too long never gets as far as the resolver.
    return NAME_UNKNOWN if isinstance(cause, (socket.gaierror, UnicodeError)) else ""


def _tls(cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"TLS failed: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {str(cause.reason or 'no agreement').replace('_', ' ').lower()}"
    return ""


def _timeout(cause: BaseException) -> str:
    return "timed out" if isinstance(cause, (TimeoutError, requests.Timeout)) else ""


def _system(cause: BaseException) -> str:
    strerror = cause.strerror if isinstance(cause, OSError) else None
    return strerror.lower() if strerror else ""
