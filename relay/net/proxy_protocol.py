"""Reads the header of the PROXY protocol, by which a proxy says in front of all other bytes whose connection it is.

| state   | waits for                              | deadline    | then                                          |
|---------|----------------------------------------|-------------|-----------------------------------------------|
| reading | the whole header, and not a byte more  | `HEADER_S`  | the connection is served as its client's, or  |
|         |                                        |             | closed for a header that is none, or missing  |

Source: "The PROXY protocol, versions 1 & 2", HAProxy's documentation, sections 2.1 and 2.2. Version 1 is a line of at
most 107 bytes, version 2 is binary. Nothing that may follow in version 2 behind the addresses (TLV) is used here.
"""

import re
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

import trio

from relay.errors import RemoteProtocolError

CODE = "PROXY_HEADER_INVALID"
HEADER_S = 5.0
"""A proxy sends it with the first packet; the specification allows for a retransmission, which takes 3 s."""
V1_MAX_BYTES = 107
V2_MAX_BYTES = 4096
"""The specification asks for 536 bytes at least to be taken. What proxies add behind the addresses is far shorter than
this: certificates' names, ids of connections."""
_V1, _V2 = b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"
_V2_HEAD = struct.Struct(">12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC, _INET, _INET6, _UNIX = 0, 1, 2, 3
_ADDRESS_BYTES = {_UNSPEC: 0, _INET: 12, _INET6: 36, _UNIX: 216}
_VERSIONS: dict[bytes, type[IPv4Address | IPv6Address]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_PORT_MOST = 65535


class ProxyHeader(NamedTuple):
    """What the header says: `client` is the address that the proxy was connected from; None: the proxy itself, or one
    that has no address. `n_bytes` is the length of the header."""

    client: str | None
    n_bytes: int


def read_header(data: bytes) -> ProxyHeader | None:
    """Return the header at the begin of `data`; None: it is not whole yet.

    Raises RemoteProtocolError (PROXY_HEADER_INVALID) as soon as what is there can begin none, or is too long.
    """
    if data[: len(_V2)] == _V2[: len(data)]:
        return _read_v2(data)
    if data[: len(_V1)] == _V1[: len(data)]:
        return _read_v1(data)
    raise _invalid("there is none")


async def receive_client(stream: trio.SocketStream) -> str | None:
    """Return `ProxyHeader.client` of a connection, once its header is there; what follows it is left to be received.

    Raises RemoteProtocolError (PROXY_HEADER_INVALID) when it is none or does not come within HEADER_S, and
    trio.BrokenResourceError when the peer leaves before its first byte.
    """
    taken = bytearray()
    with trio.move_on_after(HEADER_S):
        while part := await _look(stream.socket):
            header = read_header(bytes(taken) + part)
            rest = len(part) if header is None else header.n_bytes - len(taken)
            try:
                taken += await stream.socket.recv(rest)  # it is there: this does not wait
            except OSError as error:
                raise trio.BrokenResourceError from error
            if header is not None:
                return header.client
        if not taken:
            raise trio.BrokenResourceError("the peer has left")
    raise _invalid("it did not come")


async def _look(connection: trio.socket.SocketType) -> bytes:
    """What can be received next, at most so much as a header can have; nothing at the end."""
    try:
        return await connection.recv(_V2_HEAD.size + V2_MAX_BYTES, socket.MSG_PEEK)
    except OSError:
        return b""


def _read_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, V1_MAX_BYTES)
    if end < 0:
        if len(data) >= V1_MAX_BYTES:
            raise _invalid("the line is too long")
        return None
    family, *rest = data[len(_V1) : end].split(b" ")
    if family == b"UNKNOWN":  # whatever follows
        return ProxyHeader(None, end + 2)
    if family not in _VERSIONS or len(rest) != 4:
        raise _invalid("the line has another form")
    client, _ = (_address(text, _VERSIONS[family]) for text in rest[:2])
    if not all(_PORT.fullmatch(port) and int(port) <= _PORT_MOST for port in rest[2:]):
        raise _invalid("a port is none")
    return ProxyHeader(client, end + 2)


def _address(text: bytes, version: type[IPv4Address | IPv6Address]) -> str:
    try:
        address = ip_address(text.decode("ascii"))
    except ValueError:
        raise _invalid("an address is none") from None
    if not isinstance(address, version) or b"%" in text:
        raise _invalid("an address is of the other family")
    return str(address)


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _V2_HEAD.size:
        return None
    _, command, kind, length = _V2_HEAD.unpack_from(data)
    family, transport = kind >> 4, kind & 0x0F
    if command not in {_LOCAL, _PROXY}:
        raise _invalid("the version or the command is another")
    if length > V2_MAX_BYTES:
        raise _invalid("it is too long")
    if command == _PROXY and (family not in _ADDRESS_BYTES or transport > 2 or length < _ADDRESS_BYTES[family]):
        raise _invalid("its family is unknown, or its addresses are missing")
    n_bytes = _V2_HEAD.size + length
    if len(data) < n_bytes:
        return None
    if command == _PROXY and family in {_INET, _INET6}:
        size = 4 if family == _INET else 16
        return ProxyHeader(str(ip_address(data[_V2_HEAD.size : _V2_HEAD.size + size])), n_bytes)
    return ProxyHeader(None, n_bytes)


def _invalid(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"the header of the PROXY protocol: {what}", CODE)
