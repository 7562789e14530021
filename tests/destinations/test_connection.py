from __future__ import annotations

import ipaddress
import socket
from contextlib import closing

import pytest
from urllib3.exceptions import NewConnectionError

from app.destinations.connection import AddressRefused, GuardedConnection, is_public


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "2606:4700::6810:84e5", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",  # noqa: S104 (nothing is bound)
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "100.100.100.200",
        "169.254.169.254",
        "168.63.129.16",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:168.63.129.16",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "::127.0.0.1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


class LoopbackConnection(GuardedConnection):
    """Takes two addresses of this machine for public; its name has them and one that is not."""

    allows = staticmethod(lambda address: str(address) in ("127.0.0.1", "::1"))

    def _resolve(self, name: str) -> list[str]:
        return ["127.0.0.3", "::1", "127.0.0.1"] if name == "some.example" else [name]


def _connection(port: int, host: str = "some.example") -> LoopbackConnection:
    return LoopbackConnection(host, port, timeout=2.0)


def test_next_allowed_address_is_dialled_and_the_name_is_kept() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        connection = _connection(listening.getsockname()[1])
        with closing(connection):
            connection.connect()
            assert connection.sock.getpeername()[0] == "127.0.0.1"
            assert connection.sock.gettimeout() == connection.timeout == 2.0
            assert connection.host == "some.example"


def test_name_is_kept_when_nobody_answers() -> None:
    with closing(socket.create_server(("127.0.0.3", 0))) as listening:
        connection = _connection(listening.getsockname()[1])
        with pytest.raises(NewConnectionError):
            connection.connect()
        assert (connection.host, connection.timeout) == ("some.example", 2.0)
        # The one address that does answer is the one that is not allowed.
        listening.settimeout(0.05)
        with pytest.raises(TimeoutError):
            listening.accept()


def test_name_with_private_addresses_alone_is_refused() -> None:
    with pytest.raises(AddressRefused):
        _connection(9, "127.0.0.3").connect()
