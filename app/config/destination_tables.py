"""The tables of a destination: what a request looks like, when it is sent, when it is tried again.

Every template is read here, so that a fault in one stops the start and not a job.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from app.config.fields import (
    UNPRINTABLE,
    Count,
    Duration,
    HttpUrl,
    Rate,
    ReadableFile,
    SigningSecret,
    Text,
)
from app.config.settings import DESTINATION_RETRY, DeleteRequest, Destination, RetrySchedule
from app.config.tables import EntryList, Table, TextList, one_of
from app.config.templating import Kind, TemplateFault, check_template, is_template

# The schemes of message queues, to which nothing is sent.
_QUEUES = frozenset({"amqp", "amqps", "redis", "rediss", "sqs"})
_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}")
# RFC 9110, section 5.6.2: a header's name is a token.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_RESERVED_HEADERS = frozenset(
    {"webhook-id", "webhook-timestamp", "webhook-signature"}
    | {"connection", "content-length", "transfer-encoding"}
)

LONGEST_WAIT = 7 * 86_400.0
# A worker's thread waits for the answer, so a destination must not keep it for long.
_LONGEST_TIMEOUT = 300.0
# Coalescing delays the first event by as much, and an hour is no longer "within seconds".
_LONGEST_COALESCE = 3600.0
_MOST_AT_ONCE = 1000


def _check(text: str, kind: Kind) -> None:
    try:
        check_template(text, kind)
    except TemplateFault as fault:
        raise ValidationError(str(fault)) from None


def _scheme(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    return scheme.lower() if separator else ""


class RequestUrl(HttpUrl):
    """An http or https URL that may have templates after its host.

    The values of the templates are not known yet, so the rest of the URL is checked around them.
    """

    def _read(self, text: str) -> str:
        if _scheme(text) in _QUEUES:
            raise ValidationError(
                "dc-relay does not send to message queues.\n"
                "Write the http or https URL of a service that puts what it receives into the"
                " queue, such as an HTTP bridge."
            )
        if is_template(text):
            _check(text, "url")
        super()._read(_EXPRESSION.sub("x", text))
        return text


class BodyTemplate(fields.String):
    """A request body; it may have several lines, and may be empty."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        # The language is the same for every kind; the sender encodes the values.
        _check(text, "text")
        return text


