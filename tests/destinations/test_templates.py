"""The language of the templates: what is in it, what is not, and how values are encoded."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.config.templating import (
    LONGEST_BODY,
    Kind,
    TemplateFault,
    Unrenderable,
    ValueMissing,
    check_template,
    render,
)

VALUES: dict[str, Any] = {
    "type": "content.published",
    "hub": "main",
    "item": {"id": "a/b?c=1#d", "deliveryKey": None, "label": 'The "new" <b>\n'},
    "content": {
        "title": "Frühling 春",
        "items": [{"n": 1, "last": False}, {"n": 2, "last": True}],
        "price": 1.5,
        "keys": {"a-b": "c"},
        "empty": "",
    },
}


def _filled(text: str, kind: Kind = "text") -> str:
    check_template(text, kind)
    return render(text, kind, VALUES)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("no template", "no template"),
        ("{{ content.title }}!", "Frühling 春!"),
        ("{{ content.price }} {{ content.items[1].last }}", "1.5 true"),
        ("{{ content.keys['a-b'] }}", "c"),
        # A name that Python's own dict has is a field like any other.
        ("{% for each in content.items %}{{ each.n }}{% endfor %}", "12"),
        (
            "{% for x in content.items %}{{ x.n }}{{ ',' if not loop.last else '' }}{% endfor %}",
            "1,2",
        ),
        ("{% for x in content.items if x.last %}{{ x.n }}{% else %}none{% endfor %}", "2"),
        ("{% for name in content.keys %}{{ name }}{% endfor %}", "a-b"),
        ("{% if item.deliveryKey %}yes{% elif hub == 'main' %}main{% endif %}", "main"),
        ("{{ item.deliveryKey | default(item.id) }}", "a/b?c=1#d"),
        ("{{ content.nothing | default('none') }}", "none"),
        ("{{ 'there' if content.title is defined }}", "there"),
        ("{{ content.items | tojson }}", '[{"n":1,"last":false},{"n":2,"last":true}]'),
        ("{{ content.title | tojson }}", '"Frühling 春"'),
        ("{{ item.deliveryKey | tojson }}", "null"),
        ("{{ content.title | slug }}", "fruhling"),
        ("{{ item.id | urlencode }}", "a%2Fb%3Fc%3D1%23d"),
        ("{{ item.label | escape }}", 'The "new" &lt;b&gt;\n'),
        ("{{ hub }}{# a comment #}\n", "main\n"),
    ],
)
def test_template_makes_text(text: str, made: str) -> None:
    assert _filled(text) == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("https://x.example/i/{{ item.id }}", "https://x.example/i/a%2Fb%3Fc%3D1%23d"),
        ("https://x.example/i/{{ item.id | urlencode }}", "https://x.example/i/a%2Fb%3Fc%3D1%23d"),
        (
            "https://x.example/?t={{ content.title }}",
            "https://x.example/?t=Fr%C3%BChling%20%E6%98%A5",
        ),
        ("https://x.example/{{ 'a/b' }}", "https://x.example/a%2Fb"),
    ],
)
def test_value_in_a_url_is_percent_encoded_once(text: str, made: str) -> None:
    assert _filled(text, "url") == made


def test_value_in_json_stays_inside_its_quotes() -> None:
    made = _filled('{"label": "New: {{ item.label }}", "all": {{ content | tojson }}}', "json")
    assert json.loads(made) == {"label": 'New: The "new" <b>\n', "all": VALUES["content"]}


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_no_value_gets_out_of_its_quotes(text: str) -> None:
    values = {"item": {"label": text}}
    made = render('{"a": "{{ item.label }}", "b": {{ item.label | tojson }}}', "json", values)
    assert json.loads(made) == {"a": text, "b": text}


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=1))
def test_no_value_gets_out_of_its_part_of_a_url(text: str) -> None:
    made = render("https://x.example/a/{{ item.id }}/b", "url", {"item": {"id": text}})
    middle = made.removeprefix("https://x.example/a/").removesuffix("/b")
    assert not set(middle) & set("/?#&=;:@\\ \r\n")


@pytest.mark.parametrize(
    "text",
    [
        "{{ content.nothing }}",
        "{{ content.nothing.more }}",
        "{{ snapshot.id }}",
        "{{ item.deliveryKey }}",
        "{{ item.deliveryKey | slug }}",
        "{{ content.items[2].n }}",
        "{{ content.items.append }}",
        "{{ content.title.upper }}",
        "{{ content.__class__ }}",
        "{{ content['__class__']['__mro__'] }}",
        "{% for x in content.nothing %}{% endfor %}",
        "{{ content.nothing | tojson }}",
        "{{ content.nothing == 1 }}",
        "{% for x in content.items %}{{ loop.cycle }}{% endfor %}",
    ],
)
def test_value_that_is_not_there_is_named_as_such(text: str) -> None:
    with pytest.raises(ValueMissing) as caught:
        _filled(text)
    assert caught.value.reason == "template-undefined"


@pytest.mark.parametrize("text", ["{{ content.empty }}", "{{ content.empty | urlencode }}"])
def test_empty_value_cannot_shorten_a_url(text: str) -> None:
    with pytest.raises(ValueMissing):
        _filled(f"https://x.example/items/{text}", "url")


@pytest.mark.parametrize("text", ["{{ content }}", "{{ content.items }}", "{{ content.items[0] }}"])
def test_list_or_object_needs_a_form(text: str) -> None:
    with pytest.raises(Unrenderable, match="tojson"):
        _filled(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{ x",
        "{% for x in content.items %}",
        "{{ itm.id }}",
        "{{ self }}",
        "{{ item.id | safe }}",
        "{{ item.id | upper }}",
        "{{ item.id is odd }}",
        "{{ range(10) }}",
        "{{ item.get('id') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 9 ** 999999999 }}",
        "{{ 1 + 1 }}",
        "{{ 'a' ~ 'b' }}",
        "{{ content.items[0:1] }}",
        "{% set a = 1 %}",
        "{% macro a() %}{% endmacro %}",
        "{% include 'a' %}",
        "{% import 'a' as b %}",
        "{% extends 'a' %}",
        "{% block a %}{% endblock %}",
        "{% with a = 1 %}{% endwith %}",
        "{% filter tojson %}{% endfilter %}",
        "{% raw %}{{ x }}{% endraw %}{{ y }}",
        "{% for a, b in content.items %}{% endfor %}",
        "{% for x in content.items recursive %}{% endfor %}",
        "{% for a in content.items %}" * 3 + "{% endfor %}" * 3,
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "x" * (32 * 1024 + 1),
    ],
)
def test_what_is_not_in_the_language_is_a_fault(text: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        check_template(text, "text")
    assert "\n" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "{{ item.id }}",
        "https://{{ item.id }}/",
        "https://{{ item.id }}.example/",
        "https://a.example{{ item.id }}",
        "https://a.example:{{ item.id }}/",
        "https://{{ item.id }}@a.example/",
        "https://{% if hub %}a{% endif %}.example/",
        "{% if hub %}https{% endif %}://a.example/",
        "https:/{{ item.id }}",
    ],
)
def test_host_cannot_be_a_template(url: str) -> None:
    with pytest.raises(TemplateFault, match="the host"):
        check_template(url, "url")


@pytest.mark.parametrize(
    "text",
    [
        "{{ content | tojson" + " | tojson" * 60 + " }}",
        "{% for a in content.many %}{% for b in content.many %}{% endfor %}{% endfor %}",
        "{% for a in content.many %}{% for b in content.many %}xxxxxxxx{% endfor %}{% endfor %}",
        "{{ content.long }}" * 3,
        "{{ content.long | tojson }}" * 3,
    ],
)
def test_what_would_grow_is_stopped_soon(text: str) -> None:
    values = {"content": {"many": [1] * 50_000, "long": "x" * (LONGEST_BODY // 2)}}
    started = time.monotonic()
    with pytest.raises(Unrenderable) as caught:
        render(text, "text", values)
    assert caught.value.reason == "template-invalid"
    assert time.monotonic() - started < 10


def test_url_and_header_are_short() -> None:
    for kind in ("url", "header"):
        with pytest.raises(Unrenderable, match="8 KiB"):
            render("https://x.example/{{ hub }}", kind, {"hub": "x" * 9000})
