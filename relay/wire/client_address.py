"""Finds whose request it is: the peer's, or the client's that trusted proxies name in X-Forwarded-For.

A proxy adds the address that it was asked from behind what it was given: to the last line of that header, or in a line
below it. So the addresses are read from the last to the first, for as long as a trusted proxy has written them: what
stands before those, anybody may have invented. No other header is read, because a proxy that does not write one hands
on what the client put there.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NOBODY = "unknown"
"""Who asks over a connection without an address."""
CUSTOMER_PREFIX = 64
"""What one customer of an IPv6 network has at least (RFC 6177, 2): all of it is one client."""
_TEXT_MAX = 100
_MAPPED_PREFIX = 96


class TrustedProxies:
    """The proxies that are believed. Raises ValueError for a text that is neither an address nor a network."""

    def __init__(self, proxies: Iterable[str]) -> None:
        self._networks = tuple(parse_network(proxy) for proxy in proxies)

    def trusts(self, peer: str) -> bool:
        """Whether the peer of a connection is one of them."""
        address = parse_address(peer)
        return address is not None and self._is_proxy(address)

    def client_of(self, peer: str, forwarded_for: Iterable[str]) -> str:
        """The client to count a request for: an IPv4 address, or the /64 of an IPv6 address.

        `forwarded_for` has the values of the lines of X-Forwarded-For, in their order. Where a proxy names no address
        ("unknown"), the client is that proxy.
        """
        client = parse_address(peer)
        named = [part for line in forwarded_for for part in line.split(",") if part.strip()]
        while client is not None and named and self._is_proxy(client):
            before = parse_address(named.pop())
            if before is None:
                break
            client = before
        return _counted(client)

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def parse_address(text: str) -> Address | None:
    """The address in a text as proxies write it; None if there is none.

    It may have a port, brackets (RFC 3986, 3.2.2), quotes (RFC 7239, 6) and a zone (RFC 4007, 11), which all are left
    out. An IPv4 address that a socket for both writes as one of IPv6 (RFC 4291, 2.5.5.2) is the former.
    """
    host = text.strip().strip('"')
    if host.startswith("["):
        host, bracket, port = host[1:].partition("]")
        if not bracket or (port and not _is_port(port)):
            return None
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
        if not _is_port(f":{port}"):
            return None
    if len(host) > _TEXT_MAX:
        return None
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def parse_network(text: str) -> Network:
    """A network, or an address as a network of one. One of mapped IPv4 addresses is a network of those.

    Raises ValueError.
    """
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_PREFIX:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_PREFIX))
    return network


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isascii() and text[1:].isdigit() and len(text) <= len(":65535")


def _counted(client: Address | None) -> str:
    if isinstance(client, IPv6Address):
        return str(IPv6Network((client, CUSTOMER_PREFIX), strict=False))
    return NOBODY if client is None else str(client)
