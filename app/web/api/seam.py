"""Where flask-smorest meets the house: its decorators with types, its errors as our problems.

It makes the OpenAPI document and reads arguments; errors are answered by `app.web.errors` like
all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Literal, NoReturn, TypeVar

from flask import Flask, Request
from flask_smorest import Api, Blueprint  # type: ignore[import-untyped]
from marshmallow import RAISE, Schema, ValidationError
from webargs.flaskparser import FlaskParser

from app import __version__
from app.web.api.schemas import Problem
from app.web.refusals import RequestRefused

PROBLEM = "application/problem+json"
OPENAPI_VERSION = "3.1.0"
_DESCRIPTION = (
    "Events, jobs and destinations of dc-relay, for programs. Lists are newest first and come in"
    " pages: go on with `next` as `cursor` until it is null; a page may be short, or empty, and be"
    " followed by another one. Times are in UTC. Every error is a problem document (RFC 9457) with"
    " a `reason` that never changes."
)

View = TypeVar("View", bound=Callable[..., object])


class _Parser(FlaskParser):
    """Reads arguments; one that nobody knows is refused, because it may be a misspelt filter."""

    def __init__(self) -> None:
        super().__init__()
        self.DEFAULT_UNKNOWN_BY_LOCATION = {**self.DEFAULT_UNKNOWN_BY_LOCATION, "query": RAISE}

    def handle_error(
        self,
        error: ValidationError,
        req: Request,  # noqa: ARG002 - webargs' signature
        schema: Schema,  # noqa: ARG002
        *,
        error_status_code: int | None,  # noqa: ARG002
        error_headers: Mapping[str, str] | None,  # noqa: ARG002
    ) -> NoReturn:
        """Refuse, with the place and the fault of each argument."""
        raise RequestRefused(
            status=422,
            reason="arguments-invalid",
            detail="Some of the arguments cannot be used; `fields` says which and why.",
            fields=_places(error.messages),
        )


def _places(messages: object, path: tuple[str, ...] = ()) -> dict[str, list[str]]:
    if isinstance(messages, dict):
        found: dict[str, list[str]] = {}
        for name, below in messages.items():
            # webargs puts everything under the name of the place it looked in.
            skipped = (not path and name in ("query", "json")) or name == "_schema"
            found |= _places(below, path if skipped else (*path, str(name)))
        return found
    texts = messages if isinstance(messages, list) else [messages]
    return {".".join(path): [str(text) for text in texts]}


class ApiBlueprint(Blueprint):  # type: ignore[misc]  # flask-smorest has no types
    """A blueprint whose operations are declared in one decorator each."""

    ARGUMENTS_PARSER = _Parser()

    def operation(
        self,
        rule: str,
        *,
        tag: str,
        answers: Schema,
        method: Literal["GET", "POST"] = "GET",
        takes: Schema | None = None,
        described: Mapping[str, Any] | None = None,
    ) -> Callable[[View], View]:
        """Mount a view.

        What `takes` loads is its first argument: of the query of a GET, of the JSON body of a
        POST. What it returns is dumped by `answers`.
        """
        location = "query" if method == "GET" else "json"

        def mount(view: View) -> View:
            made: Callable[..., object] = self.response(200, answers)(view)
            if takes is not None:
                made = self.arguments(takes, location=location)(made)
            made = self.doc(**described or {})(made)
            self.route(rule, methods=[method], tags=[tag])(made)
            return view

        return mount


def document_of(blueprint: ApiBlueprint) -> dict[str, Any]:
    """The OpenAPI document of a blueprint's operations."""
    api = _Api(Flask(__name__, static_folder=None))
    api.register_blueprint(blueprint)
    document: dict[str, Any] = api.spec.to_dict()
    return document


class _Api(Api):  # type: ignore[misc]  # flask-smorest has no types
    """Makes the document in the house's own terms."""

    def __init__(self, app: Flask) -> None:
        scheme = {"type": "http", "scheme": "bearer", "description": "The ADMIN_TOKEN."}
        super().__init__(
            app,
            spec_kwargs={
                "title": "dc-relay",
                "version": __version__,
                "openapi_version": OPENAPI_VERSION,
                "info": {"description": _DESCRIPTION},
                "components": {"securitySchemes": {"admin": scheme}},
                "security": [{"admin": []}],
            },
        )

    def _register_error_handlers(self) -> None:
        """Leave every error to `app.web.errors`."""

    def _register_responses(self) -> None:
        content = {PROBLEM: {"schema": Problem}}
        for status in HTTPStatus:
            if status >= 400:
                response = {"description": status.phrase, "content": content}
                self.spec.components.response(status.name, response, lazy=True)
        described = {"description": "What was wrong.", "content": content}
        self.spec.components.response(self.DEFAULT_ERROR_RESPONSE_NAME, described, lazy=True)
