"""The OpenAPI document, and a page for people that is made of it on the server.

They tell what the API can do, nothing of what is in it, so they need no token: a browser could not
send one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, render_template
from markupsafe import Markup, escape

from app.web.policy import harden

NAME = "api-documents"
PATHS = ("openapi.json", "docs")


@dataclass(frozen=True)
class Operation:
    """One operation as the page shows it."""

    method: str
    path: str
    summary: str
    description: str
    parameters: list[dict[str, Any]]
    takes: str | None
    answers: str | None


def build(document: Callable[[], dict[str, Any]], *, prefix: str) -> Blueprint:
    """The blueprint of `openapi.json` and `docs`."""
    blueprint = Blueprint(NAME, __name__, url_prefix=prefix, template_folder="templates")
    blueprint.after_request(harden)

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return Response(json.dumps(document(), indent=1), content_type="application/json")

    @blueprint.get("/docs")
    def docs() -> str:
        return render_template(
            "api/docs.html",
            info=document()["info"],
            coded=coded,
            groups=operations(document()),
            schemas=document()["components"]["schemas"],
        )

    return blueprint


def coded(text: str) -> Markup:
    """A text of the document with what stands in backticks as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def operations(document: dict[str, Any]) -> dict[str, list[Operation]]:
    """The operations of an OpenAPI document, by tag."""
    groups: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        shared = methods.get("parameters", [])
        for method, found in methods.items():
            if method == "parameters":
                continue
            operation = Operation(
                method=method.upper(),
                path=path,
                summary=found.get("summary", ""),
                description=found.get("description", ""),
                parameters=[*shared, *found.get("parameters", [])],
                takes=_schema_name(found.get("requestBody")),
                answers=_schema_name(found["responses"].get("200")),
            )
            for tag in found["tags"]:
                groups.setdefault(tag, []).append(operation)
    return groups


def _schema_name(holder: dict[str, Any] | None) -> str | None:
    content = (holder or {}).get("content", {}).get("application/json", {})
    reference = content.get("schema", {}).get("$ref", "")
    return reference.rpartition("/")[2] or None
