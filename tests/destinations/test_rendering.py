"""What a request looks like, from the settings of its destination and a kept message."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.config import DeleteRequest, Destination
from app.destinations.message import (
    ItemFacts,
    Message,
    Origin,
    Published,
    content_deleted,
    content_published,
)
from app.destinations.rendering import Request, request_of, try_templates
from app.errors import TemplateFailed

WHEN = datetime(2025, 3, 3, 11, 0, 1, tzinfo=UTC)
ORIGIN = Origin(hub="main", event_id="e-1", event_name="dynamic-content.snapshot.published")
ITEM = ItemFacts(id="i 1", delivery_key="home/banner", label="Spring €")


def _destination(**more: Any) -> Destination:
    return Destination(**{"name": "search", "url": "https://x.example/items"} | more)


def _published(content: dict[str, Any] | None = None, item: ItemFacts = ITEM) -> Message:
    pulled = Published(content=content or {"title": "A"}, source="fresh", verified=True)
    return content_published(ORIGIN, item, pulled, timestamp=WHEN, webhook_id="msg-1")


DELETED = content_deleted(ORIGIN, ITEM, timestamp=WHEN, webhook_id="msg-1")


def _refused(destination: Destination, message: Message) -> TemplateFailed:
    with pytest.raises(TemplateFailed) as caught:
        request_of(destination, message)
    assert caught.value.destination == "search"
    assert not caught.value.transient
    return caught.value


def test_without_templates_the_message_goes_as_it_is() -> None:
    odd = Message(b"\xff not JSON", "text/plain", "msg-1")
    assert request_of(_destination(), odd) == Request(
        method="POST",
        url="https://x.example/items",
        headers=(),
        body=odd.body,
        content_type="text/plain",
    )


def test_every_part_is_filled_with_the_envelope() -> None:
    destination = _destination(
        url="https://x.example/items/{{ item.deliveryKey }}?hub={{ data.hub }}",
        method="PUT",
        headers=(("X-Key", "k"), ("X-Event", "{{ event.id }} {{ type }}")),
        body='{"title": "{{ content.title }}", "at": "{{ timestamp }}", "ok": {{ verified }}}',
    )
    request = request_of(destination, _published())
    assert (request.method, request.url) == (
        "PUT",
        "https://x.example/items/home%2Fbanner?hub=main",
    )
    assert request.headers == (("X-Key", "k"), ("X-Event", "e-1 content.published"))
    assert json.loads(request.body) == {"title": "A", "at": "2025-03-03T11:00:01.000Z", "ok": True}
    assert request.content_type == "application/json"
    assert request == request_of(destination, _published())


def test_url_template_alone_leaves_the_envelope_as_it_was_kept() -> None:
    destination = _destination(url="https://x.example/{{ item.id }}")
    for message in (_published(), DELETED):
        request = request_of(destination, message)
        assert (request.url, request.body) == ("https://x.example/i%201", message.body)


def test_deleted_item_is_sent_as_an_envelope_unless_delete_says_otherwise() -> None:
    request = request_of(_destination(method="PUT", body="{{ content | tojson }}"), DELETED)
    assert (request.method, request.body) == ("PUT", DELETED.body)
    assert not request.absent_is_done


def test_delete_has_its_own_method_and_no_body() -> None:
    destination = _destination(url="https://x.example/{{ item.id }}", delete=DeleteRequest())
    request = request_of(destination, DELETED)
    assert (request.method, request.url) == ("DELETE", "https://x.example/i%201")
    assert (request.body, request.content_type) == (b"", None)
    assert request.absent_is_done
    assert request_of(destination, _published()).method == "POST"


def test_delete_may_have_a_url_and_a_body_of_its_own() -> None:
    delete = DeleteRequest(
        "POST", "https://x.example/gone?id={{ item.id }}", '{"gone": {{ item.id | tojson }}}'
    )
    request = request_of(_destination(delete=delete), DELETED)
    assert (request.method, request.url) == ("POST", "https://x.example/gone?id=i%201")
    assert (request.body, request.content_type) == (b'{"gone": "i 1"}', "application/json")
    assert not request.absent_is_done


def test_body_that_is_empty_sends_nothing() -> None:
    request = request_of(_destination(body=""), _published())
    assert (request.body, request.content_type) == (b"", None)


def test_body_of_another_type_need_not_be_json() -> None:
    destination = _destination(body="{{ content.title }}\n", content_type="text/plain")
    request = request_of(destination, _published())
    assert (request.body, request.content_type) == (b"A\n", "text/plain")


def test_half_a_surrogate_pair_can_be_sent() -> None:
    message = _published({"title": "a\ud83d"})
    body = request_of(_destination(body='{"t": "{{ content.title }}"}'), message).body
    assert json.loads(body) == {"t": "a\ud83d"}
    plain = _destination(body="{{ content.title }}", content_type="text/plain")
    assert request_of(plain, message).body == b"a?"


@pytest.mark.parametrize(
    ("more", "reason", "words"),
    [
        ({"body": "{{ content.nothing }}"}, "template-undefined", "body cannot be filled"),
        ({"body": '{"a": {{ content.title }}}'}, "template-invalid", "not JSON (line 1"),
        ({"body": '{"a": {{ content.title }}}'}, "template-invalid", "destinations.search.body"),
        ({"body": "{{ content }}"}, "template-invalid", "tojson"),
        ({"body": "NaN"}, "template-invalid", "not JSON"),
        ({"body": "[" * 20000}, "template-invalid", "not JSON"),
        ({"url": "https://x.example/{{ item.locale }}"}, "template-undefined", "url"),
        ({"url": "https://x.example/a/{{ content.dots }}/b"}, "template-invalid", "dot"),
        ({"url": "https://x.example/a/.{{ content.dot }}/b"}, "template-invalid", "dot"),
        ({"headers": (("X", "{{ item.label }}"),)}, "template-invalid", "headers.X"),
        ({"headers": (("X", "{{ content.lines }}"),)}, "template-invalid", "urlencode"),
    ],
)
def test_what_cannot_be_filled_is_refused_with_its_place(
    more: dict[str, Any], reason: str, words: str
) -> None:
    message = _published({"title": "secret-title", "dots": "..", "dot": ".", "lines": "a\r\nb: c"})
    failed = _refused(_destination(**more), message)
    assert failed.reason == reason
    assert words in str(failed)
    assert "secret-title" not in str(failed)


def test_kept_message_that_is_no_envelope_is_refused() -> None:
    for body in (b"\xff", b"[]", b"{}", b'{"data": 1}'):
        message = Message(body, "application/json", "msg-1")
        assert "no envelope" in str(_refused(_destination(body="{{ hub }}"), message))


def test_samples_try_every_template_and_take_any_content() -> None:
    good = _destination(
        url="https://x.example/{{ item.deliveryKey }}",
        headers=(("X-Event", "{{ event.name }}"),),
        body='{"a": {{ content.a.b[3] | tojson }}, "b": [{% for x in content.c %}"{{ x.d }}"'
        "{% if not loop.last %},{% endif %}{% endfor %}]}",
        delete=DeleteRequest("POST", None, '{"id": "{{ item.id }}"}'),
    )
    assert try_templates(good) == []
    assert try_templates(_destination()) == []


def test_samples_find_what_a_deleted_item_does_not_have() -> None:
    (problem,) = try_templates(_destination(url="https://x.example/{{ content.slug }}"))
    assert problem.startswith("content.deleted: ")
    (problem,) = try_templates(_destination(delete=DeleteRequest(body="{{ snapshot.id }}")))
    assert "destinations.search.delete.body" in problem
    (problem,) = try_templates(_destination(body='{"a": {{ content.title }}}'))
    assert "content.published" in problem
    assert "not JSON" in problem
