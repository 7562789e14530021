"""Error reports to Sentry: what a person must look at, and nothing that is private.

A webhook's body, a request's headers and the values inside a stack hold our users' content and
secrets, so they are left out by set-up, and what is sent is masked once more. This module must not
know what failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Event as Flag
from typing import TYPE_CHECKING, Any, Literal, cast

from structlog.contextvars import get_contextvars

from app.observability.masking import Mask

# The SDK takes Flask with it, also into a worker: 5 MB for each process. Most have no DSN, so what
# needs the SDK imports it when there is one.
if TYPE_CHECKING:
    from sentry_sdk.transport import Transport
    from sentry_sdk.types import (
        Breadcrumb,
        BreadcrumbHint,
        DataCollectionUserOptions,
        Event,
        Hint,
    )

# What helps to find the request again; every other header may carry a secret or a person.
_KEPT_HEADERS = frozenset({"content-length", "content-type", "host", "user-agent", "x-request-id"})
_KEPT_OF_A_REQUEST = frozenset({"method", "url"})

# Each is named, because a category left out is collected
# (https://docs.sentry.io/platforms/python/data-management/data-collected/).
_COLLECTED: DataCollectionUserOptions = {
    "user_info": False,
    "cookies": {"mode": "off"},
    "http_headers": {"request": {"mode": "allowlist", "terms": sorted(_KEPT_HEADERS)}},
    "http_bodies": [],
    "url_query_params": {"mode": "off"},
    "graphql": {"document": False, "variables": False},
    "gen_ai": {"inputs": False, "outputs": False},
    "database_query_data": False,
    "queues": False,
    "stack_frame_variables": False,
}

_configured = Flag()


def configure_sentry(
    dsn: str | None,
    environment: str | None,
    release: str | None,
    *,
    secrets: Iterable[str] = (),
    transport: Transport | type[Transport] | None = None,
) -> None:
    """Report uncaught errors, and what `report` is given, to `dsn`; without one, do nothing.

    A malformed `dsn` raises `sentry_sdk.utils.BadDsn`. `transport` takes the place of the network
    in tests.
    """
    if not dsn:
        return
    import sentry_sdk  # noqa: PLC0415
    from sentry_sdk.integrations.argv import ArgvIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.flask import FlaskIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.logging import LoggingIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.stdlib import StdlibIntegration  # noqa: PLC0415

    scrub = _Scrub(Mask(secrets))
    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        release=release,
        transport=transport,
        before_send=scrub.event,
        before_breadcrumb=scrub.breadcrumb,
        data_collection=_COLLECTED,
        max_request_body_size="never",
        include_local_variables=False,
        # Errors only: no sessions, traces or counts of what was dropped.
        auto_session_tracking=False,
        send_client_reports=False,
        enable_metrics=False,
        # Without this, every call to Amplience or a destination would carry our release and
        # environment in a `baggage` header.
        trace_propagation_targets=[],
        auto_enabling_integrations=False,
        integrations=[FlaskIntegration()],
        disabled_integrations=[
            ArgvIntegration,  # a secret may stand on the command line
            LoggingIntegration,  # an error is reported once, by `report`, not by each log line
            StdlibIntegration,  # it keeps the URL of every outgoing call
        ],
    )
    _configured.set()


def report(
    error_or_message: BaseException | str,
    *,
    level: Literal["info", "error"] = "error",
    **fields: object,
) -> None:
    """Tell a person: send this error or message to Sentry, if it is configured.

    A message must be constant, so that equal ones are grouped; what varies goes into `fields`.
    They, and the fields of `log_context`, can be seen in the report, masked.
    """
    if not _configured.is_set():
        return
    import sentry_sdk  # noqa: PLC0415

    with sentry_sdk.new_scope() as scope:
        if fields:
            scope.set_context("report", dict(fields))
        if isinstance(error_or_message, BaseException):
            scope.capture_exception(error_or_message)
        else:
            scope.capture_message(error_or_message, level=level)


class _Scrub:
    """Decides what of an event may leave; when it fails itself, the SDK keeps the event back."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask

    def event(self, event: Event, _hint: Hint) -> Event:
        content = cast("dict[str, Any]", event)
        if "request" in content:
            content["request"] = _what_may_be_told(content["request"])
        content.pop("user", None)
        for frame in _frames(content):
            frame.pop("vars", None)
        content["tags"] = {**_context_tags(), **dict(content.get("tags") or {})}
        return cast("Event", self._mask.value(content))

    def breadcrumb(self, crumb: Breadcrumb, _hint: BreadcrumbHint) -> Breadcrumb:
        return cast("Breadcrumb", self._mask.value(crumb))


def _what_may_be_told(request: dict[str, Any]) -> dict[str, Any]:
    """The method, the path and a few headers: no body, no query, no cookies, no environment."""
    told = {name: value for name, value in request.items() if name in _KEPT_OF_A_REQUEST}
    told["headers"] = {
        name: value
        for name, value in (request.get("headers") or {}).items()
        if name.lower() in _KEPT_HEADERS
    }
    if isinstance(told.get("url"), str):
        told["url"] = told["url"].partition("?")[0]
    return told


def _context_tags() -> dict[str, str]:
    # Prefixed: `event_id` alone means Sentry's own id there.
    return {f"relay.{name}": str(value) for name, value in get_contextvars().items()}


def _frames(content: dict[str, Any]) -> list[dict[str, Any]]:
    holders = [
        holder
        for name in ("exception", "threads")
        for holder in (content.get(name) or {}).get("values", [])
    ]
    return [
        frame for holder in holders for frame in (holder.get("stacktrace") or {}).get("frames", [])
    ]
