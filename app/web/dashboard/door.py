"""The way in and out: the login form, logging out, and the style sheet and script.

Open to everybody, so it says nothing of what is inside.
"""

from __future__ import annotations

import secrets

import structlog
from flask import Blueprint, Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as WerkzeugResponse

from app.web.auth import AdminGate, caller_address
from app.web.dashboard import session

NAME = "dashboard-door"

_log = structlog.get_logger(__name__)


def build(gate: AdminGate) -> Blueprint:
    """The blueprint of `/login`, `/logout` and `/assets`."""
    blueprint = Blueprint(
        NAME,
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/assets",
    )

    @blueprint.get("/login")
    def login() -> Response:
        return _form(_next(), status=200)

    @blueprint.post("/login")
    def enter() -> WerkzeugResponse:
        session.check_origin()
        session.check_token(request.cookies.get(session.LOGIN_COOKIE, ""))
        address = caller_address()
        verdict = gate.admit(request.form.get("token", "").strip(), address=address)
        if verdict != "admitted":
            _log.warning("login.refused", address=address, verdict=verdict)
            if verdict == "slowed":
                return _wait(gate.seconds_to_wait(address))
            return _form(_next(), status=401, wrong=True)
        session.sign_in()
        _log.info("login.succeeded", address=address)
        return redirect(_next(), code=303)

    @blueprint.post("/logout")
    def logout() -> WerkzeugResponse:
        if session.is_signed_in():
            session.check_form()
            session.sign_out()
        return redirect("/login", code=303)

    return blueprint


def _next() -> str:
    return session.local_path(request.values.get("next", "/"))


def _wait(seconds: int) -> Response:
    seconds = max(1, seconds)
    answer = _form(_next(), status=429, wait=seconds)
    answer.headers["Retry-After"] = str(seconds)
    return answer


def _form(path: str, *, status: int, wrong: bool = False, wait: int = 0) -> Response:
    token = request.cookies.get(session.LOGIN_COOKIE) or secrets.token_urlsafe(32)
    answer = make_response(
        render_template(
            "dashboard/login.html",
            path=path,
            wrong=wrong,
            wait=wait,
            token=token,
            # A strict cookie stays away when another site's link leads here.
            from_elsewhere=request.headers.get("Sec-Fetch-Site") in (None, "cross-site"),
        ),
        status,
    )
    answer.set_cookie(
        session.LOGIN_COOKIE,
        token,
        path="/login",
        httponly=True,
        samesite="Strict",
        secure=session.over_tls(),
    )
    return answer
