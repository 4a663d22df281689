"""Two ends of one connection, both in the hands of the test."""

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from relay.net.link.prompt_stream import TlsStream


def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Within the kernel: what one end writes the other can read at once, also on a virtual clock."""
    here, there = trio.socket.socketpair()
    return trio.SocketStream(here), trio.SocketStream(there)


@asynccontextmanager
async def tcp_pair() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """A TCP connection on loopback, which can also be reset."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with (
        listener,
        await trio.open_tcp_stream(*listener.socket.getsockname()) as here,
        await listener.accept() as there,
    ):
        yield here, there


@contextmanager
def tcp_sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection on loopback, without trio."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as here,
        listener.accept()[0] as there,
    ):
        yield here, there


async def read_all(stream: trio.SocketStream) -> bytes:
    """Everything until the end of the stream."""
    return b"".join([bytes(data) async for data in stream])


@contextmanager
def narrow_pair() -> Iterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Both ends of a connection on loopback, with buffers of the kernel as small as it allows."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2_048)
    with near, far:
        ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(one)) for one in (near, far))
        yield ours, theirs


@asynccontextmanager
async def secured_pair(
    certificate: tuple[Path, Path], *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> AsyncIterator[tuple[TlsStream, trio.SSLStream[trio.SocketStream]]]:
    """Our client and trio's server over TCP with small buffers."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(*certificate)
    theirs.minimum_version = theirs.maximum_version = version
    ours = ssl.create_default_context(cafile=certificate[0])
    with narrow_pair() as (near, far):
        server = trio.SSLStream(far, theirs, server_side=True, https_compatible=True)
        client = TlsStream(near, ours, "127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            await client.do_handshake()
        yield client, server
