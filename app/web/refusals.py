"""What an operator asked for and does not get, as problem documents.

A verb says why it refuses, and that goes out as it is: whoever asks has the admin token. This
module must not know any route.
"""

from __future__ import annotations

from flask import Flask, Response

from app.errors import NoSuchRecord, RefusedRequest, VerbRefused
from app.queue.pagination import CursorInvalid
from app.web.errors import problem


class RequestRefused(RefusedRequest):
    """A request of an operator that cannot be understood."""


def register(app: Flask) -> None:
    """Answer every refusal of an operator's request with a problem document."""
    app.register_error_handler(RequestRefused, _request_refused)
    app.register_error_handler(NoSuchRecord, _no_such_record)
    app.register_error_handler(VerbRefused, _verb_refused)
    app.register_error_handler(CursorInvalid, _cursor_invalid)


def _request_refused(error: RequestRefused) -> Response:
    return problem(
        status=error.status, reason=error.reason, detail=error.detail, fields=error.fields
    )


def _no_such_record(error: NoSuchRecord) -> Response:
    return problem(status=404, reason=error.reason, detail=error.detail)


def _verb_refused(error: VerbRefused) -> Response:
    return problem(status=409, reason=error.reason, detail=error.detail)


def _cursor_invalid(_error: CursorInvalid) -> Response:
    text = "Use `next` of the page before, as it stands."
    return problem(status=422, reason="cursor-invalid", detail=text)
