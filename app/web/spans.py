"""A span for each webhook: it goes on from the sender's trace, or begins one.

Mounted only where spans are wanted, so that the door has nothing to do for it elsewhere. This
module must not know what a webhook says.
"""

from __future__ import annotations

from flask import Flask, Response, g, request

from app.observability import tracing
from app.web.request_ids import go_on_from, trace


def register(app: Flask, *, blueprint: str) -> None:
    """Trace the requests to this blueprint; after the request ids, before all else."""

    def begin() -> None:
        rule = request.url_rule
        if rule is None or request.blueprint != blueprint:
            return
        route = rule.rule.replace("<", "{").replace(">", "}")
        g.span = tracing.webhook(
            f"{request.method} {route}",
            parent=trace(),
            attributes={"http.request.method": request.method, "http.route": route},
        )
        go_on_from(g.span.get_span_context())

    app.before_request(begin)
    app.after_request(_end)


def _end(response: Response) -> Response:
    span: tracing.Span | None = g.pop("span", None)
    if span is None:
        return response
    known = g.get("webhook", {})
    tracing.add(
        span,
        {
            "http.response.status_code": response.status_code,
            "dc_relay.reason": g.get("reason"),
            "dc_relay.event.id": known.get("event_id"),
            "dc_relay.event.name": known.get("name"),
            "dc_relay.hub": known.get("hub"),
            "dc_relay.jobs": known.get("jobs"),
        },
    )
    # A refusal is the sender's failure, not ours
    # (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status).
    if response.status_code >= 500:
        tracing.fail(span, g.get("reason") or str(response.status_code))
    span.end()
    return response
