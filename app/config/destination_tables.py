"""The settings of a destination that say what a request looks like, as marshmallow fields.

Every template is read here, so that a fault in one stops the start and not a job. This module must
not know how a request is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marshmallow import ValidationError, fields

from app.config.fields import HttpUrl, Text
from app.config.tables import Headers
from app.config.templating import Kind, TemplateFault, check_template, is_template

# The schemes of message queues, to which nothing is sent.
_QUEUES = frozenset({"amqp", "amqps", "redis", "rediss", "sqs"})
_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}")
# RFC 9110, section 8.3.1: a type, a subtype and parameters.
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;\s*[\w-]+=[^;,\s]+)*", re.ASCII)


def scheme_of(url: str) -> str:
    """The part before `://`, in small letters; empty where there is none."""
    scheme, separator, _ = url.partition("://")
    return scheme.lower() if separator else ""


def _check(text: str, kind: Kind) -> None:
    try:
        check_template(text, kind)
    except TemplateFault as fault:
        raise ValidationError(str(fault)) from None


class RequestUrl(HttpUrl):
    """An http or https URL that may have templates after its host.

    What a template puts in is not known yet, so the rest of the URL is checked around it.
    """

    def _read(self, text: str) -> str:
        if scheme_of(text) in _QUEUES:
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
    """A body of the operator's own; it may have several lines, and may be empty."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        # The language is the same in every kind; how values are encoded is for the sender.
        _check(text, "text")
        return text


class RequestHeaders(Headers):
    """Headers whose values may be templates."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, str]:
        headers = super()._deserialize(value, attr, data, **kwargs)
        faults: dict[str, list[str]] = {}
        for name, text in headers.items():
            try:
                check_template(text, "header")
            except TemplateFault as fault:
                faults[name] = [str(fault)]
        if faults:
            raise ValidationError({**faults})
        return headers


class MediaType(Text):
    """What a `Content-Type` header says."""

    def _read(self, text: str) -> str:
        if not _MEDIA_TYPE.fullmatch(text):
            raise ValidationError(
                "This is not a media type.\nWrite one such as application/json or text/plain."
            )
        return text


class ReadableFile(Text):
    """The path of a file that is there; from the working directory where it is not absolute."""

    def _read(self, text: str) -> str:
        try:
            with Path(text).open("rb"):
                pass
        except OSError as problem:
            raise ValidationError(
                f"This file cannot be read: {problem.strerror}.\nWrite the path of a PEM file."
            ) from None
        return text


def request_faults(destination: Mapping[str, Any]) -> dict[str, list[str]]:
    """What does not go together in a destination's settings, by setting.

    `destination` holds what is written there and could be read.
    """
    url = destination.get("url")
    if not isinstance(url, str):
        return {}
    faults = _tls_faults(url, destination)
    if "content_type" in destination and not _has_body(destination):
        faults["content_type"] = "This is for a body of your own.\nAdd a body, or take it out."
    own = {name.lower() for name, _ in destination.get("headers", ())}
    if "content-type" in own and _has_body(destination):
        faults["headers"] = (
            "Content-Type is said twice.\nWrite content_type, and leave the header out."
        )
    return {name: [text] for name, text in faults.items()}


def _has_body(destination: Mapping[str, Any]) -> bool:
    delete = destination.get("delete")
    return "body" in destination or getattr(delete, "body", None) is not None


def _tls_faults(url: str, destination: Mapping[str, Any]) -> dict[str, str]:
    faults: dict[str, str] = {}
    for name in ("ca_file", "client_cert", "client_key"):
        if name in destination and scheme_of(url) != "https":
            faults[name] = "This is for https.\nTake it out, or write https:// in the URL."
    if "client_key" in destination and "client_cert" not in destination:
        faults["client_key"] = "A key alone proves nothing.\nAdd the client_cert it belongs to."
    return faults
