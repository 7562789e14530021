"""Whatever is posted, the door answers with a reason, and stores a whole event or nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from app.bootstrap import WebLedger
from app.db import Storage, upgrade_schema
from app.db.tables import event_conflicts, jobs, webhook_events
from app.web import create_app
from tests.builders import SECRET, encoded, make_body, make_settings, signed
from tests.fuzz import inputs
from tests.fuzz.inputs import fuzzed, spoiled, texts, values
from tests.web.conftest import Services

SIGNATURE = "HTTP_X_AMPLIENCE_WEBHOOK_SIGNATURE"


class Faults(logging.Handler):
    """Collects what is logged as an error by anybody."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


@dataclass(frozen=True)
class Door:
    """The real application on a real ledger, which is looked into after each request."""

    client: FlaskClient
    storage: Storage

    def rows(self) -> tuple[int, ...]:
        tables = (webhook_events, jobs, event_conflicts)
        counts = [select(func.count()).select_from(table).scalar_subquery() for table in tables]
        with self.storage.read() as connection:
            return tuple(connection.execute(select(*counts)).one())

    def knock(
        self, body: bytes, *, path: str = "/webhooks", environ: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Post, check every promise, and return the status and its reason or word."""
        before = self.rows()
        faults = Faults()
        logging.getLogger().addHandler(faults)
        try:
            with structlog.testing.capture_logs() as lines:
                answer = self.client.post(
                    path, data=body, headers=signed(body), environ_overrides=environ or {}
                )
        finally:
            logging.getLogger().removeHandler(faults)
        document: Any = answer.get_json(force=True)
        added = [after - was for after, was in zip(self.rows(), before, strict=True)]
        assert answer.status_code < 500
        assert faults.found == []
        assert [line for line in lines if line["log_level"] in ("error", "critical")] == []
        if answer.status_code == 202:
            assert added == [1, document["jobs"], 0]
            assert (document["status"] == "accepted") == (document["jobs"] > 0)
            return 202, str(document["status"])
        assert added[:2] == [0, 0]
        assert added[2] <= (answer.status_code == 409)
        return answer.status_code, str(document.get("reason") or document.get("status"))


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    storage = Storage(f"sqlite:///{tmp_path_factory.mktemp('fuzz')}/relay.db")
    upgrade_schema(storage)
    with closing(WebLedger(storage)) as ledger:
        yield Door(create_app(Services(make_settings(), ledger)).test_client(), storage)


@fuzzed
@given(body=st.binary(max_size=200))
def test_any_bytes_are_refused(door: Door, body: bytes) -> None:
    assert door.knock(body)[0] in (400, 422)


@fuzzed
@given(document=values)
def test_any_json_is_refused(door: Door, document: Any) -> None:
    assert door.knock(inputs.encoded(document))[0] in (400, 422)


@fuzzed
@given(
    document=st.fixed_dictionaries(
        {"id": values | st.uuids().map(str), "name": values | st.sampled_from(inputs.SAMPLES)},
        optional=dict.fromkeys(("payload", "requestId", "sequenceId", "resource"), values),
    )
)
def test_any_envelope_is_taken_whole_or_refused(door: Door, document: Any) -> None:
    assert door.knock(inputs.encoded(document))[0] in (200, 202, 400, 409, 422)


@fuzzed
@given(message=spoiled())
def test_any_change_of_an_event_is_taken_whole_or_refused(door: Door, message: Any) -> None:
    assert door.knock(inputs.encoded(message))[0] in (200, 202, 400, 409, 422)


@fuzzed
@given(message=spoiled(), cut=st.integers(0, 400), put=st.binary(max_size=4))
def test_any_damage_on_the_way_is_taken_whole_or_refused(
    door: Door, message: Any, cut: int, put: bytes
) -> None:
    body = encoded(message)
    at = cut % len(body)
    damaged = body[:at] + put + body[at + len(put) + 1 :]
    assert door.knock(damaged)[0] in (200, 202, 400, 409, 422)


@fuzzed
@given(header=st.text(st.characters(max_codepoint=255), max_size=60))
def test_any_other_signature_is_refused(door: Door, header: str) -> None:
    status, reason = door.knock(make_body(), environ={SIGNATURE: header})
    assert status == 401
    assert reason.startswith("signature-")


@fuzzed
@given(where=st.integers(0, 43), letter=st.sampled_from("ABCxyz059+/=-_ \t\xff"))
def test_signature_with_one_other_letter_is_refused(door: Door, where: int, letter: str) -> None:
    body = make_body()
    right = signed(body, SECRET)["X-Amplience-Webhook-Signature"]
    wrong = right[:where] + letter + right[where + 1 :]
    # The last letter before the padding holds two bits that mean nothing.
    if wrong != right and where != 42:
        assert door.knock(body, environ={SIGNATURE: wrong})[0] == 401


@fuzzed
@given(hub=texts.filter(lambda text: text.isprintable()), kind=st.text(max_size=30))
def test_any_hub_and_content_type_is_answered(door: Door, hub: str, kind: str) -> None:
    environ = {"CONTENT_TYPE": kind.encode().decode("latin-1")}
    status, _ = door.knock(make_body(), path="/webhooks", environ=environ)
    assert status in (200, 202, 409, 415)
    escaped = hub.encode("utf-8", "replace").hex()
    assert door.knock(make_body(), path=f"/webhooks/{escaped}")[0] in (404, 308)
