"""Far ends of real WebSockets: a server around an ASGI application, and a peer driven by the test."""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

from relay.net.asgi_socket import AsgiSocket
from relay.net.listen import open_listener, serve_asgi

SocketHandler = Callable[[AsgiSocket], Awaitable[None]]


@dataclass(slots=True)
class WebSocketPeer:
    """A trio-websocket connection with the ways of ending that a test wants."""

    connection: WebSocketConnection
    stream: trio.abc.Stream

    async def send(self, message: str | bytes) -> None:
        await self.connection.send_message(message)

    async def receive(self) -> str | bytes:
        return await self.connection.get_message()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.connection.aclose(code, reason)

    async def lose(self) -> None:
        """Break the connection without a goodbye: a reset where there is TCP below."""
        if isinstance(self.stream, trio.SocketStream):
            reset(self.stream)
        await trio.aclose_forcefully(self.stream)


def reset(stream: trio.SocketStream) -> None:
    """Make closing send a TCP reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def websocket_app(handler: SocketHandler) -> Any:
    """An ASGI application that lets every WebSocket in and hands it to `handler`."""

    async def accepted(asgi: AsgiSocket) -> None:
        await asgi.accept()
        asgi.admit()
        await handler(asgi)

    return raw_websocket_app(accepted)


def raw_websocket_app(handler: SocketHandler) -> Any:
    """As `websocket_app`, but accepting is left to `handler`. Plain HTTP is answered 204."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            async with AsgiSocket(scope, receive, send) as asgi:
                await handler(asgi)
        else:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    return app


async def _lifespan(receive: Any, send: Any) -> None:
    for step in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{step}.complete"})


@asynccontextmanager
async def serving(
    app: Any, *, graceful_timeout_s: float = 0.2, user_timeout_ms: int = 5000, **options: Any
) -> AsyncIterator[int]:
    """Serve on a free port of 127.0.0.1; yields the port. Shuts down, and waits for it, on leaving.

    `options` are those of `serve_asgi`.
    """
    shutdown = trio.Event()
    listener = open_listener("127.0.0.1", 0, user_timeout_ms=user_timeout_ms)
    port = listener.getsockname()[1]
    options |= {"shutdown": shutdown, "graceful_timeout_s": graceful_timeout_s}
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_asgi, app, listener, **options))
        try:
            yield port
        finally:
            shutdown.set()


@asynccontextmanager
async def dialled(
    port: int, *, path: str = "/media", headers: Any = (), tls: ssl.SSLContext | None = None, host: str = "relay.test"
) -> AsyncIterator[WebSocketPeer]:
    """A WebSocket client on loopback, over TLS if a context is given, with its TCP stream at hand."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    name = "127.0.0.1" if host == "relay.test" else host
    over = stream if tls is None else trio.SSLStream(stream, tls, server_hostname=name, https_compatible=True)
    async with stream, trio.open_nursery() as nursery:
        connection = await wrap_client_stream(
            nursery, over, host, path, extra_headers=list(headers), message_queue_size=1000
        )
        yield WebSocketPeer(connection, stream)
        with trio.move_on_after(1):
            await connection.aclose()
        nursery.cancel_scope.cancel()


async def upgraded(port: int, *headers: str, before: bytes = b"", behind: bytes = b"") -> trio.SocketStream:
    """A TCP stream that sent a WebSocket upgrade, with further header lines, and did not read the answer yet.

    `before` and `behind` are sent with it at once.
    """
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    lines = [
        "GET /media HTTP/1.1",
        "Host: relay.test",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *(headers if any(line.startswith("Connection:") for line in headers) else ("Connection: Upgrade", *headers)),
    ]
    await stream.send_all(before + "\r\n".join([*lines, "", ""]).encode("latin-1") + behind)
    return stream
