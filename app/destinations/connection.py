"""How a destination is dialled: never a private address unless allowed, never without an end.

A destination's address is chosen by configuration and its name is resolved by somebody else's
DNS, so the check is made on the addresses that the name has at the moment of connecting, and one of
exactly these is dialled: a name that changes in between gains nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requests.adapters import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from app.transport import POOL_CLASSES, DeadlineConnection

# They share the time for connecting, and each needs enough of it.
MOST_ADDRESSES = 3

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# All that is public in IPv6 is in here (RFC 4291, section 2.4); IPv4 addresses in forms that were
# given up, and what routers translate, is not.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
# Documentation (RFC 9637), which `ipaddress` does not know yet, and the relays of 6to4 (RFC 7526).
_RETIRED = (ipaddress.ip_network("3fff::/20"), ipaddress.ip_network("192.88.99.0/24"))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Azure's metadata and DNS service: a global address by its number, private by what it is.
_METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})


class AddressRefused(Exception):
    """The host, or every address that it has, is private, and the destination may not be."""


# Names that stand for this machine, its network or its cloud, whatever a resolver makes of them
# (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`, Kubernetes).
_PRIVATE_NAMES = frozenset({"metadata", "instance-data"})
_PRIVATE_ENDINGS = frozenset(
    {"localhost", "localdomain", "local", "internal", "home.arpa", "svc", "cluster.local"}
)
# A part of a name, in the form that is asked of DNS; IPv6 is taken out before.
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


def is_public(address: IPAddress) -> bool:
    """Whether an address belongs to the public internet, also where it wraps an IPv4 address.

    Private, loopback, link-local (with the clouds' metadata services), shared, multicast and
    reserved addresses do not, by the registries that `ipaddress` follows (RFC 6890); nor does what
    Teredo tunnels (RFC 4380), whose end nobody can tell.
    """
    inner = _wrapped_ipv4(address)
    if inner is not None:
        return is_public(inner)
    if isinstance(address, ipaddress.IPv6Address) and (
        address not in _GLOBAL_UNICAST or address.teredo is not None
    ):
        return False
    if any(address in network for network in _RETIRED):
        return False
    return address.is_global and not address.is_multicast and address not in _METADATA


def is_private_name(host: str) -> bool:
    """Whether a host is refused by its name alone, or is an address that is not public.

    Takes what stands in a URL, in every form that a resolver would take for an address: `127.1`,
    `0x7f000001`, `017700000001`, `2130706433`, full-width digits, a zone, a dot at the end. Raises
    `ValueError` for what is no name at all.
    """
    name = unicodedata.normalize("NFKC", host).strip("[]").rstrip(".").lower()
    address = _literal(name)
    if address is not None:
        return not is_public(address)
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("this is no host")
    endings = {".".join(labels[at:]) for at in range(len(labels))}
    return name in _PRIVATE_NAMES or not endings.isdisjoint(_PRIVATE_ENDINGS)


def refuse_private(host: str, port: int | None) -> None:
    """Raise `AddressRefused` unless every address of `host` is public.

    For what is dialled by others: they look the name up again, so the guard of our own connections
    is tighter. Raises `OSError` where the name is not known, `ValueError` where it is none.
    """
    if is_private_name(host):
        raise AddressRefused
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not all(is_public(_parsed(str(entry[4][0]))) for entry in found):
        raise AddressRefused


def _literal(name: str) -> IPAddress | None:
    """The address that a host is, if it is one; as the C library reads it, where that is laxer."""
    try:
        return _parsed(name)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name)) if "%" not in name else None
    except (OSError, UnicodeError):
        return None


def _wrapped_ipv4(address: IPAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to: mapped, 6to4 or NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


class GuardedConnection(DeadlineConnection):
    """A connection to addresses that it `allows` alone: the public ones."""

    allows = staticmethod(is_public)
    refuses = staticmethod(is_private_name)

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        if self.refuses(name):
            raise AddressRefused
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


class _GuardedTls(GuardedConnection, HTTPSConnection):
    pass


@dataclass(frozen=True)
class Trust:
    """Whom a connection trusts, and how it proves who we are: paths of PEM files."""

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None

    def as_settings(self) -> dict[str, Any]:
        """The same in urllib3's words. Raises `OSError` when a file is not there."""
        for path in (self.ca_file, self.client_cert, self.client_key):
            if path is not None and not Path(path).exists():
                raise FileNotFoundError(path)
        trusted = self.ca_file or DEFAULT_CA_BUNDLE_PATH
        return {
            "cert_reqs": "CERT_REQUIRED",
            "ca_cert_dir" if Path(trusted).is_dir() else "ca_certs": trusted,
            "cert_file": self.client_cert,
            "key_file": self.client_key,
        }


class _GuardedPool(HTTPConnectionPool):
    ConnectionCls = GuardedConnection


class _GuardedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTls


class DestinationPools:
    """Kept connections; `allow_private` of False refuses private addresses.

    A connection that was checked when it was made is kept and used again, so senders that allow
    and senders that do not must not share one of these. Give `urllib3.Timeout(total=...)` as the
    timeout of a call: it bounds the whole exchange, also against a peer that sends a byte now and
    then.
    """

    def __init__(self, *, allow_private: bool, pools: int, pool_size: int) -> None:
        self._manager = PoolManager(num_pools=pools, maxsize=pool_size)
        self._manager.pool_classes_by_scheme = (
            POOL_CLASSES if allow_private else {"http": _GuardedPool, "https": _GuardedTlsPool}
        )

    def pool(self, scheme: str, host: str, port: int | None, trust: Trust) -> HTTPConnectionPool:
        """The connections to a host; those made with another `trust` are not among them.

        Raises `OSError` when a file of `trust` is not there.
        """
        if scheme == "http":
            return self._manager.connection_from_host(host, port, scheme)
        return self._manager.connection_from_host(host, port, scheme, trust.as_settings())

    def close(self) -> None:
        """Close the kept connections."""
        self._manager.clear()


def _parsed(address: str) -> IPAddress:
    # `fe80::1%eth0` carries the name of an interface.
    return ipaddress.ip_address(address.partition("%")[0])
