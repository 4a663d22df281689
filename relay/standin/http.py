"""This small HTTP/1.1 server hands upgrades on with the bare socket, so that a stand-in can also misbehave.

It serves tests and the demo on the loopback interface; it is not for the open network.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11
import trio
from trio_websocket import ConnectionClosed

_READ_BYTES = 65536
_BODY_LIMIT_BYTES = 1 << 20
_IDLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its whole body. Header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with its whole body."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"

    @classmethod
    def of(cls, status: int, value: dict[str, Any] | list[Any]) -> "Response":
        """An answer in JSON."""
        return cls(status, json.dumps(value).encode())


class Rewound(trio.abc.Stream):
    """A stream that gives its first bytes, `head`, once more: the upgrade request, which a WebSocket library reads."""

    def __init__(self, head: bytes, stream: trio.SocketStream) -> None:
        self._head = head
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._head:
            await trio.lowlevel.checkpoint()
            head, self._head = self._head, b""
            return head
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


HttpHandler = Callable[[Request], Awaitable[Response]]
UpgradeHandler = Callable[[str, Rewound, trio.SocketStream], Awaitable[None]]


async def serve_connection(stream: trio.SocketStream, on_http: HttpHandler, on_upgrade: UpgradeHandler) -> None:
    """Serve one connection until either side closes it, a minute passes without a byte, or what comes is no HTTP.

    An upgrade is handed to `on_upgrade(target, stream from the request on, the socket below)`, and ends with it. Raises
    what the handlers raise.
    """
    connection = h11.Connection(h11.SERVER)
    try:
        async with stream:
            while await _serve_one(connection, stream, on_http, on_upgrade):
                connection.start_next_cycle()
    except* (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError, ConnectionClosed):
        pass


async def _serve_one(
    connection: h11.Connection, stream: trio.SocketStream, on_http: HttpHandler, on_upgrade: UpgradeHandler
) -> bool:
    """Serve one request; returns whether another may follow."""
    # h11 keeps what it has parsed to itself, and an upgrade must be handed on from its first byte.
    raw = bytearray(connection.trailing_data[0])
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            with trio.move_on_after(_IDLE_S):
                data = await stream.receive_some(_READ_BYTES)
                raw += data
                connection.receive_data(data)
                continue
            return False
        if isinstance(event, h11.Request):
            head = event
            if (b"upgrade", b"websocket") in [(name, value.lower()) for name, value in event.headers]:
                await on_upgrade(event.target.decode("ascii"), Rewound(bytes(raw), stream), stream)
                return False
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _BODY_LIMIT_BYTES:
                return False
        else:
            break
    if head is None or not isinstance(event, h11.EndOfMessage):
        return False
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
    request = Request(head.method.decode("ascii"), head.target.decode("ascii"), headers, bytes(body))
    await _answer(connection, stream, await on_http(request))
    return connection.our_state is h11.DONE and connection.their_state is h11.DONE


async def _answer(connection: h11.Connection, stream: trio.SocketStream, response: Response) -> None:
    headers = [
        ("Content-Type", response.content_type),
        ("Content-Length", str(len(response.body))),
    ]
    reason = HTTPStatus(response.status).phrase
    out = connection.send(h11.Response(status_code=response.status, headers=headers, reason=reason)) or b""
    out += connection.send(h11.Data(data=response.body)) or b""
    out += connection.send(h11.EndOfMessage()) or b""
    await stream.send_all(out)
