from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest

from app.observability.masking import Mask

SECRET = 'p@ss/w"ord+42'


@pytest.mark.parametrize(
    "text",
    [
        f"refused: {SECRET}",
        f"GET /x?{urlencode({'q': SECRET})}",
        f"GET /{quote(SECRET, safe='')}/x",
        json.dumps({"note": SECRET}),
        repr([SECRET]),
    ],
)
def test_known_secret_is_masked_in_every_spelling(text: str) -> None:
    masked = Mask([SECRET]).text(text)

    assert "***" in masked
    assert "ord" not in masked


def test_longer_secret_leaves_no_tail_behind() -> None:
    assert Mask(["abcd", "abcd-efgh"]).text("<abcd-efgh> <abcd>") == "<***> <***>"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://relay:hunter2@db/relay", "postgresql://***@db/relay"),
        ("postgresql://relay:hun@ter2@db/relay", "postgresql://***@db/relay"),
        ("Authorization: Bearer abcdef.ghijkl", "Authorization: Bearer ***"),
        ("signed with whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD!", "signed with ***!"),
        ("/hook?access_token=abc&x=1", "/hook?access_token=***&x=1"),
        ('{"client_secret": "abc", "x": 1}', '{"client_secret": "***", "x": 1}'),
        ("{'api_key': 'abc'}", "{'api_key': '***'}"),
        ("Client(token='abc', hub='main')", "Client(token='***', hub='main')"),
        ("Max retries exceeded with url: /services/T0/B0", "Max retries exceeded with url: ***"),
        ("invalid signature: the header is missing", "invalid signature: the header is missing"),
        ("https://example.com/a@b", "https://example.com/a@b"),
    ],
)
def test_what_looks_like_a_secret_is_masked_and_prose_is_not(text: str, masked: str) -> None:
    assert Mask().text(text) == masked


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "X-Amplience-Webhook-Signature",
        "webhook_secrets",
        "client_secret",
        "access_token",
        "db_password",
        "X-Api-Key",
        "Cookie",
        "sentry_dsn",
    ],
)
def test_everything_under_a_secret_name_is_masked(name: str) -> None:
    assert Mask().value({name: ["hidden", {"deep": "hidden"}]}) == {name: "***"}


def test_names_that_only_resemble_secrets_and_plain_values_stay() -> None:
    plain = {"key": "k", "has_token": True, "token": None, "jobs": 3, "seconds": 0.5}

    assert Mask().value(plain) == plain


def test_secrets_are_found_in_keys_collections_and_objects() -> None:
    class Client:
        def __repr__(self) -> str:
            return "Client('s3cret-value')"

    value = {"s3cret-value": ["s3cret-value", ("s3cret-value",), {"s3cret-value"}, Client()]}

    assert Mask(["s3cret-value"]).value(value) == {
        "***": ["***", ["***"], ["***"], "Client('***')"],
    }


def test_secrets_too_short_to_look_for_do_not_blank_out_the_text() -> None:
    assert Mask(["", "1"]).text("11 jobs, 1 dead") == "11 jobs, 1 dead"
