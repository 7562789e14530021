"""Connects to a destination as its sender would, and hangs up without a word.

This module must not know what would be sent.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any, cast

from requests.adapters import DEFAULT_CA_BUNDLE_PATH
from urllib3 import PoolManager

from app.config import Destination
from app.config.request_fields import is_broker
from app.destinations.connection import DestinationAdapter


def dial(destination: Destination, *, timeout: float) -> None:
    """Open a connection (TCP, and TLS for https) with the guard of `destination`, and close it.

    Raises AddressRefused where only `allow_private` would let it through, and whatever urllib3,
    `ssl` or the socket raise when there is no connection within about `timeout` seconds.
    """
    if is_broker(destination.url):
        # An extra, which need not be there.
        from app.destinations.brokers import BrokerClient  # noqa: PLC0415

        BrokerClient().dial(replace(destination, timeout=timeout))
        return
    adapter = DestinationAdapter(allow_private=destination.allow_private, pools=1, pool_size=1)
    with closing(adapter):
        pool = cast(PoolManager, adapter.poolmanager).connection_from_url(destination.url)
        # The same trust as the sender's, who leaves the environment's proxies and bundles alone.
        tls: dict[str, Any] = {
            "cert_reqs": "CERT_REQUIRED",
            "ca_certs": destination.ca_file or DEFAULT_CA_BUNDLE_PATH,
            "cert_file": destination.client_cert,
            "key_file": destination.client_key,
        }
        connection = pool.ConnectionCls(
            pool.host, pool.port, timeout=timeout, **(tls if pool.scheme == "https" else {})
        )
        with closing(connection):
            connection.connect()
