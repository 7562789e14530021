"""The API against its own document: what the document allows and what it does not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from app.db import Storage, upgrade_schema
from app.queue import accept, claim, finish
from app.retry import Decision
from app.web import create_app
from tests.builders import make_event, make_settings
from tests.queue.making import forward_plan
from tests.web.conftest import FakeLedger, Services

# The same examples each time: a fault found on another day is no fault of the change at hand.
SETTINGS = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
TOKEN = "the-admin-token-of-this-test"
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    """A service with a few events, dead and waiting jobs."""
    storage = Storage(f"sqlite:///{tmp_path_factory.mktemp('fuzz')}/relay.db")
    upgrade_schema(storage)
    for number in range(6):
        event = make_event("dynamic-content.snapshot.published", event_id=f"fuzz-{number}")
        accept(storage, [(event, [forward_plan(str(number), target="search")])])
    for job in claim(storage, owner="w", wanted={"forward:default": 3}):
        finish(storage, job, Decision("dead", "failed", "destination-refused", failures=1))
    app = create_app(Services(make_settings(admin_token=TOKEN), FakeLedger(), storage))
    logging.getLogger("schemathesis").setLevel(logging.ERROR)
    yield schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    storage.close()


def operations(api: schemathesis.BaseSchema) -> list[Any]:
    return [found.ok() for found in api.get_all_operations() if isinstance(found, Ok)]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_answers_keep_what_the_document_promises(
    api: schemathesis.BaseSchema, mode: GenerationMode
) -> None:
    tried = []
    for operation in operations(api):

        @given(case=operation.as_strategy(generation_mode=mode))
        @SETTINGS
        def ask(case: schemathesis.Case[Any]) -> None:
            tried.append(case.path)
            case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, checks=CHECKS)

        ask()
    assert len(set(tried)) > 10
