"""Connects to a destination as its sender would, and hangs up without a word.

This module must not know what would be sent.
"""

from __future__ import annotations

from contextlib import closing

from urllib3.util import parse_url

from app.config import Destination
from app.destinations.connection import DestinationPools, Trust


def dial(destination: Destination, *, timeout: float) -> None:
    """Open a connection (TCP, and TLS for https) with the guard of `destination`, and close it.

    Raises AddressRefused where only `allow_private` would let it through, and whatever urllib3,
    `ssl` or the socket raise when there is no connection within about `timeout` seconds.
    """
    # The same trust as the sender's, who leaves the environment's proxies and bundles alone.
    trust = Trust(destination.ca_file, destination.client_cert, destination.client_key)
    pools = DestinationPools(allow_private=destination.allow_private, pools=1, pool_size=1)
    address = parse_url(destination.url)
    with closing(pools):
        pool = pools.pool(str(address.scheme), str(address.host), address.port, trust)
        tls = trust.as_settings() if pool.scheme == "https" else {}
        connection = pool.ConnectionCls(pool.host, pool.port, timeout=timeout, **tls)
        with closing(connection):
            connection.connect()
