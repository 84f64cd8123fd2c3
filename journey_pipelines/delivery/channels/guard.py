"""Webhooks must not reach into the private network: only public addresses at port 443, and what the settings allow by name.

A name is resolved once, and the connection goes to the address that was checked, with the name kept for TLS and Host: a second look-up
could answer differently (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Collection

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

HTTPS = 443
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.ip_network("::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refused(ValueError):
    """A URL that webhooks must not call."""


def is_public(address: Address) -> bool:
    """Reachable by anybody; an IPv4 address inside an IPv6 one (mapped, 6to4, Teredo, NAT64) counts as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner: list[ipaddress.IPv4Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        found = [one for one in inner if one is not None]
        if found:
            return all(is_public(one) for one in found)
        if address in _NAT64_LOCAL or address in _COMPATIBLE:
            return False
    return address.is_global and not address.is_multicast


class Guard(AbstractResolver):
    """`allow`: `host:port` pairs that may be called whatever their address, as the settings name them."""

    def __init__(self, allow: Collection[str] = ()) -> None:
        self._allow = {_pair(*pair.strip().rpartition(":")[::2]) for pair in allow}

    def check(self, text: str) -> URL:
        """The URL, if its form allows calling it; its address is checked when it is resolved. Raises Refused."""
        try:
            url = URL(text)
        except ValueError as error:
            raise Refused(f"bad address: {error}") from None
        if url.scheme not in ("http", "https") or not url.host or url.port is None:
            raise Refused("bad address: expected https://host/path")
        if url.user is not None or url.password is not None:
            raise Refused("bad address: no user or password in a webhook's URL, use a header")
        if self._allowed(url.host, url.port):
            return url
        if url.scheme != "https" or url.port != HTTPS:
            raise Refused(
                f"refused: {url.scheme} at port {url.port} of {url.host}; expected https at port 443, "
                f"or {url.host}:{url.port} in JOURNEYS_WEBHOOK_ALLOW"
            )
        try:
            literal = ipaddress.ip_address(url.host)
        except ValueError:
            return url
        if not is_public(literal):
            raise Refused(f"refused: {url.host} is not a public address")
        return url

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        usable = [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST)
            for kind, _, proto, _, address in found
            if self._allowed(host, port) or is_public(ipaddress.ip_address(str(address[0]).partition("%")[0]))
        ]
        if not usable:
            raise Refused(f"refused: {host} is not at a public address")
        return usable

    async def close(self) -> None:
        """Nothing is held."""

    def _allowed(self, host: str, port: int) -> bool:
        return _pair(host, port) in self._allow


def _pair(host: str, port: int | str) -> str:
    return f"{host.strip('[]').lower()} {port}"
