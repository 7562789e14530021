"""What every page tells the browser: load nothing from elsewhere, be framed nowhere."""

from __future__ import annotations

from flask import Response

# Everything comes from this service itself, and nothing may frame it or be sent elsewhere.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)


def harden(response: Response) -> Response:
    """Add the headers; for `after_request` of a blueprint of pages."""
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    # Not `no-referrer`: browsers then send forms with an `Origin` of `null`.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response
