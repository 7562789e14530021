"""A webhook that belongs to a trace, and all that its jobs ask of others: no extra is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app.cli import main
from app.events import CONTENT_ITEM_CREATED, SNAPSHOT_PUBLISHED
from app.queue.operator import planner, replay_event
from app.queue.search import list_events, read_event
from sandbox import SandboxServer
from tests.builders import make_body, signed
from tests.relay import SECRET, Relay, environment, eventually, running
from tests.stories.editing import create, publish
from tests.traces import STATE, TRACE, TRACEPARENT, assert_continues

TOKEN = "the-admin-token-of-this-test"


def post(relay: Relay, body: bytes, headers: Mapping[str, str]) -> None:
    def taken() -> bool:
        # A database that is busy is answered 503, and the sender sends it again, as Amplience does.
        answer = requests.post(
            f"{relay.url}/webhooks",
            data=body,
            headers={**signed(body, SECRET), **headers},
            timeout=5,
        )
        assert answer.status_code in (202, 200, 503)
        return answer.status_code != 503

    assert eventually(taken)


def published(sandbox: SandboxServer) -> bytes:
    item = create(sandbox, locale="fr-FR")
    publish(sandbox, item)
    assert sandbox.settle()
    return make_body(SNAPSHOT_PUBLISHED, event_id=f"of {item}", rootContentItem={"id": item})


def traceparents(sandbox: SandboxServer) -> dict[str, set[str | None]]:
    """What was sent to each part of the sandbox."""
    found: dict[str, set[str | None]] = {}
    for call in list(sandbox.state.calls):
        found.setdefault(call.where, set()).add(call.traceparent)
    return found


@pytest.fixture
def quiet_relay(sandbox: SandboxServer, database_url: str) -> Iterator[Relay]:
    """The service, to which only the test itself sends webhooks."""
    with running(environment(sandbox, database_url, ADMIN_TOKEN=TOKEN)) as relay:
        yield relay


def test_downstream_and_amplience_get_the_trace_of_the_webhook(
    sandbox: SandboxServer, quiet_relay: Relay
) -> None:
    body = published(sandbox)
    sandbox.state.calls.clear()
    post(quiet_relay, body, {"traceparent": TRACEPARENT, "tracestate": STATE})
    [received] = sandbox.received("default", at_least=1)
    headers = {name.lower(): value for name, value in received.headers.items()}
    assert_continues(headers["traceparent"])
    assert headers["tracestate"] == STATE
    found = traceparents(sandbox)
    assert set(found) >= {"fresh", "downstream"}
    sent = [each for every in found.values() for each in every]
    for each in sent:
        assert_continues(each)


def test_calls_to_the_management_api_are_of_the_trace(
    sandbox: SandboxServer, quiet_relay: Relay
) -> None:
    item = create(sandbox)
    post(quiet_relay, make_body(CONTENT_ITEM_CREATED, id=item), {"traceparent": TRACEPARENT})
    quiet_relay.wait_for(succeeded=1)
    found = traceparents(sandbox)
    assert set(found) >= {"auth", "management"}
    for each in found["management"] | found["auth"]:
        assert_continues(each)


@pytest.mark.parametrize(
    "headers",
    [{}, {"traceparent": TRACEPARENT.upper()}, {"traceparent": "no"}, {"tracestate": STATE}],
)
def test_nothing_is_made_up_where_no_trace_came(
    sandbox: SandboxServer, quiet_relay: Relay, headers: dict[str, str]
) -> None:
    post(quiet_relay, published(sandbox), headers)
    [received] = sandbox.received("default", at_least=1)
    assert {"traceparent", "tracestate"}.isdisjoint(name.lower() for name in received.headers)
    assert {each for every in traceparents(sandbox).values() for each in every} == {None}
    assert [row.trace_id for row in list_events(quiet_relay.storage).rows] == [None]


def test_replay_keeps_the_trace(sandbox: SandboxServer, quiet_relay: Relay) -> None:
    post(quiet_relay, published(sandbox), {"traceparent": TRACEPARENT})
    quiet_relay.wait_for(succeeded=1)
    [event] = list_events(quiet_relay.storage).rows
    stored = read_event(quiet_relay.storage, event.id)
    replay_event(quiet_relay.storage, event.id, planner(quiet_relay.settings)(stored))
    quiet_relay.wait_for(succeeded=2)
    for received in sandbox.received("default", at_least=2):
        headers = {name.lower(): value for name, value in received.headers.items()}
        assert_continues(headers["traceparent"])


def test_every_line_about_the_event_names_the_trace_and_no_other_line_does(
    sandbox: SandboxServer, quiet_relay: Relay
) -> None:
    body = published(sandbox)
    with capture_logs(processors=[merge_contextvars]) as lines:
        post(quiet_relay, body, {"traceparent": TRACEPARENT})
        quiet_relay.wait_for(succeeded=1)
        post(quiet_relay, published(sandbox), {})
        quiet_relay.wait_for(succeeded=2)
        assert eventually(lambda: len(named(lines, "attempt.finished")) == 2)
    for name in ("webhook", "attempt.started", "attempt.finished"):
        assert [line.get("trace_id") for line in named(lines, name)] == [TRACE, None]


def named(lines: Iterable[MutableMapping[str, Any]], event: str) -> list[MutableMapping[str, Any]]:
    return [line for line in list(lines) if line["event"] == event]


def test_operator_sees_the_trace_of_an_event(sandbox: SandboxServer, quiet_relay: Relay) -> None:
    post(quiet_relay, published(sandbox), {"traceparent": TRACEPARENT})
    quiet_relay.wait_for(succeeded=1)
    [event] = list_events(quiet_relay.storage).rows
    answer = requests.get(
        f"{quiet_relay.url}/api/v1/events/{event.id}",
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=5,
    )
    assert answer.json()["trace_id"] == TRACE
    shown = CliRunner().invoke(
        main,
        ["events", "show", event.event_id],
        env=environment(sandbox, quiet_relay.settings.database_url),
    )
    assert [line.split() for line in shown.output.splitlines() if "trace" in line] == [
        ["trace", TRACE]
    ]
