"""How the pretend services refuse a call: one exception, and the two error bodies of Amplience.

Knows the shapes only; which rule was broken is said by whoever raises it.
"""

from typing import Any

Json = dict[str, Any]


class RefusalError(Exception):
    """The call is answered with this status and body instead of its result."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


def management_error(status: int, code: str, message: str, **more: object) -> RefusalError:
    """Refuse a Management API call."""
    return RefusalError(
        status, {"errors": [{"level": "ERROR", "code": code, "message": message, **more}]}
    )


def delivery_error(status: int, kind: str, message: str, data: Json | None = None) -> RefusalError:
    """Refuse a Content Delivery call."""
    return RefusalError(status, {"error": delivery_error_body(kind, message, data)})


def delivery_error_body(kind: str, message: str, data: Json | None = None) -> Json:
    """Build the inside of a Content Delivery error, which also stands in for one fetched item."""
    body: Json = {"type": kind, "message": message}
    return body if data is None else {**body, "data": data}


def not_found(what: str) -> RefusalError:
    """Refuse because the Management API has no such thing (or the caller may not see it)."""
    return management_error(404, "NOT_FOUND", f"{what} not found.")


def control_error(field: str, message: str) -> RefusalError:
    """Refuse a control call, saying which field is wrong and what to write instead."""
    return RefusalError(400, {"error": {"field": field, "message": message}})
