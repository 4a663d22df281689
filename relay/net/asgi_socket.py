"""A WebSocket accepted by hypercorn, as a MessageSocket. Where hypercorn 0.18 does otherwise, that is settled here."""

import json
import struct
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import trio

from relay.errors import LegLost

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

STREAM_STATE = "relay.stream"
CLOSE_LIMIT_S = 1.0
SENDS_PER_TURN = 16
_EMPTY_LIMIT_S = 60.0
"""A last resort: what hypercorn has in hand of a broken connection, 64 KiB at most, takes milliseconds to hand on."""

_FINAL, _TEXT, _BINARY = 0x80, 1, 2


class Underneath(Protocol):
    """What the server lends of the connection itself; see ServerStream."""

    all_handed_on: trio.Event

    def write_now(self, data: bytes | bytearray) -> bool: ...

    def abort(self) -> None: ...

    def admit(self) -> None: ...

    def stop(self) -> None: ...


class AsgiSocket:
    """The server side of one WebSocket (ASGI 3.0, "WebSocket" and "WebSocket Denial Response").

    Use as `async with AsgiSocket(scope, receive, send) as socket:` then `accept()` or `refuse()` once.
    Leaving closes: 1000 normally, 1011 after an exception, 1012 when cancelled. The code hypercorn
    gives for a disconnect is 1006 whatever the peer said, so `receive` never raises LegClosed: only the
    messages in the socket tell that a call ended in order.

    `send` cannot be cancelled: hypercorn shields it, without a limit. A peer that does not read is
    given up by the kernel (TCP_USER_TIMEOUT of the listener), or by `close`.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.raw_path: str = scope["raw_path"].decode("latin-1")
        self.query: str = scope["query_string"].decode("latin-1")
        self._headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        self._can_refuse = "websocket.http.response" in (scope.get("extensions") or {})
        self._stream: Underneath = scope["state"][STREAM_STATE]
        self._receive = receive
        self._send = send
        self._receiving: trio.CancelScope | None = None
        self._sends = 0
        self._open = False
        self._answered = False
        self._closing = False
        self._gone = False

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more, as far as is known here."""
        return self._gone or self._closing

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case of letters, or None."""
        wanted = name.lower().encode("latin-1")
        for key, value in self._headers:
            if key.lower() == wanted:
                return value.decode("latin-1")
        return None

    async def __aenter__(self) -> Self:
        event = await self._receive()
        self._gone = event["type"] != "websocket.connect"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(_exit_code(error))

    async def accept(self) -> None:
        """Agree to the WebSocket. Raises LegLost if that cannot be done with what the client asked for."""
        self._answered = True
        try:
            await self._send({"type": "websocket.accept"})
        except Exception as error:  # noqa: BLE001 - whatever hypercorn makes of a hostile offer
            raise LegLost(f"handshake not possible: {type(error).__name__}") from None
        self._open = True

    def admit(self) -> None:
        """Take messages as fast as a call sends them. Before that the peer is a stranger, and is read slowly."""
        self._stream.admit()

    async def refuse(self, status: int, *, error: str, code: str) -> None:
        """Answer `status` with a JSON body instead of the upgrade; plain 403 where the server cannot."""
        self._answered = True
        self._closing = True
        if not self._can_refuse:
            await self._send({"type": "websocket.close"})
            return
        body = json.dumps({"error": error, "code": code}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        await self._send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": body})

    async def receive(self) -> str | bytes:
        """The next message; see MessageSocket."""
        if self.closed:
            await trio.lowlevel.checkpoint()
            raise LegLost("socket closed")
        with trio.CancelScope() as self._receiving:
            event = await self._receive()
        if self._receiving.cancelled_caught:
            raise LegLost("socket closed here")
        if event["type"] != "websocket.receive":
            self._gone = True
            raise LegLost("disconnected")
        data: str | bytes = event["text"] if event.get("bytes") is None else event["bytes"]
        return data

    async def send(self, message: str | bytes) -> None:
        """Write one message; see MessageSocket.

        A peer that left is only known once `receive` has said so: until then hypercorn drops the
        message silently, and without a checkpoint of its own. One of ours in every SENDS_PER_TURN
        keeps a loop of such sends from holding everybody up; one in each would cost every message a
        round of the scheduler.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.closed:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise LegLost("socket closed")
        if not self.send_now(message):
            kind = "text" if isinstance(message, str) else "bytes"
            await self._send({"type": "websocket.send", kind: message})
        self._sends += 1
        if self._sends % SENDS_PER_TURN == 0:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def send_now(self, message: str | bytes) -> bool:
        """Write one message in this instant; False, and nothing is written, when that is not possible.

        The frame goes past hypercorn, whose way to the kernel is several rounds of the scheduler long, and lies
        between two of its frames.
        """
        if self.closed or not self._open:
            return False
        return self._stream.write_now(_frame(message))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, wait for the peer's answer up to a limit, and take what hypercorn still hands on; see MessageSocket.

        hypercorn waits without limit for room in its queue of messages. If the application returned while there is
        more to put than room, the connection and its tasks would stay for ever.
        """
        if self._closing:
            return
        self._closing = True
        if self._receiving is not None:
            self._receiving.cancel()
        if not self._open:
            await self._close_before_upgrade()
            return
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._say_goodbye, code, reason)
                with trio.move_on_after(CLOSE_LIMIT_S):
                    await self._drain_to_disconnect()
                if not self._gone:
                    self._stream.abort()
            self._stream.stop()
            with trio.move_on_after(_EMPTY_LIMIT_S):
                await self._drain_until_all_handed_on()

    async def _close_before_upgrade(self) -> None:
        if not self._answered and not self._gone:
            self._answered = True
            with trio.CancelScope(shield=True):
                await self._send({"type": "websocket.close"})

    async def _say_goodbye(self, code: int, reason: str) -> None:
        if not self._gone:
            await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def _drain_to_disconnect(self) -> None:
        while not self._gone:
            event = await self._receive()
            self._gone = event["type"] == "websocket.disconnect"

    async def _drain_until_all_handed_on(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drain)
            await self._stream.all_handed_on.wait()
            nursery.cancel_scope.cancel()

    async def _drain(self) -> None:
        while True:
            await self._receive()


def _frame(message: str | bytes) -> bytes:
    """A whole message in one frame of a server (RFC 6455, 5.2): not masked, and no extension is ever agreed to."""
    opcode, payload = (_TEXT, message.encode()) if isinstance(message, str) else (_BINARY, message)
    length = len(payload)
    if length < 126:
        head = struct.pack(">BB", _FINAL | opcode, length)
    elif length < 1 << 16:
        head = struct.pack(">BBH", _FINAL | opcode, 126, length)
    else:
        head = struct.pack(">BBQ", _FINAL | opcode, 127, length)
    return head + payload


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 1000
    return 1011 if isinstance(error, Exception) else 1012
