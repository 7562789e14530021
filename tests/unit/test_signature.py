from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import WebhookRejected
from app.signature import sign, verify

# The first one is published in the tests of neteleven/sap-cx-amplience; its secret really skips
# the letter u.
VECTORS = [
    (
        "0123456789abcdefghijklmnopqrstvwxyz",
        b"lorem ipsum dolor sit amet",
        "0uD9U0hFYdowxDkKvLQtP45lcXs8q2EFvXgh1ioWfkU=",
    ),
    ("webhook-secret", b"{}", "ONeVHNAuqxtU0ODkJXwnnWQGIJYeHEOBiLwlLzxnMts="),
    (
        "webhook-secret",
        '{"label":"café"}'.encode(),
        "+ndIwoHNUy/z96s9fO2i2NnmZa+dGBr7/YFPyftEXOo=",
    ),
]
BODY = b'{"id":"1"}'


@pytest.mark.parametrize(("secret", "body", "signature"), VECTORS)
def test_published_vectors_hold(secret: str, body: bytes, signature: str) -> None:
    assert sign(body, secret) == signature
    verify(body, signature, [secret])


@pytest.mark.parametrize("position", [0, 1, 2])
def test_any_current_secret_fits_while_rotating(position: int) -> None:
    secrets = ["oldest", "older", "new"]
    verify(BODY, sign(BODY, secrets[position]), secrets)


def test_secret_with_letters_outside_ascii_is_used_as_utf8() -> None:
    verify(BODY, sign(BODY, "clé"), ["clé"])


@pytest.mark.parametrize("padded", ["{} ", " {}", "\t{}"])
def test_blanks_around_the_header_do_no_harm(padded: str) -> None:
    verify(BODY, padded.format(sign(BODY, "a")), ["a"])


WRONG = base64.b64encode(b"x" * 32).decode()


@pytest.mark.parametrize(
    ("header", "secrets", "reason"),
    [
        (None, ["a"], "signature-missing"),
        ("", ["a"], "signature-missing"),
        ("  ", ["a"], "signature-missing"),
        ("not base64!", ["a"], "signature-malformed"),
        ("sha256=" + sign(BODY, "a"), ["a"], "signature-malformed"),
        (sign(BODY, "a")[:-1], ["a"], "signature-malformed"),
        (base64.b64encode(b"short").decode(), ["a"], "signature-malformed"),
        (base64.urlsafe_b64encode(b"\xff" * 32).decode(), ["a"], "signature-malformed"),
        ("é" * 44, ["a"], "signature-malformed"),
        ("\udcff", ["a"], "signature-malformed"),
        (WRONG, ["a"], "signature-mismatch"),
        (sign(BODY, "a"), ["b", "c"], "signature-mismatch"),
        (sign(BODY + b" ", "a"), ["a"], "signature-mismatch"),
        (sign(BODY, ""), [""], "signature-no-secret"),
        (sign(BODY, ""), [], "signature-no-secret"),
    ],
)
def test_refused_with_401_and_a_reason(header: str | None, secrets: list[str], reason: str) -> None:
    with pytest.raises(WebhookRejected) as caught:
        verify(BODY, header, secrets)
    assert (caught.value.status, caught.value.reason) == (401, reason)


def test_an_empty_secret_beside_a_real_one_lets_nobody_in() -> None:
    with pytest.raises(WebhookRejected) as caught:
        verify(BODY, sign(BODY, ""), ["real", ""])
    assert caught.value.reason == "signature-mismatch"


def test_the_refusal_tells_neither_secret_nor_signature() -> None:
    with pytest.raises(WebhookRejected) as caught:
        verify(BODY, WRONG, ["top-secret"])
    assert "top-secret" not in str(caught.value)
    assert sign(BODY, "top-secret") not in str(caught.value)


@given(body=st.binary(max_size=200), secret=st.text(st.characters(codec="utf-8"), min_size=1))
def test_what_is_signed_verifies_and_one_more_byte_does_not(body: bytes, secret: str) -> None:
    verify(body, sign(body, secret), [secret])
    with pytest.raises(WebhookRejected):
        verify(body + b"\0", sign(body, secret), [secret])
