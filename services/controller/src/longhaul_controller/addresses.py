"""Which addresses a webhook may go to, and connections to just those."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import httpcore2

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host. Raises OSError."""

_ADDRESSES_AT_MOST = 3
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_REFUSED = (
    ip_network("168.63.129.16/32"),  # Azure's platform: it looks public, and serves each machine its secrets
    ip_network("192.0.0.0/24"),  # IETF's, with Oracle's metadata in it; Python before 3.11.10 takes it for global
    ip_network("2001::/32"),  # Teredo
    ip_network("2002::/16"),  # 6to4: both lead to an IPv4 address that they hold
)


class AddressRefused(Exception):
    """A host has an address that is not public."""


def is_public(address: str) -> bool:
    """Whether the whole internet means the same by this address: not private, loopback, link-local (where clouds serve
    metadata), shared, multicast or reserved, also where it is an IPv4 address in IPv6's clothes."""
    found = ip_address(address)
    if isinstance(found, IPv6Address) and (found.ipv4_mapped or found in _NAT64):
        found = IPv4Address(int(found) & 0xFFFFFFFF)
    is_unicast = not found.is_multicast if isinstance(found, IPv4Address) else found in _GLOBAL_UNICAST
    return is_unicast and found.is_global and not any(found in network for network in _REFUSED)


async def resolve(executor: Executor, host: str, port: int) -> Sequence[str]:
    """As the system does it, in a thread of its own: a name server that hangs must not hold up the ledger's."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    answers = await asyncio.get_running_loop().run_in_executor(executor, ask)
    return [str(address[0]) for *_, address in answers]


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to the very address that it checked. A second look at the name could find another (DNS rebinding)."""

    def __init__(self, resolve: Resolve, *, allow_private: bool) -> None:
        self._resolve = resolve
        self._allow_private = allow_private
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises AddressRefused, where any of the host's addresses is not public; OSError; httpcore2.NetworkError."""
        addresses = await self._resolve(host, port)
        if not self._allow_private and not all(map(is_public, addresses)):
            raise AddressRefused
        failure: Exception = httpcore2.ConnectError("no address")
        for address in addresses[:_ADDRESSES_AT_MOST]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
                failure = error
        raise failure
