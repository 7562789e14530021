"""One exchange with a destination over HTTP: bytes go out, a status and some bytes come back.

It is urllib3 alone, which `requests` is made of, because what `requests` does around a call costs
more than the call: there are no cookies, redirects, hooks or proxies to mind. Addresses are read as
`requests` reads them.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import requests
from requests.structures import CaseInsensitiveDict
from requests.utils import check_header_validity
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    SSLError,
    TimeoutError,  # noqa: A004 - urllib3 has a name for its own
)
from urllib3.util import Timeout

from app.config import Destination
from app.destinations.connection import DestinationPools, Trust
from app.destinations.rendering import Request

LONGEST_BODY = 64 * 1024
GZIPPED = ("Content-Encoding", "gzip")


def exchange(
    pools: DestinationPools,
    destination: Destination,
    request: Request,
    headers: CaseInsensitiveDict[str],
) -> tuple[int, Mapping[str, str], bytes]:
    """Send `request` with these headers, to which a few are added, and read what is answered.

    Returns the status, the answer's headers in any case, and the beginning of its body. Raises
    `ValueError` for an address or a header that cannot be used, `AddressRefused`, and `OSError` or
    urllib3's `HTTPError` when there is no answer; `what_happened` has words for these.
    """
    address = _address(request.url)
    # The same bytes make the same compressed ones: there is no time in them.
    body = gzip.compress(request.body, mtime=0) if GZIPPED in headers.items() else request.body
    headers["Content-Length"] = str(len(body))
    if address.authorization:
        headers["Authorization"] = address.authorization
    for header in headers.items():
        check_header_validity(header)
        # A ValueError before anything is dialled.
        header[1].encode("latin-1")
    trust = Trust(destination.ca_file, destination.client_cert, destination.client_key)
    response = pools.pool(address.scheme, address.host, address.port, trust).urlopen(
        request.method,
        address.path,
        body=body or None,
        headers=headers,
        # No shorter one for connecting: urllib3 would apply that to sending the body as well.
        timeout=Timeout(total=destination.timeout),
        retries=False,
        redirect=False,
        assert_same_host=False,
        preload_content=False,
    )
    try:
        return response.status, response.headers, _read(response)
    finally:
        response.close()
        response.release_conn()


@dataclass(frozen=True)
class _Address:
    """An address in the parts that a call is made of."""

    scheme: str
    host: str
    port: int | None
    path: str
    authorization: str | None


@lru_cache(maxsize=256)
def _address(url: str) -> _Address:
    """Read it as `requests` does; raises `ValueError` for one that cannot be used.

    Kept, because to read it anew for each call costs a tenth of the call.
    """
    prepared = requests.PreparedRequest()
    prepared.prepare(method="GET", url=url)
    parts = urlsplit(str(prepared.url))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("neither http nor https")
    authorization = prepared.headers.get("Authorization")
    return _Address(parts.scheme, parts.hostname, parts.port, prepared.path_url, authorization)


def _read(response: BaseHTTPResponse) -> bytes:
    """The body's beginning. One that breaks off is no failure: the status has been given."""
    body = bytearray()
    try:
        for chunk in response.stream(8192, decode_content=True):
            body += chunk
            if len(body) >= LONGEST_BODY:
                break
    except (HTTPError, OSError):
        # The connection is broken or slow; the caller closes it, so that nobody gets it again.
        pass
    return bytes(body[:LONGEST_BODY])


def timed_out(problem: Exception) -> bool:
    """Tell whether there was no answer in time."""
    # To urllib3, every failure to connect is a time-out.
    return isinstance(problem, TimeoutError) and not isinstance(problem, NewConnectionError)


def what_happened(problem: Exception) -> str:
    """A few words on why there was no answer; never the error's own text, which has the address."""
    if isinstance(problem, SSLError):
        return "TLS failed"
    if timed_out(problem):
        return "timed out"
    if isinstance(problem, ConnectTimeoutError):
        return "could not connect"
    broken = isinstance(problem, HTTPError)
    return "connection broke" if broken else "a certificate file cannot be read"
