"""The headers that prove who sent a message: Standard Webhooks (https://www.standardwebhooks.com).

Pure: the time is handed in. This module must not know where a message goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from app.destinations.message import Message


class UnusableSecret(ValueError):
    """A signing secret is not `whsec_` and base64; the message does not quote it."""


def signed_headers(message: Message, secrets: Sequence[str], *, now: datetime) -> dict[str, str]:
    """`webhook-id` and `webhook-timestamp`, and `webhook-signature` where there are secrets.

    One signature for each secret, so that a receiver that knows only the old or the new one can
    verify while they are exchanged. `now` must be aware and of this attempt: receivers refuse
    timestamps that are more than 5 minutes away. Raises UnusableSecret.
    """
    # The library takes the digits of the date as UTC, whatever its zone says.
    timestamp = now.astimezone(UTC)
    headers = {
        "webhook-id": message.webhook_id,
        "webhook-timestamp": str(int(timestamp.timestamp())),
    }
    if secrets:
        headers["webhook-signature"] = " ".join(
            _signer(secret).sign(message.webhook_id, timestamp, message.body.decode())
            for secret in secrets
        )
    return headers


def _signer(secret: str) -> Webhook:
    try:
        return Webhook(secret)
    except (ValueError, EmptyWebhookSecretError):
        raise UnusableSecret("a signing secret is whsec_ followed by base64") from None
