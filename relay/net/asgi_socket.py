"""A WebSocket that hypercorn shakes hands for, as a PromptSocket: behind the handshake it is a link."""

import json
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self

import trio

from relay.errors import LegClosed, LegLost
from relay.net.link.link import Link
from relay.net.sockets import Found, WantedAt

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

STREAM_STATE = "relay.stream"


class Underneath(Protocol):
    """What the server lends of the connection itself; see ServerStream."""

    link: Link | None
    """Once the handshake is answered."""

    def admit(self) -> None: ...


class AsgiSocket:
    """The server side of one WebSocket (ASGI 3.0, "WebSocket" and "WebSocket Denial Response").

    Use as `async with AsgiSocket(scope, receive, send) as socket:` then `accept()` or `refuse()` once.
    Leaving closes: 1000 normally, 1011 after an exception, 1012 when cancelled. `receive` raises LegLost for every
    end, also for a goodbye: only the messages in the socket tell that a call ended in order.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.raw_path: str = scope["raw_path"].decode("latin-1")
        self.query: str = scope["query_string"].decode("latin-1")
        self._headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        self._can_refuse = "websocket.http.response" in (scope.get("extensions") or {})
        self._stream: Underneath = scope["state"][STREAM_STATE]
        self._receive = receive
        self._send = send
        self._link: Link | None = None
        self._answered = False
        self._closing = False
        self._gone = False

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more, as far as is known here."""
        return self._gone or self._closing or (self._link is not None and self._link.closed)

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
        self._link = self._stream.link
        if self._link is None:
            self._gone = True
            raise LegLost("disconnected")

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
        try:
            return await (self._link or await self._not_open()).receive()
        except LegClosed as closed:
            raise LegLost(str(closed)) from None

    async def receive_each(
        self, take: Callable[[str | bytes], Found | None], wanted_at: WantedAt | None = None
    ) -> Found:
        """Give each message to `take`; see MessageSocket."""
        try:
            return await (self._link or await self._not_open()).receive_each(take, wanted_at)
        except LegClosed as closed:
            raise LegLost(str(closed)) from None

    async def send(self, message: str | bytes) -> None:
        """Write one message; see MessageSocket."""
        await (self._link or await self._not_open()).send(message)

    def send_now(self, *messages: str | bytes) -> bool:
        """Write these messages in this instant; see PromptSocket."""
        return self._link is not None and self._link.send_now(*messages)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait for the peer's answer up to a limit; see MessageSocket."""
        if self._closing:
            return
        self._closing = True
        if self._link is not None:
            await self._link.close(code, reason)
        elif not self._answered and not self._gone:
            self._answered = True
            with trio.CancelScope(shield=True):
                await self._send({"type": "websocket.close"})

    async def _not_open(self) -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise LegLost("socket not open")


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 1000
    return 1011 if isinstance(error, Exception) else 1012
