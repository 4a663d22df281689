"""Whose request it is, in every form in which sockets and proxies write an address."""

from ipaddress import IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.client_address import NOBODY, TrustedProxies, parse_address, parse_network

PROXY = "127.0.0.1"
LOCAL = TrustedProxies(("127.0.0.1", "::1"))
CLIENT = "198.51.100.1"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.5", "203.0.113.5"),
        (" 203.0.113.5 ", "203.0.113.5"),
        ("203.0.113.5:4711", "203.0.113.5"),
        ('"203.0.113.5:4711"', "203.0.113.5"),
        ("[203.0.113.5]:4711", "203.0.113.5"),
        ("2001:db8::9", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ('"[2001:db8::9]:4711"', "2001:db8::9"),
        ("fe80::9%eth0", "fe80::9"),
        ("[fe80::9%25eth0]:4711", "fe80::9"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("[::ffff:cb00:7105]:4711", "203.0.113.5"),
        ("::ffff:203.0.113.5%eth0", "203.0.113.5"),
    ],
)
def test_an_address_is_read_without_port_brackets_quotes_and_zone(text: str, address: str) -> None:
    assert parse_address(text) == ip_address(address)


@pytest.mark.parametrize(
    "text",
    ["", "unknown", "_hidden", "203.0.113", "203.0.113.5:", "203.0.113.5:x", "203.0.113.5:123456", "[2001:db8::9",
     "[2001:db8::9]x", "[]", "[]:80", ":80", "%", "relay.example.com", "1" * 5000, "\xff"],
)  # fmt: skip
def test_what_is_no_address_is_none(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", [CLIENT], "203.0.113.5"),
        (PROXY, [], PROXY),
        (PROXY, [""], PROXY),
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [f"{CLIENT}:4711"], CLIENT),
        (PROXY, [f"10.0.0.1, {CLIENT}"], CLIENT),
        (PROXY, ["10.0.0.1", CLIENT], CLIENT),
        (PROXY, ["10.0.0.1, 10.0.0.2", f"10.0.0.3, {CLIENT}"], CLIENT),
        (PROXY, [f"{CLIENT}, 127.0.0.1"], CLIENT),
        (PROXY, [CLIENT, "127.0.0.1:80"], CLIENT),
        (PROXY, ["127.0.0.1"], PROXY),
        (PROXY, ["unknown"], PROXY),
        (PROXY, [f"{CLIENT}, unknown"], PROXY),
        ("::ffff:127.0.0.1", [CLIENT], CLIENT),
        ("::1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ("::1", ["[2001:db8:1:2:3:4:5:6]:4711"], "2001:db8:1:2::/64"),
        ("::1", ["fe80::9%eth0"], "fe80::/64"),
        ("fe80::9%eth0", [], "fe80::/64"),
        ("2001:db8:1:2::9", [], "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.5", [], "203.0.113.5"),
        ("", [CLIENT], NOBODY),
    ],
)
def test_a_request_is_its_peers_or_whom_trusted_proxies_name(peer: str, lines: list[str], client: str) -> None:
    assert LOCAL.client_of(peer, lines) == client


@pytest.mark.parametrize(
    ("peer", "named", "client"),
    [
        ("172.17.0.1", CLIENT, CLIENT),
        ("172.31.255.255", f"{CLIENT}, 172.20.0.9", CLIENT),
        ("::ffff:172.17.0.1", CLIENT, CLIENT),
        ("172.17.0.1", f"{CLIENT}, ::ffff:172.20.0.9", CLIENT),
        ("fd12:3456::9", CLIENT, CLIENT),
        ("203.0.113.7", CLIENT, CLIENT),
        ("10.1.2.3", CLIENT, CLIENT),
        ("172.32.0.1", CLIENT, "172.32.0.1"),
        ("203.0.113.8", CLIENT, "203.0.113.8"),
        (PROXY, CLIENT, PROXY),
    ],
)
def test_a_trusted_proxy_may_be_anywhere_in_a_network(peer: str, named: str, client: str) -> None:
    proxies = TrustedProxies(("172.16.0.0/12", "fd00::/8", "203.0.113.7", "::ffff:10.1.2.0/120"))

    assert proxies.client_of(peer, [named]) == client
    assert proxies.trusts(peer) == (client == CLIENT)


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert TrustedProxies(()).client_of(PROXY, [CLIENT]) == PROXY


@pytest.mark.parametrize("text", ["", "proxy", "10.0.0.0/33", "10.0.0.1/8", "10.1.2.3:80"])
def test_a_network_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        parse_network(text)


HEADERS = st.lists(st.text(max_size=60), max_size=4)


@given(peer=st.text(max_size=60), lines=HEADERS)
def test_whatever_is_written_there_is_one_client(peer: str, lines: list[str]) -> None:
    client = LOCAL.client_of(peer, lines)

    assert client == NOBODY or str(parse_network(client)) in {client, f"{client}/32"}


@given(client=st.ip_addresses(), invented=HEADERS, port=st.integers(0, 65535), brackets=st.booleans())
def test_what_the_client_invents_before_its_address_changes_nothing(
    client: IPv6Address, invented: list[str], port: int, brackets: bool
) -> None:
    written = f"[{client}]:{port}" if brackets else str(client)
    if LOCAL.trusts(str(client)):
        return

    assert LOCAL.client_of(PROXY, [*invented, written]) == LOCAL.client_of(str(client), [])


@given(network=st.integers(0, 2**64 - 1), first=st.integers(0, 2**64 - 1), second=st.integers(0, 2**64 - 1))
def test_all_addresses_of_one_customer_are_one_client(network: int, first: int, second: int) -> None:
    one, other = (str(IPv6Address((network << 64) | host)) for host in (first, second))
    if network == 0:
        return  # the block of loopback and of mapped IPv4 addresses

    assert TrustedProxies(()).client_of(one, []) == TrustedProxies(()).client_of(other, [])
