"""Send a message to a destination, once, and say what came of it.

What urllib3 raises, and every status that is not a success, leaves here as an error of
`app.errors`. Nothing that may be secret is in it: an address can be a secret as a whole (build
hooks, chat webhooks), and so can every header.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime

from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError

from app import __version__
from app.config import Destination
from app.destinations.answers import LONGEST_EXCERPT, Answer, refusal
from app.destinations.connection import AddressRefused, DestinationPools
from app.destinations.exchange import GZIPPED, exchange, timed_out, what_happened
from app.destinations.hiding import hidden, host_of, masked_url, secrets_of
from app.destinations.message import Message
from app.destinations.rendering import Request, request_of
from app.destinations.signing import UnusableSecret, signed_headers
from app.errors import DestinationRefused, DestinationUnavailable
from app.observability import tracing
from app.retry import retry_after

__all__ = [
    "PRIVATE_ADDRESS",
    "Answer",
    "DestinationClient",
    "masked_url",
]

# Hosts whose connections are kept, and connections to each: no fewer than a worker has threads.
POOLS = 64
POOL_SIZE = 64
PRIVATE_ADDRESS = (
    "address is private; set allow_private = true (FORWARD_ALLOW_PRIVATE=1) if it is yours"
)
# That it is not there, after a DELETE.
_ABSENT = frozenset({404, 410})


class DestinationClient:
    """Sends to any destination, safe to share between threads; connections are kept.

    Redirects are not followed, proxies and ~/.netrc of the environment are not used, and cookies
    are not kept.
    """

    def __init__(self) -> None:
        self._guarded = _pools(allow_private=False)
        self._open = _pools(allow_private=True)

    def close(self) -> None:
        """Close the kept connections."""
        self._guarded.close()
        self._open.close()

    def send(self, destination: Destination, message: Message, *, now: datetime) -> Answer:
        """Send `message` and return the answer, which is a 2xx.

        `now` goes into the signature and is of this attempt. Not longer than about the
        destination's `timeout`, also where it answers byte by byte; once the status is here it
        decides, and a body that does not end is cut off.

        Raises DestinationGone (410), DestinationUnavailable (408, 425, 429, 5xx, no answer; with
        `retry_after` in seconds), DestinationRefused (any other status; a private address; an
        address, header or secret that cannot be used), TemplateFailed. To a DELETE of what is gone
        404 and 410 are good answers.
        """
        request = request_of(destination, message)
        with tracing.call(request.method, host_of(request.url)) as span:
            return self._send(destination, _traced(request, span), message, span, now=now)

    def _send(
        self,
        destination: Destination,
        request: Request,
        message: Message,
        span: tracing.Span,
        *,
        now: datetime,
    ) -> Answer:
        started = time.monotonic()
        try:
            secrets = secrets_of(destination, request)
            headers = _headers(destination, request, message.webhook_id, now=now)
            pools = self._open if destination.allow_private else self._guarded
            status, answer_headers, body = exchange(pools, destination, request, headers)
        # None is chained: such errors quote the address or the header that they dislike.
        except (AddressRefused, UnusableSecret, ValueError) as problem:
            raise _unsendable(destination, request, problem) from None
        except (OSError, HTTPError) as problem:
            raise _unanswered(destination, request, problem, started) from None
        tracing.answered(span, status)
        answer = Answer(
            status=status,
            body=hidden(body.decode("utf-8", "replace"), secrets)[:LONGEST_EXCERPT],
            milliseconds=_since(started),
            method=request.method,
            url=masked_url(request.url),
            bytes=len(request.body),
        )
        absent = request.absent_is_done and status in _ABSENT
        if not 200 <= status < 300 and not absent:
            raise refusal(
                destination, answer, status, retry_after(answer_headers.get("Retry-After"))
            )
        return answer


def _pools(*, allow_private: bool) -> DestinationPools:
    return DestinationPools(allow_private=allow_private, pools=POOLS, pool_size=POOL_SIZE)


def _headers(
    destination: Destination, request: Request, webhook_id: str, *, now: datetime
) -> CaseInsensitiveDict[str]:
    """Ours, then the destination's own over them, then what no configuration may change.

    The signature is over the body before it is compressed: that is what receivers are handed.
    """
    headers: CaseInsensitiveDict[str] = CaseInsensitiveDict(
        {
            "User-Agent": f"dc-relay/{__version__}",
            "Accept": "*/*",
            # What is read is bounded; a small compressed answer could be a huge one.
            "Accept-Encoding": "identity",
            "Connection": "keep-alive",
        }
    )
    if request.content_type:
        headers["Content-Type"] = request.content_type
    headers.update(dict(request.headers))
    if destination.gzip and request.body:
        headers.update([GZIPPED])
    signed = Message(request.body, request.content_type or "", webhook_id)
    headers.update(signed_headers(signed, destination.signing_secrets, now=now))
    return headers


def _traced(request: Request, span: tracing.Span) -> Request:
    """The request with its place in a trace, unless the destination's own headers name one."""
    own = {name.lower() for name, _ in request.headers}
    if "traceparent" in own:
        return request
    ours = [header for header in tracing.headers(span).items() if header[0] not in own]
    return replace(request, headers=(*ours, *request.headers))


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _unsendable(
    destination: Destination, request: Request, problem: Exception
) -> DestinationRefused:
    where = masked_url(request.url)
    if isinstance(problem, AddressRefused):
        reason = PRIVATE_ADDRESS
    elif isinstance(problem, UnusableSecret):
        reason = str(problem)
    else:
        reason = f"the address or a header cannot be used ({type(problem).__name__})"
    return DestinationRefused(
        f"{where}: {reason}", destination=destination.name, exchange=_attempted(request)
    )


def _unanswered(
    destination: Destination, request: Request, problem: Exception, started: float
) -> DestinationUnavailable:
    return DestinationUnavailable(
        f"no answer from {masked_url(request.url)}: {what_happened(problem)}",
        destination=destination.name,
        timed_out=timed_out(problem),
        exchange={**_attempted(request), "milliseconds": _since(started)},
    )


def _attempted(request: Request) -> dict[str, object]:
    return {
        "method": request.method,
        "url": masked_url(request.url),
        "bytes": len(request.body),
    }
