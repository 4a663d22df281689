"""The header of the PROXY protocol: as the specification has it, cut anywhere, and in front of a real server."""

import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import RemoteProtocolError
from relay.net import proxy_protocol
from relay.net.asgi_socket import STREAM_STATE
from relay.net.proxy_protocol import V1_MAX_BYTES, V2_MAX_BYTES, ProxyHeader, read_header
from relay.net.server_stream import Place
from tests.support.certificates import make_certificate
from tests.support.peers import serving

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
V4, V6 = "203.0.113.7", "2001:db8::7"
HIGHEST = ":".join(["ffff"] * 8)
LONGEST = f"PROXY TCP6 {HIGHEST} {HIGHEST} 65535 65535\r\n".encode()
"""The worst case for TCP6 in the specification, section 2.1."""
TLV = b"\x02\x00\x11relay.example.com"


def v2(command: int, family: int, addresses: bytes, *, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(addresses) if length is None else length) + addresses


def v2_of(client: str, behind: bytes = b"") -> bytes:
    source = ip_address(client)
    to = ip_address("192.0.2.1" if source.version == 4 else "2001:db8::1")
    family = 0x11 if source.version == 4 else 0x21
    return v2(0x21, family, source.packed + to.packed + struct.pack(">HH", 56324, 443) + behind)


GOOD = {
    b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n": V4,
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": "255.255.255.255",
    b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n": V6,
    LONGEST: HIGHEST,
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n": None,
    v2_of(V4): V4,
    v2_of(V6): V6,
    v2_of(V4, TLV * 3): V4,
    v2(0x21, 0x12, ip_address(V4).packed * 2 + b"\0\0\0\0"): V4,
    v2(0x20, 0x00, b""): None,
    v2(0x20, 0x11, ip_address(V4).packed * 2 + b"\0\0\0\0"): None,
    v2(0x20, 0xFF, b"whatever"): None,
    v2(0x21, 0x00, TLV): None,
    v2(0x21, 0x31, b"/run/client\0".ljust(216, b"\0")): None,
}
BAD = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PROXY\r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 56324\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443 1\r\n",
    b"PROXY TCP4  203.0.113.7 192.0.2.1 56324 443\r\n",
    b"PROXY TCP4 203.0.113.007 192.0.2.1 56324 443\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 056324 443\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 443\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 -1 443\r\n",
    b"PROXY TCP4 2001:db8::7 192.0.2.1 56324 443\r\n",
    b"PROXY TCP6 2001:db8::7%eth0 2001:db8::1 56324 443\r\n",
    b"PROXY TCP4 203.0.113.\xb2 192.0.2.1 56324 443\r\n",
    b"PROXY UDP4 203.0.113.7 192.0.2.1 56324 443\r\n",
    b"proxy TCP4 203.0.113.7 192.0.2.1 56324 443\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\n".ljust(V1_MAX_BYTES),
    b"PROXY UNKNOWN ".ljust(V1_MAX_BYTES, b"x"),
    v2(0x11, 0x11, bytes(12)),
    v2(0x22, 0x11, bytes(12)),
    v2(0x21, 0x41, bytes(216)),
    v2(0x21, 0x13, bytes(12)),
    v2(0x21, 0x11, bytes(11)),
    v2(0x21, 0x21, bytes(35)),
    v2(0x21, 0x31, bytes(215)),
    v2(0x21, 0x11, b"", length=V2_MAX_BYTES + 1),
    v2(0x20, 0x00, b"", length=0xFFFF),
]
REQUEST = b"GET / HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(("header", "client"), GOOD.items())
@pytest.mark.parametrize("behind", [b"", REQUEST, SIGNATURE])
def test_a_header_names_the_client_and_ends_where_it_ends(header: bytes, client: str | None, behind: bytes) -> None:
    assert read_header(header + behind) == ProxyHeader(client, len(header))
    assert [read_header(header[:cut]) for cut in range(len(header))] == [None] * len(header)


@pytest.mark.parametrize("data", BAD)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_header(data)

    assert caught.value.code == "PROXY_HEADER_INVALID"


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=300), st.booleans())
def test_any_client_is_named_in_both_versions(client: Any, port: int, behind: bytes, binary: bool) -> None:
    to = "192.0.2.1" if client.version == 4 else "2001:db8::1"
    line = f"PROXY TCP{client.version} {client} {to} {port} 443\r\n".encode()
    header = v2_of(str(client), behind) if binary else line

    assert read_header(header + behind) == ProxyHeader(str(client), len(header))


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_whatever_comes_is_a_header_or_the_begin_of_one_or_refused_for_good(data: bytes, begin: bytes) -> None:
    """What was refused stays refused, and what was read stays read, whatever follows."""
    whole = begin + data
    seen: set[ProxyHeader | str] = set()
    for cut in range(len(whole) + 1):
        try:
            header = read_header(whole[:cut])
        except RemoteProtocolError:
            seen.add("refused")
        else:
            assert header is None or header.n_bytes <= cut
            assert header is not None or not seen
            seen |= {header} if header is not None else set()
    assert len(seen) <= 1


