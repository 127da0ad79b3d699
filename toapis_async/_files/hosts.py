"""Which addresses pictures are fetched from: a URL in an answer must not lead into the user's own network."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import urlsplit

_TRANSLATED: Final = IPv6Network("64:ff9b::/96")  # IPv4 addresses in networks that speak only IPv6
# Translation inside a network, the old private addresses, and two old ways to write IPv4 ones.
_LOCAL: Final = tuple(map(IPv6Network, ("64:ff9b:1::/48", "fec0::/10", "::/96", "::ffff:0:0:0/96")))


class PrivateAddressError(OSError):
    """A connection to a loopback, private or link-local address was refused, here."""

    def __init__(self) -> None:
        # The same text for every address of a host: aiohttp keeps an exception only if all of them are alike.
        super().__init__("it is at a private address, and the service is not")


class AddressGuard:
    """Makes the sockets of a connector, to public addresses only, unless the service itself is at a private one.

    It sees the very address that is connected to, so that neither a redirect nor a name that changes between
    two look-ups gets past it.
    """

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._allows_private = self._host == "localhost" or self._host.endswith(".localhost")
        self._has_asked = False
        self._asking = asyncio.Lock()
        with suppress(ValueError):
            ip_address(self._host)
            self._has_asked = True
            self._allows_private = not is_public(self._host)

    def open_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Make a socket for an address as `getaddrinfo` gives it; aiohttp's `socket_factory`.

        Raises:
            PrivateAddressError: the address is not to be connected to.

        """
        family, kind, protocol, _, address = info
        if not self._allows_private and not is_public(str(address[0])):
            raise PrivateAddressError
        return socket.socket(family, kind, protocol)

    async def relents(self) -> bool:
        """Look up where the service is, once, when an address was refused; returns whether to try again.

        In a company's network, or behind a proxy that invents addresses, its name may stand for a private one.
        """
        async with self._asking:
            if not self._has_asked:
                loop = asyncio.get_running_loop()
                with suppress(OSError, UnicodeError):
                    found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                    self._allows_private = any(not is_public(str(info[4][0])) for info in found)
                self._has_asked = True
        return self._allows_private


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet; what cannot be read as one does not."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and any(found in network for network in _LOCAL):
        return False
    inner = _ipv4_inside(found) if isinstance(found, IPv6Address) else found
    return found.is_multicast is False and (found if inner is None else inner).is_global


def _ipv4_inside(address: IPv6Address) -> IPv4Address | None:
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
