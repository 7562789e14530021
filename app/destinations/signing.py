"""The headers that prove who sent a message: Standard Webhooks (https://www.standardwebhooks.com).

Pure: the time is handed in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from app.destinations.message import Message


class UnusableSecret(ValueError):
    """A signing secret is not `whsec_` and base64; the message does not quote it."""


def signed_headers(message: Message, secrets: Sequence[str], *, now: datetime) -> dict[str, str]:
    """`webhook-id` and `webhook-timestamp`, and `webhook-signature` where there are secrets.

    One signature for each secret, so that a receiver that knows only the old or the new one can
    verify while they are exchanged. `now` must be aware and of this attempt: receivers refuse
    timestamps that are more than 5 minutes away. Raises UnusableSecret.
    """
    timestamp = str(int(now.timestamp()))
    headers = {"webhook-id": message.webhook_id, "webhook-timestamp": timestamp}
    if secrets:
        signed = b".".join((message.webhook_id.encode(), timestamp.encode(), message.body))
        headers["webhook-signature"] = " ".join(_signature(secret, signed) for secret in secrets)
    return headers


def _signature(secret: str, signed: bytes) -> str:
    try:
        # Secrets may come without their padding; what is too much of it is passed over.
        key = base64.b64decode(secret.removeprefix("whsec_") + "==")
    except ValueError:
        key = b""
    if not key:
        raise UnusableSecret("a signing secret is whsec_ followed by base64")
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