# -- in front of a server


async def tell_peer(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers whose connection it is."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"peer={scope['state'][STREAM_STATE].peer};".encode()})


async def asked(port: int, *parts: bytes, tls: ssl.SSLContext | None = None) -> str:
    """What is answered to the parts of a header, each in a packet of its own, and a request behind them."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for part in parts:
            await stream.send_all(part)
            await trio.sleep(0.001)
        over: Any = stream if tls is None else trio.SSLStream(stream, tls, server_hostname="127.0.0.1")
        answer = bytearray()
        with trio.fail_after(20):
            try:
                await over.send_all(REQUEST)
                while part := await over.receive_some():
                    answer += part
            except trio.BrokenResourceError:
                pass
        return answer.decode().partition("peer=")[2].partition(";")[0] or answer.decode()[:12]


async def test_a_proxy_names_the_client_however_its_header_is_cut() -> None:
    failures: list[str] = []
    async with serving(tell_peer, is_proxy=lambda peer: peer == "127.0.0.1", failed=failures.append) as port:
        line, binary = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n", v2_of(V6, TLV)
        one_by_one = [bytes([byte]) for byte in line]
        found = [await asked(port, line), await asked(port, binary), await asked(port, *one_by_one)]
        itself = [await asked(port, b"PROXY UNKNOWN\r\n"), await asked(port, v2(0x20, 0x00, TLV))]

    assert found == [V4, V6, V4]
    assert itself == ["127.0.0.1"] * 2
    assert failures == []


@pytest.mark.parametrize("header", [b"", b"PROXY NOTHING\r\n", v2(0x20, 0x00, b"", length=0xFFFF), v2_of(V4)[:20]])
async def test_a_proxy_without_a_whole_header_is_closed_and_others_go_on(
    header: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_protocol, "HEADER_S", 0.3)
    failures: list[str] = []
    async with serving(tell_peer, is_proxy=lambda _: True, failed=failures.append) as port:
        if header == v2_of(V4)[:20]:
            async with await trio.open_tcp_stream("127.0.0.1", port) as slow:
                await slow.send_all(header)
                with trio.fail_after(10):
                    assert await slow.receive_some() == b""
        else:
            assert await asked(port, header) == ""
        assert await asked(port, v2_of(V4)) == V4

    assert failures == ["PROXY_HEADER_INVALID"]


async def test_who_looks_only_whether_somebody_listens_is_no_failure() -> None:
    failures: list[str] = []
    async with serving(tell_peer, is_proxy=lambda _: True, failed=failures.append) as port:
        await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
        assert await asked(port, v2_of(V4)) == V4

    assert failures == []


async def test_a_proxy_whose_place_is_given_away_meanwhile_is_closed_and_others_go_on() -> None:
    closing: list[Callable[[], None]] = []

    @contextmanager
    def admit(_peer: str, close: Callable[[], None]) -> Iterator[Place]:
        closing.append(close)
        yield Place()

    failures: list[str] = []
    async with serving(tell_peer, is_proxy=lambda _: True, admit=admit, failed=failures.append) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as waiting:
            await waiting.send_all(b"PROXY ")
            while not closing:  # noqa: ASYNC110 - a test has no event for this
                await trio.sleep(0.01)
            await trio.sleep(0.05)
            closing[0]()
            with trio.fail_after(10):
                assert await waiting.receive_some() == b""
        assert await asked(port, v2_of(V4)) == V4

    assert failures == []


async def test_of_anybody_else_no_header_is_believed() -> None:
    async with serving(tell_peer, is_proxy=lambda _: False) as port:
        assert await asked(port, v2_of(V4)) in {"", "HTTP/1.1 400"}
        assert await asked(port) == "127.0.0.1"


async def test_the_header_stands_before_tls(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(*certificate)
    theirs = ssl.create_default_context(cafile=certificate[0])
    async with serving(tell_peer, is_proxy=lambda _: True, tls=lambda: ours) as port:
        assert await asked(port, v2_of(V6), tls=theirs) == V6
