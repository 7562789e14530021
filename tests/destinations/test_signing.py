from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.destinations.message import Message
from app.destinations.signing import UnusableSecret, signed_headers

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
MESSAGE = Message('{"headline":"Frühling"}'.encode(), "application/json", "job-1")


def test_each_current_secret_verifies_alone() -> None:
    headers = signed_headers(MESSAGE, [OLD, NEW], now=datetime.now(UTC))
    assert headers["webhook-id"] == "job-1"
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(MESSAGE.body, headers) == {"headline": "Frühling"}


def test_signature_is_that_of_the_published_example() -> None:
    """The example that the Standard Webhooks libraries test themselves with."""
    message = Message(b'{"test": 2432232314}', "application/json", "msg_p5jXN8AQM9LWM0D4loKWxJek")
    headers = signed_headers(message, [OLD], now=datetime.fromtimestamp(1614265330, UTC))
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_secret_without_its_padding_is_the_same_secret() -> None:
    now = datetime.now(UTC)
    padded = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    headers = signed_headers(MESSAGE, [padded.rstrip("=")], now=now)
    assert headers == signed_headers(MESSAGE, [padded], now=now)
    assert Webhook(padded).verify(MESSAGE.body, headers)


def test_another_secret_or_body_does_not_verify() -> None:
    headers = signed_headers(MESSAGE, [OLD], now=datetime.now(UTC))
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(MESSAGE.body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(MESSAGE.body + b" ", headers)


def test_a_retry_keeps_the_id_and_has_a_new_timestamp() -> None:
    now = datetime.now(UTC)
    first = signed_headers(MESSAGE, [OLD], now=now - timedelta(hours=2))
    second = signed_headers(MESSAGE, [OLD], now=now)
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 7200
    assert first["webhook-signature"] != second["webhook-signature"]
    assert Webhook(OLD).verify(MESSAGE.body, second)


def test_time_of_another_zone_is_the_same_moment() -> None:
    now = datetime.now(UTC)
    elsewhere = now.astimezone(timezone(timedelta(hours=5, minutes=30)))
    headers = signed_headers(MESSAGE, [OLD], now=elsewhere)
    assert headers == signed_headers(MESSAGE, [OLD], now=now)
    assert Webhook(OLD).verify(MESSAGE.body, headers)


def test_unsigned_message_has_id_and_timestamp() -> None:
    headers = signed_headers(MESSAGE, [], now=datetime.now(UTC))
    assert set(headers) == {"webhook-id", "webhook-timestamp"}


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_a", "whsec_é"])
def test_secret_that_cannot_be_is_named_without_quoting_it(secret: str) -> None:
    with pytest.raises(UnusableSecret) as caught:
        signed_headers(MESSAGE, [secret], now=datetime.now(UTC))
    assert str(caught.value) == "a signing secret is whsec_ followed by base64"
