"""Every refusal as a problem document (RFC 9457), with a `reason` slug that never changes.

It must not tell what is inside: an answer names what the caller can mend, the log has the rest.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from app.errors import StorageUnavailable, WebhookRejected

# Seconds until a sender may find the database back.
RETRY_AFTER = 5

_REASONS = {
    413: "body-too-large",
    415: "content-type-unsupported",
    500: "internal-error",
}

_log = structlog.get_logger(__name__)


def problem(
    *,
    status: int,
    reason: str,
    detail: str | None = None,
    fields: dict[str, list[str]] | None = None,
) -> Response:
    """An answer of `application/problem+json`. `reason` also becomes the request's log field.

    The type is `about:blank`, for which RFC 9457 (4.2.1) wants the status phrase as the title.
    """
    g.reason = reason
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "reason": reason,
    }
    if detail:
        document["detail"] = detail
    if fields is not None:
        document["fields"] = fields
    return Response(json.dumps(document), status=status, content_type="application/problem+json")


def register(app: Flask) -> None:
    """Answer every error of the application, Flask's own included, with a problem document."""
    app.register_error_handler(WebhookRejected, _rejected)
    app.register_error_handler(StorageUnavailable, _storage_unavailable)
    app.register_error_handler(HTTPException, _http_error)


def _rejected(error: WebhookRejected) -> Response:
    return problem(
        status=error.status, reason=error.reason, detail=error.detail, fields=error.fields
    )


def _storage_unavailable(error: StorageUnavailable) -> Response:
    _log.error("storage-unavailable", error=str(error))
    answer = problem(
        status=503,
        reason="storage-unavailable",
        detail="The database did not answer, so nothing was stored. Send it again.",
    )
    answer.headers["Retry-After"] = str(RETRY_AFTER)
    return answer


def _http_error(error: HTTPException) -> WerkzeugResponse:
    status = error.code
    if status is None or status < 400 or error.response is not None:
        return error.get_response()  # a redirect, or an answer that was made on purpose
    reason = _REASONS.get(status) or _slug(error.name)
    # Of an exception that nobody expected, Flask's own text is told: it has nothing of ours.
    answer = problem(status=status, reason=reason, detail=error.description)
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            answer.headers[name] = value  # Allow, Retry-After
    return answer


def _slug(name: str) -> str:
    return "-".join(re.findall(r"[a-z]+", name.lower()))
