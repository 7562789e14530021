from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.amplience.delivery import (
    ContentMissing,
    ContentParameters,
    ContentRequest,
    DeliveredContent,
    DeliveryClient,
    FetchResult,
)
from app.amplience.loader import ContentLoader, Turn
from app.config import Delivery
from app.errors import AmplienceError, NotFound, RateLimited, Refused, Unavailable
from tests.amplience.conftest import Serve
from tests.servers import Received, Reply, json_reply
from tests.traces import TRACE, within_a_trace

ALL = ContentParameters()


class Fetches:
    """Answers with the id; `failure` fails whole calls, `special` single items."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], ContentParameters]] = []
        self.failure: BaseException | None = None
        self.special: dict[str, FetchResult] = {}

    def fetch(
        self, requests: Sequence[ContentRequest], parameters: ContentParameters
    ) -> list[FetchResult]:
        ids = [request.id or "" for request in requests]
        self.calls.append((ids, parameters))
        if self.failure:
            raise self.failure
        return [self.special.get(item) or DeliveredContent({"id": item}) for item in ids]


@pytest.fixture
def client() -> Fetches:
    return Fetches()


def _at_once(count: int, ask: Callable[[int], object]) -> list[object]:
    """Run `ask(n)` in `count` threads that start together; an error is a result."""
    together = threading.Barrier(count)

    def run(number: int) -> object:
        together.wait()
        try:
            return ask(number)
        except Exception as error:  # noqa: BLE001 (handed to the test)
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


def test_thirty_threads_make_three_calls(client: Fetches) -> None:
    loader = ContentLoader(client, window=0.3)
    results = _at_once(30, lambda n: loader.load(f"item-{n}", ALL))
    assert results == [DeliveredContent({"id": f"item-{n}"}) for n in range(30)]
    assert sorted(len(ids) for ids, _ in client.calls) == [6, 12, 12]


def test_full_group_leaves_at_once(client: Fetches) -> None:
    loader = ContentLoader(client, window=30)
    _at_once(12, lambda n: loader.load(f"item-{n}", ALL))
    assert len(client.calls) == 1


def test_one_item_waits_no_longer_than_the_window(client: Fetches) -> None:
    started = time.monotonic()
    assert ContentLoader(client).load("alone", ALL).content == {"id": "alone"}
    assert time.monotonic() - started < 1


def test_same_item_takes_one_place(client: Fetches) -> None:
    loader = ContentLoader(client, window=0.1)
    results = _at_once(20, lambda n: loader.load(f"item-{n % 2}", ALL))
    assert [sorted(ids) for ids, _ in client.calls] == [["item-0", "item-1"]]
    assert results == [DeliveredContent({"id": f"item-{n % 2}"}) for n in range(20)]


def test_a_second_load_asks_again(client: Fetches) -> None:
    loader = ContentLoader(client, window=0)
    loader.load("a", ALL)
    loader.load("a", ALL)
    assert len(client.calls) == 2


def test_other_parameters_are_another_call(client: Fetches) -> None:
    loader = ContentLoader(client, window=30, most=4)
    parameters = [ContentParameters(locale="en-GB"), ContentParameters(locale="fr-FR")]
    _at_once(8, lambda n: loader.load(f"item-{n}", parameters[n % 2]))
    assert sorted((len(ids), used.locale) for ids, used in client.calls) == [
        (4, "en-GB"),
        (4, "fr-FR"),
    ]


def test_missing_item_fails_its_callers_alone(client: Fetches) -> None:
    client.special["gone"] = ContentMissing(ContentRequest(id="gone"))
    loader = ContentLoader(client, window=0.1)
    ids = ["gone", "here", "gone"]
    first, here, second = _at_once(3, lambda n: loader.load(ids[n], ALL))
    assert isinstance(first, NotFound)
    assert isinstance(second, NotFound)
    assert first is not second
    assert here == DeliveredContent({"id": "here"})
    assert len(client.calls) == 1


def test_error_of_one_item_fails_its_callers_alone(client: Fetches) -> None:
    client.special["odd"] = RateLimited("slow down", code="THROTTLED_REQUEST")
    loader = ContentLoader(client, window=0.1)
    ids = ["odd", "here", "odd"]
    first, here, second = _at_once(3, lambda n: loader.load(ids[n], ALL))
    assert isinstance(first, RateLimited)
    assert isinstance(second, RateLimited)
    assert first is not second
    assert here == DeliveredContent({"id": "here"})


def test_failed_call_reaches_each_caller_as_its_own(client: Fetches) -> None:
    client.failure = RateLimited("slow down", status=429, retry_after=7.0)
    loader = ContentLoader(client, window=30, most=6)
    errors = _at_once(6, lambda n: loader.load(f"item-{n}", ALL))
    assert len({id(error) for error in errors}) == 6
    for error in errors:
        assert isinstance(error, RateLimited)
        assert (str(error), error.status, error.retry_after) == ("slow down", 429, 7.0)
    assert len(client.calls) == 1
    client.failure = None
    results = _at_once(6, lambda n: loader.load(f"item-{n}", ALL))
    assert all(isinstance(result, DeliveredContent) for result in results)


def test_a_fault_of_ours_leaves_nobody_waiting(client: Fetches) -> None:
    client.failure = KeyError("a fault")
    loader = ContentLoader(client, window=30, most=4)
    errors = _at_once(4, lambda n: loader.load(f"item-{n}", ALL))
    assert sorted(type(error).__name__ for error in errors) == ["KeyError", *["Unavailable"] * 3]


def test_impossible_id_spoils_no_group(client: Fetches) -> None:
    loader = ContentLoader(client, window=0.05)
    ids = ["a/b", "here"]
    bad, good = _at_once(2, lambda n: loader.load(ids[n], ALL))
    assert isinstance(bad, Refused)
    assert good == DeliveredContent({"id": "here"})


def test_nobody_is_forgotten_under_load(client: Fetches) -> None:
    """Threads that never stop asking: each gets its own item, and no call is too big."""
    loader = ContentLoader(client, window=0.001, most=3)
    end = time.monotonic() + 0.5

    def ask(number: int) -> int:
        asked = 0
        while time.monotonic() < end:
            item = f"item-{number}-{asked % 5}"
            assert loader.load(item, ALL).content == {"id": item}
            asked += 1
        return asked

    counts = _at_once(16, ask)
    assert all(isinstance(count, int) and count > 0 for count in counts), counts
    assert max(len(ids) for ids, _ in client.calls) == 3


def test_real_calls_are_gathered_as_well(
    serve: Serve, delivery: Callable[..., DeliveryClient]
) -> None:
    def answer(request: Received) -> Reply:
        return json_reply({"responses": [{"content": ask} for ask in request.json["requests"]]})

    server = serve(answer)
    loader = ContentLoader(delivery(server.url), window=30)
    results = _at_once(24, lambda n: loader.load(f"item-{n}", ALL))
    assert results == [DeliveredContent({"id": f"item-{n}"}) for n in range(24)]
    assert len(server.received) == 2


def test_real_failure_is_an_error_of_ours(
    serve: Serve, delivery: Callable[..., DeliveryClient]
) -> None:
    loader = ContentLoader(delivery(serve(lambda _: Reply(503)).url), window=30, most=3)
    errors = _at_once(3, lambda n: loader.load(f"item-{n}", ALL))
    assert all(isinstance(error, Unavailable) for error in errors)
    assert all(isinstance(error, AmplienceError) and error.status == 503 for error in errors)


def _turn(ticket: int, *upcoming: tuple[int, str]) -> Turn:
    return Turn(ticket, lambda limit: upcoming[:limit])


def _ids(client: Fetches) -> list[list[str]]:
    return [ids for ids, _ in client.calls]


def test_room_that_is_left_goes_to_those_who_come_next(client: Fetches) -> None:
    loader = ContentLoader(client, window=0)
    coming = [(n, f"item-{n}") for n in range(2, 40)]
    for ticket in range(1, 25):
        loaded = loader.load(f"item-{ticket}", ALL, _turn(ticket, *coming[ticket - 1 :]))
        assert loaded == DeliveredContent({"id": f"item-{ticket}"})
    assert [len(ids) for ids in _ids(client)] == [12, 12]


def test_content_loaded_ahead_is_for_its_caller_alone_and_once(client: Fetches) -> None:
    loader = ContentLoader(client, window=0)
    loader.load("a", ALL, _turn(1, (2, "b")))
    # The same item for another caller, whose reason to load may be newer than what is there.
    loader.load("b", ALL, _turn(3))
    loader.load("b", ALL, _turn(2))
    loader.load("b", ALL, _turn(2))
    assert _ids(client) == [["a", "b"], ["b"], ["b"]]


def test_content_loaded_ahead_does_not_keep(client: Fetches) -> None:
    loader = ContentLoader(client, window=0, kept_for=0)
    loader.load("a", ALL, _turn(1, (2, "b")))
    loader.load("b", ALL, _turn(2))
    assert _ids(client) == [["a", "b"], ["b"]]


def test_caller_that_comes_while_its_content_is_on_the_way_waits_for_it(client: Fetches) -> None:
    loader = ContentLoader(client, window=0)
    asked, go_on = threading.Event(), threading.Event()
    fetch = client.fetch

    def slowly(
        requests: Sequence[ContentRequest], parameters: ContentParameters
    ) -> list[FetchResult]:
        asked.set()
        go_on.wait(5)
        return fetch(requests, parameters)

    client.fetch = slowly  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(loader.load, "a", ALL, _turn(1, (2, "b")))
        assert asked.wait(5)
        second = threads.submit(loader.load, "b", ALL, _turn(2))
        go_on.set()
        assert (first.result(5).content, second.result(5).content) == ({"id": "a"}, {"id": "b"})
    assert _ids(client) == [["a", "b"]]


def test_trouble_with_those_who_come_next_is_theirs(client: Fetches) -> None:
    client.special["b"] = ContentMissing(ContentRequest(id="b"))
    loader = ContentLoader(client, window=0)
    loader.load("a", ALL, _turn(1, (2, "b"), (3, "../c"), (4, "d")))
    with pytest.raises(NotFound):
        loader.load("b", ALL, _turn(2))
    with pytest.raises(Refused):
        loader.load("../c", ALL, _turn(3))
    loader.load("d", ALL, _turn(4))
    assert _ids(client) == [["a", "b", "d"]]


def test_failed_call_fails_for_those_it_was_loading_ahead_for(client: Fetches) -> None:
    client.failure = Unavailable("502", status=502)
    loader = ContentLoader(client, window=0)
    for ticket, item in ((1, "a"), (2, "b")):
        with pytest.raises(Unavailable):
            loader.load(item, ALL, _turn(ticket, (2, "b")))
    client.failure = None
    assert loader.load("b", ALL, _turn(2)).content == {"id": "b"}


def test_no_one_is_asked_for_twice_by_two_calls_at_once(client: Fetches) -> None:
    loader = ContentLoader(client, window=0.2, most=3)
    coming = [(n, f"item-{n}") for n in range(10, 30)]
    _at_once(6, lambda n: loader.load(f"item-{n}", ALL, _turn(n, *coming)))
    _at_once(2, lambda n: loader.load(f"item-{n}", ALL, _turn(100 + n, *coming)))
    asked = [item for ids in _ids(client) for item in ids if len(item) == len("item-10")]
    assert len(asked) == len(set(asked))


def test_shared_call_is_of_a_trace_that_asked_for_it(serve: Serve) -> None:
    server = serve(_echoed)
    loader = ContentLoader(DeliveryClient(Delivery("cdn", server.url)), window=0.2)
    traces = [f"{number + 1:032x}" for number in range(3)]

    def ask(number: int) -> object:
        if number == 3:
            return loader.load("item-3", ALL)  # of no trace at all
        with within_a_trace(traces[number]):
            return loader.load(f"item-{number}", ALL)

    _at_once(4, ask)
    (request,) = server.received
    assert request.headers["traceparent"].split("-")[1] in traces


def test_shared_call_of_no_trace_has_none(serve: Serve) -> None:
    server = serve(_echoed)
    loader = ContentLoader(DeliveryClient(Delivery("cdn", server.url)))
    loader.load("item", ALL)
    with within_a_trace():
        loader.load("item", ALL)
    first, second = (request.headers.get("traceparent") for request in server.received)
    assert first is None
    assert second is not None
    assert second.split("-")[1] == TRACE


def _echoed(request: Received) -> Reply:
    asked = request.json["requests"]
    return json_reply({"responses": [{"content": {"id": one["id"]}} for one in asked]})
