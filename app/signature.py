"""Tells whether a body is signed with one of our webhook secrets.

Pure: bytes and text in, an exception or nothing out.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from hashlib import sha256

from app.errors import WebhookRejected

# https://amplience.com/developers/docs/knowledge-center/faqs/webhook/
HEADER = "X-Amplience-Webhook-Signature"


def sign(body: bytes, secret: str) -> str:
    """The signature that Amplience sends for these raw bytes.

    Base64 (standard alphabet, padded) of HMAC-SHA256. The secret is used as text: it is not hex- or
    base64-decoded first (`WebhookSignature.ts` in amplience/dc-management-sdk-js).
    """
    return base64.b64encode(_digest(body, secret)).decode("ascii")


def verify(body: bytes, header: str | None, secrets: Sequence[str]) -> None:
    """Return if `header` signs `body` with one of `secrets`; else raise `WebhookRejected` (401).

    `body` must be the raw bytes as received. Every secret is tried in constant time, so that the
    time taken tells neither which one fits nor how near a guess came. Without a secret nothing is
    let in: an empty one would be a signature that anybody can make.
    """
    usable = [secret for secret in secrets if secret]
    if not usable:
        raise _rejected("signature-no-secret", "No webhook secret is configured for this hub.")
    if header is None or not header.strip():
        raise _rejected("signature-missing", f"The header {HEADER} is missing.")
    given = _decoded(header.strip())
    matches = 0
    for secret in usable:
        matches += hmac.compare_digest(_digest(body, secret), given)
    if not matches:
        raise _rejected(
            "signature-mismatch",
            "The signature does not belong to this body and any current secret of this hub.",
        )


def _digest(body: bytes, secret: str) -> bytes:
    return hmac.new(secret.encode("utf-8"), body, sha256).digest()


def _decoded(header: str) -> bytes:
    try:
        given = base64.b64decode(header, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        given = b""
    if len(given) != sha256().digest_size:
        raise _rejected(
            "signature-malformed", f"{HEADER} is not the base64 of a SHA-256 digest (44 letters)."
        )
    return given


def _rejected(reason: str, detail: str) -> WebhookRejected:
    return WebhookRejected(status=401, reason=reason, detail=detail)