class Headers(fields.Dict):
    """HTTP headers as a table, whose values may be templates; loads a tuple of names and values."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(post_load=lambda headers: tuple(headers.items()), **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, str]:
        headers: dict[str, Any] = super()._deserialize(  # type: ignore[no-untyped-call]
            value, attr, data, **kwargs
        )
        # A bad name may be a secret that was put on the wrong side: it is not shown.
        if not all(_HEADER_NAME.fullmatch(name) for name in headers):
            raise ValidationError(
                "A header's name cannot be sent.\n"
                "Use letters, digits and hyphens; the value goes after the = sign."
            )
        if len({name.lower() for name in headers}) < len(headers):
            raise ValidationError(
                "A header is there twice: upper and lower case are the same.\nKeep one of them."
            )
        faults = {
            name: [text] for name, entry in headers.items() if (text := _header_fault(name, entry))
        }
        if faults:
            raise ValidationError({**faults})
        return headers


def _header_fault(name: str, value: Any) -> str | None:
    if name.lower() in _RESERVED_HEADERS:
        return "The service sets this header itself.\nLeave it out."
    if not isinstance(value, str):
        return "This is not a text.\nWrite it in quotes."
    # Latin-1 is what HTTP libraries send; its characters are the first 256.
    if UNPRINTABLE.search(value) or any(ord(character) > 0xFF for character in value):
        return "This cannot be sent in a header.\nUse one line of Latin-1 characters."
    if value != value.strip():
        return "This begins or ends with a blank.\nLeave the blank out."
    try:
        check_template(value, "header")
    except TemplateFault as fault:
        return str(fault)
    return None


class MediaType(Text):
    """The value of a `Content-Type` header: a type, a subtype and parameters (RFC 9110, 8.3.1)."""

    pattern = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;\s*[\w-]+=[^;,\s]+)*", re.ASCII)
    fault = "This is not a media type.\nWrite one such as application/json or text/plain."


class RetryTable(Table):
    """`retry = { … }` of a destination."""

    schedule = EntryList(
        Duration(longest=LONGEST_WAIT),
        validate=validate.Length(
            min=1, max=20, error="A schedule has 1 to 20 delays.\nShorten or fill it."
        ),
        load_default=DESTINATION_RETRY.delays,
    )
    jitter = fields.Float(
        validate=validate.Range(
            min=0, max=1, error="The jitter is a part of the delay.\nWrite a number from 0 to 1."
        ),
        load_default=DESTINATION_RETRY.jitter,
    )

    @post_load
    def _schedule(self, loaded: dict[str, Any], **_: Any) -> RetrySchedule:
        return RetrySchedule(delays=tuple(loaded["schedule"]), jitter=loaded["jitter"])


class DeleteTable(Table):
    """`delete = { … }` of a destination."""

    method = Text(validate=one_of("DELETE", "POST", "PUT", "PATCH"), load_default="DELETE")
    url = RequestUrl()
    body = BodyTemplate()

    @post_load
    def _request(self, loaded: dict[str, Any], **_: Any) -> DeleteRequest:
        return DeleteRequest(**loaded)


class DestinationTable(Table):
    """`[destinations.NAME]`; loads a `Destination` whose name is still missing."""

    url = RequestUrl(required=True)
    method = Text(validate=one_of("POST", "PUT", "PATCH"))
    headers = Headers()
    body = BodyTemplate()
    content_type = MediaType()
    delete = fields.Nested(DeleteTable)
    gzip = fields.Boolean()
    ca_file = ReadableFile()
    client_cert = ReadableFile()
    client_key = ReadableFile()
    signing_secrets = TextList(SigningSecret(), commas=True, data_key="signing_secret")
    retry = fields.Nested(RetryTable)
    timeout = Duration(longest=_LONGEST_TIMEOUT)
    allow_private = fields.Boolean()
    rate = Rate()
    concurrency = Count(most=_MOST_AT_ONCE)
    coalesce = Duration(longest=_LONGEST_COALESCE)
    coalesce_over = Text(validate=one_of("item", "destination"))

    @validates_schema(skip_on_field_errors=False)
    def _fits_together(self, loaded: dict[str, Any], **_: Any) -> None:
        if "url" not in loaded:
            return
        if faults := _tls_faults(loaded) | _content_type_faults(loaded):
            raise ValidationError({name: [text] for name, text in faults.items()})

    @post_load
    def _destination(self, loaded: dict[str, Any], **_: Any) -> Destination:
        return Destination(name="", **loaded)


def _tls_faults(destination: Mapping[str, Any]) -> dict[str, str]:
    faults: dict[str, str] = {}
    for name in ("ca_file", "client_cert", "client_key"):
        if name in destination and _scheme(destination.get("url", "")) != "https":
            faults[name] = "This is for https.\nTake it out, or write https:// in the URL."
    if "client_key" in destination and "client_cert" not in destination:
        faults["client_key"] = "A key alone proves nothing.\nAdd the client_cert it belongs to."
    return faults


def _content_type_faults(destination: Mapping[str, Any]) -> dict[str, str]:
    delete = destination.get("delete")
    if "body" in destination or getattr(delete, "body", None) is not None:
        names = {name.lower() for name, _ in destination.get("headers", ())}
        text = "Content-Type is said twice.\nWrite content_type, and leave the header out."
        return {"headers": text} if "content-type" in names else {}
    if "content_type" in destination:
        text = "This is for a body of your own.\nAdd a body, or take it out."
        return {"content_type": text}
    return {}
