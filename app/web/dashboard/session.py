"""Who looks at the dashboard: the signed session cookie, and what proves that a form is ours.

The cookie is signed with a key that comes from the admin token: every process makes the same one,
and a new token ends all sessions. Nothing is kept on the server.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from flask import Flask, abort, request, session
from flask.sessions import SecureCookieSessionInterface

LIFETIME = timedelta(hours=12)
CSRF_FIELD = "csrf_token"
# Before anybody is signed in there is no session to keep the login form's token in: a session
# made then would take the place of one that a cross-site link did not bring along.
LOGIN_COOKIE = "dc_relay_login"

_SIGNED_IN, _UNTIL, _CSRF = "signed_in", "until", "csrf"


class _Sessions(SecureCookieSessionInterface):
    """Flask's signed cookie, `Secure` whenever the browser speaks TLS."""

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002 - Flask's signature
        return over_tls()


def over_tls() -> bool:
    """Whether the browser speaks TLS, to us or to what stands in front of us.

    The header is believed from anybody: who forges it only makes the cookie of its own answer
    stricter.
    """
    forwarded = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2]
    return request.is_secure or forwarded.strip().lower() == "https"


def register(app: Flask, admin_token: str) -> None:
    """Have the application sign its session cookie with a key of the admin token."""
    key = hmac.new(admin_token.encode(), b"dc-relay dashboard session", hashlib.sha256)
    app.secret_key = key.digest()
    app.session_interface = _Sessions()
    app.config.update(
        SESSION_COOKIE_NAME="dc_relay_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=LIFETIME,
    )


def sign_in() -> None:
    """Start a session, with a form token of its own; what the cookie held before is gone."""
    session.clear()
    session.permanent = True
    session[_SIGNED_IN] = True
    # A form posted renews the cookie; the end stays where it was.
    session[_UNTIL] = (datetime.now(UTC) + LIFETIME).timestamp()
    session[_CSRF] = secrets.token_urlsafe(32)


def sign_out() -> None:
    """End the session of this browser."""
    session.clear()


def is_signed_in() -> bool:
    """Whether the request comes with a session that is not over."""
    until = session.get(_UNTIL)
    return (
        session.get(_SIGNED_IN) is True
        and isinstance(until, float)
        and datetime.now(UTC).timestamp() < until
    )


def csrf_token() -> str:
    """The form token of this session; empty without one."""
    return str(session.get(_CSRF, ""))


def check_form() -> None:
    """Answer 403 unless the posted form is one of ours, from this session."""
    check_origin()
    check_token(csrf_token())


def check_token(expected: str) -> None:
    """Answer 403 unless the form brings the token that it was given."""
    given = request.form.get(CSRF_FIELD, "")
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        abort(403, "This form is too old. Go back, reload the page, and send it again.")


def check_origin() -> None:
    """Answer 403 when the browser says that another site sent the form.

    Browsers send `Sec-Fetch-Site` over TLS and to this machine, and `Origin` with each form. A
    proxy in front may have changed the scheme and the `Host`, so the first is believed before the
    second (https://www.w3.org/TR/fetch-metadata/).
    """
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is not None:
        ours = site in ("same-origin", "none")
    else:
        ours = origin is None or urlsplit(origin).netloc == request.host
    if not ours:
        abort(403, "This form was sent from another site, so nothing was done.")


def local_path(written: str) -> str:
    """The path to go to after signing in: `written` if it is one of ours, else `/`."""
    parts = urlsplit(written)
    # `//host` and `/\host` are addresses of other hosts for a browser.
    if parts.scheme or parts.netloc or not written.startswith("/") or written[1:2] in ("/", "\\"):
        return "/"
    return "/" if any(ord(letter) < 33 for letter in written) else written
