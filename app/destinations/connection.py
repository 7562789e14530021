"""How a destination is dialled: never a private address unless allowed, never without an end.

A destination's address is chosen by configuration and its name is resolved by somebody else's
DNS, so the check is made on the addresses that the name has at the moment of connecting, and one of
exactly these is dialled: a name that changes in between gains nothing.

This module must not know what is sent.
"""

from __future__ import annotations

import io
import ipaddress
import socket
import time
from functools import partial
from http.client import HTTPResponse
from typing import Any, cast

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

# They share the time for connecting, and each needs enough of it.
MOST_ADDRESSES = 3

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# IPv4 addresses in a form that was given up (RFC 4291, section 2.5.5.1): nothing public is there.
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Azure's metadata and DNS service: a global address by its number, private by what it is.
_METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})


class AddressRefused(Exception):
    """Every address of the host is private, and the destination may not be."""


def is_public(address: IPAddress) -> bool:
    """Whether an address belongs to the public internet, also where it wraps an IPv4 address.

    Private, loopback, link-local (with the clouds' metadata services), shared, multicast and
    reserved addresses do not, by the registries that `ipaddress` follows (RFC 6890).
    """
    inner = _wrapped_ipv4(address)
    if inner is not None:
        return is_public(inner)
    if isinstance(address, ipaddress.IPv6Address) and (
        address.is_site_local or address in _IPV4_COMPATIBLE
    ):
        return False
    return address.is_global and not address.is_multicast and address not in _METADATA


def _wrapped_ipv4(address: IPAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to: mapped, 6to4 or NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


class _Timed(HTTPConnection):
    """A connection whose answers are read until the time is up, and no longer."""

    def getresponse(self) -> Any:
        # Here `timeout` is what connecting and sending have left of the whole time.
        if isinstance(self.timeout, (int, float)):
            end = time.monotonic() + self.timeout
            # All that http.client does with it is to call it.
            self.response_class = partial(_TimedResponse, end=end)  # type: ignore[assignment]
        return super().getresponse()


class GuardedConnection(_Timed):
    """A connection to addresses that it `allows` alone: the public ones."""

    allows = staticmethod(is_public)

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        public = [address for address in self._resolve(name) if self.allows(_parsed(address))]
        if not public:
            raise AddressRefused
        # urllib3 dials `_dns_host`, and reads the name that it checks the certificate for from
        # the same place: so the name is put back before anything else happens.
        try:
            return self._dial(public[:MOST_ADDRESSES])
        finally:
            self._dns_host = name

    def _dial(self, addresses: list[str]) -> socket.socket:
        whole = self.timeout
        if isinstance(whole, (int, float)):
            self.timeout = whole / len(addresses)
        try:
            connected = self._first_that_answers(addresses)
        finally:
            self.timeout = whole
        connected.settimeout(whole)
        return connected

    def _first_that_answers(self, addresses: list[str]) -> socket.socket:
        for address in addresses[:-1]:
            self._dns_host = address
            try:
                return super()._new_conn()
            except ConnectTimeoutError:  # to urllib3, every failure to connect is one
                continue
        self._dns_host = addresses[-1]
        return super()._new_conn()

    def _resolve(self, name: str) -> list[str]:
        try:
            found = socket.getaddrinfo(name.strip("[]"), self.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as problem:
            raise NewConnectionError(self, "the name is not known") from problem
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _TimedTls(_Timed, HTTPSConnection):
    pass


class _GuardedTls(GuardedConnection, HTTPSConnection):
    pass


class _OpenPool(HTTPConnectionPool):
    ConnectionCls = _Timed


class _OpenTlsPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTls


class _GuardedPool(HTTPConnectionPool):
    ConnectionCls = GuardedConnection


class _GuardedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTls


class DestinationAdapter(HTTPAdapter):
    """Dials for one `requests` session; `allow_private` of False refuses private addresses.

    A connection that was checked when it was made is kept and used again, so sessions that allow
    and sessions that do not must not share an adapter. Give `urllib3.Timeout(total=...)` as the
    timeout: it bounds the whole exchange, also against a peer that sends a byte now and then.
    """

    def __init__(self, *, allow_private: bool, pools: int, pool_size: int) -> None:
        self._allow_private = allow_private
        super().__init__(pool_connections=pools, pool_maxsize=pool_size)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Build the pools with our connections in them."""
        super().init_poolmanager(*args, **kwargs)
        manager = cast(PoolManager, self.poolmanager)
        manager.pool_classes_by_scheme = (
            {"http": _OpenPool, "https": _OpenTlsPool}
            if self._allow_private
            else {"http": _GuardedPool, "https": _GuardedTlsPool}
        )


def _parsed(address: str) -> IPAddress:
    # `fe80::1%eth0` carries the name of an interface.
    return ipaddress.ip_address(address.partition("%")[0])


class _UntilTheEnd(io.RawIOBase):
    """Reads a socket, and gives each read no more time than is left."""

    def __init__(self, raw: socket.SocketIO, connection: socket.socket, end: float) -> None:
        self._raw = raw
        self._connection = connection
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the destination took too long")
        self._connection.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(HTTPResponse):
    """A response that is read until `end` and no longer (a time.monotonic)."""

    def __init__(self, sock: socket.socket, *args: Any, end: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = cast(socket.SocketIO, self.fp.detach())
        self.fp = io.BufferedReader(_UntilTheEnd(raw, sock, end))
