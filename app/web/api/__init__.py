"""The REST API under `/api/v1`: what an operator asks and does, for programs.

A view reads its arguments through a schema, calls one function of the ledger, and answers through
a schema; the OpenAPI document is made of the same schemas. Nothing here decides anything.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import structlog
from flask import Flask, Response, g, request

from app.web.api.destinations import add_to as add_destinations
from app.web.api.documents import NAME as DOCUMENTS
from app.web.api.documents import PATHS, build
from app.web.api.events import add_to as add_events
from app.web.api.jobs import add_to as add_jobs
from app.web.api.rules import add_to as add_rules
from app.web.api.seam import ApiBlueprint, document_of
from app.web.auth import AdminGate, guard_paths
from app.web.refusals import register as register_refusals
from app.web.services import OperatorServices

NAME = "api"
PREFIX = "/api/v1"

_log = structlog.get_logger(__name__)


def register(app: Flask, services: OperatorServices, gate: AdminGate) -> None:
    """Mount the API, behind the gate, and its documents."""
    open_paths = frozenset(f"{PREFIX}/{name}" for name in PATHS)
    register_refusals(app)
    guard_paths(app, gate, prefix="/api/", open_paths=open_paths)
    app.register_blueprint(_operations(services))

    @cache
    def document() -> dict[str, Any]:
        # Made when somebody asks: it takes longer than all the rest of the application.
        return document_of(_operations(services))

    app.register_blueprint(build(document, prefix=PREFIX))


def _operations(services: OperatorServices) -> ApiBlueprint:
    blueprint = ApiBlueprint(NAME, __name__, url_prefix=PREFIX)
    for add in (add_events, add_jobs, add_destinations, add_rules):
        add(blueprint, services)
    blueprint.after_request(_report)
    return blueprint


def _report(response: Response) -> Response:
    """One line for each thing that an operator did; what was only looked at is no news."""
    _log.log(
        logging.DEBUG if request.method == "GET" else logging.INFO,
        "api.request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        reason=g.get("reason"),
    )
    return response


__all__ = ["DOCUMENTS", "NAME", "PREFIX", "register"]
