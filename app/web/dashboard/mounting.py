"""Joins the dashboard to the application: blueprints, session, headers, and its own error pages."""

from __future__ import annotations

import structlog
from flask import Blueprint, Flask, Response, g, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from app import __version__
from app.advice import why_paused
from app.errors import NoSuchRecord, StorageUnavailable, VerbRefused
from app.queue.pagination import CursorInvalid
from app.web.auth import AdminGate
from app.web.dashboard import acting, door, reading, session, views, wording
from app.web.policy import harden
from app.web.services import OperatorServices

_log = structlog.get_logger(__name__)


def mount(app: Flask, services: OperatorServices, gate: AdminGate) -> None:
    """Add the dashboard to the application. Call it only where there is an admin token."""
    token = services.settings.admin_token
    if not token:
        raise ValueError("a dashboard without an admin token would be open to everybody")
    session.register(app, token)
    pages = reading.build(services.settings, services.storage)
    actions = acting.build(services)
    entrance = door.build(gate)
    for blueprint in (pages, actions, entrance):
        blueprint.after_request(harden)
        _show_errors(blueprint)
    for blueprint in (pages, actions):
        blueprint.before_request(_require_session)
    app.context_processor(_shared)
    for blueprint in (pages, actions, entrance):
        app.register_blueprint(blueprint)


def _require_session() -> WerkzeugResponse | None:
    if not session.is_signed_in():
        if request.headers.get("X-Live"):
            return Response("signed out", status=401, content_type="text/plain; charset=utf-8")
        wanted = request.full_path.removesuffix("?") if request.method == "GET" else "/"
        return redirect(url_for(f"{door.NAME}.login", next=wanted), code=303)
    if request.method == "POST":
        session.check_form()
    return None


def _shared() -> dict[str, object]:
    """What every template may use."""
    now = views.utc_now()
    return {
        "now": now,
        "live": bool(request.headers.get("X-Live")),
        "version": __version__,
        "signed_in": session.is_signed_in(),
        "csrf_field": session.CSRF_FIELD,
        "csrf_token": session.csrf_token,
        "when": lambda moment: wording.when(moment, now),
        "clock": wording.clock,
        "duration": wording.duration,
        "at_most": wording.at_most,
        "plural": wording.plural,
        "event_word": wording.event_word,
        "sentence": wording.sentence,
        "why_paused": why_paused,
    }


def _show_errors(blueprint: Blueprint) -> None:
    """Answer with a page where the rest of the service answers with a problem document."""

    def no_such_record(error: NoSuchRecord) -> tuple[str, int]:
        return _page(404, "Not found", error.detail, error.reason)

    def verb_refused(error: VerbRefused) -> tuple[str, int]:
        return _page(409, "That cannot be done", error.detail, error.reason)

    def cursor_invalid(_error: CursorInvalid) -> tuple[str, int]:
        return _page(422, "There is no such page", "Begin with the newest again.", "cursor-invalid")

    def storage_unavailable(error: StorageUnavailable) -> tuple[str, int]:
        _log.error("storage-unavailable", error=str(error))
        text = "The database does not answer, so nothing can be shown or done. Try again soon."
        return _page(503, "The database is away", text, "storage-unavailable")

    def http_error(error: HTTPException) -> WerkzeugResponse | tuple[str, int]:
        if error.code is None or error.code < 400 or error.response is not None:
            return error.get_response()
        return _page(error.code, error.name, error.description or "", None)

    blueprint.register_error_handler(NoSuchRecord, no_such_record)
    blueprint.register_error_handler(VerbRefused, verb_refused)
    blueprint.register_error_handler(CursorInvalid, cursor_invalid)
    blueprint.register_error_handler(StorageUnavailable, storage_unavailable)
    blueprint.register_error_handler(HTTPException, http_error)


def _page(status: int, title: str, text: str, reason: str | None) -> tuple[str, int]:
    g.reason = reason
    return render_template("dashboard/error.html", title=title, text=text, reason=reason), status
