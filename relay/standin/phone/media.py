"""The media stream of a call is served here: one task reads, one writes a frame every 20 ms on an absolute schedule.

While the connection to the relay is congested, the caller's audio is discarded, with warning 31930 (Twilio docs).
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream

from relay.media.frames import FRAME_MS, FRAMES_PER_SECOND
from relay.net.transport import default_tls
from relay.standin.phone.lips import Lips
from relay.standin.phone.player import BLOCK_BYTES, Player
from relay.standin.phone.stream import StreamMessages
from relay.standin.tcp import reset

_CONNECT_S = 5.0
_CLOSE_S = 2.0
_CONGESTED_S = 1.0
"""A write that the connection takes no sooner than that shows it to be congested; Twilio's own limit is not known."""
_MESSAGE_LIMIT_BYTES = 1 << 24
_QUEUE = 256

StreamEnd = Literal["closed", "lost", "hung-up", "stopped"]
Wish = Literal["hang-up", "drop", "stop"]


_ENDS: Mapping[Wish | None, StreamEnd] = {"hang-up": "hung-up", "stop": "stopped"}
"""The wishes that are told to the relay, by a `stop` message."""


class StreamRefused(Exception):
    """No stream came about; the text begins with Twilio's number for it."""


@dataclass(slots=True)
class MediaStream:
    """A stream under way, as `serve_stream` and the telephone share it.

    `wish`: how the caller, or for "stop" the account's other program, wants it to end. `opened`: its socket was open
    once. `digits`: keys to send. `returned`: marks that go back with the next write. `close_code`: of the relay's close
    frame, 1006 without one. `changed` wakes the writer; `read_all` is set when nothing more will be read. `swap_every`:
    each so many frames, one leaves behind the one that follows it (0: never). `writes`: how often one or two frames
    left. `discarded_frames`: of the caller's, because the connection was congested.
    """

    player: Player
    outgoing: StreamMessages
    lips: Lips
    opened: bool = False
    close_code: int | None = None
    digits: deque[str] = field(default_factory=deque)
    returned: list[str] = field(default_factory=list)
    changed: trio.Event = field(default_factory=trio.Event)
    read_all: trio.Event = field(default_factory=trio.Event)
    wish: Wish | None = None
    swap_every: int = 0
    discarded_frames: int = 0
    writes: int = 0
    _echoed_bytes: int | None = None

    def next_frame(self, now_s: float) -> bytes:
        """20 ms of the caller, with the echo of the 20 ms that were played meanwhile."""
        heard = self.player.heard
        if self._echoed_bytes is None:
            self._echoed_bytes = len(heard)
        begin, self._echoed_bytes = self._echoed_bytes, self._echoed_bytes + BLOCK_BYTES
        return self.lips.next_frame(
            now_s, bytes(heard[max(0, begin - BLOCK_BYTES) : begin]).rjust(BLOCK_BYTES, b"\xff")
        )

    def ask(self, wish: Wish) -> None:
        """Have the stream end; `serve_stream` does it, and returns."""
        self.wish = wish
        self.changed.set()


async def serve_stream(
    media: MediaStream,
    url: str,
    headers: Mapping[str, str],
    parameters: Mapping[str, str],
    *,
    started: Callable[[], None],
    heard: Callable[[], None],
) -> StreamEnd:
    """Open the socket at `url` and serve it until one side ends it.

    `started` is called when the socket is open, `heard` whenever something was sent, played or received. `headers`
    holds the public Host. `StreamRefused` begins with 31901 (no answer), 31902 (refused) or 31920 (no handshake).
    """
    end: StreamEnd = "lost"
    refusal = None
    tcp = await _open_tcp(url)
    try:
        async with trio.open_nursery() as nursery:
            ws = await _shake_hands(nursery, tcp, url, headers)
            started()
            end = await _run(media, ws, tcp, parameters, heard)
            nursery.cancel_scope.cancel()
    except* HandshakeError as group:
        refusal = f"31920: handshake refused {_status(group)}".rstrip()
    except* StreamRefused as group:
        refusal = str(group.exceptions[0])
    finally:
        await trio.aclose_forcefully(tcp)
    if refusal is not None:
        raise StreamRefused(refusal)
    return end


def _status(group: ExceptionGroup[HandshakeError]) -> str:
    return str(getattr(group.exceptions[0], "status_code", ""))


async def _open_tcp(url: str) -> trio.SocketStream:
    parts = urlsplit(url)
    with trio.move_on_after(_CONNECT_S):
        try:
            return await trio.open_tcp_stream(
                parts.hostname or "", parts.port or (443 if parts.scheme == "wss" else 80)
            )
        except OSError as error:
            raise StreamRefused(f"31902: connection refused: {error}") from error
    raise StreamRefused("31901: no answer in time")


async def _shake_hands(
    nursery: trio.Nursery, tcp: trio.SocketStream, url: str, headers: Mapping[str, str]
) -> WebSocketConnection:
    parts = urlsplit(url)
    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = tcp
    if parts.scheme == "wss":
        stream = trio.SSLStream(tcp, default_tls(), server_hostname=parts.hostname, https_compatible=True)
    watched = _Watched(stream)
    with trio.move_on_after(_CONNECT_S) as watched.waiting:
        return await wrap_client_stream(
            nursery,
            watched,  # type: ignore[arg-type]  # takes any stream
            headers["Host"],
            parts.path or "/",
            message_queue_size=_QUEUE,
            max_message_size=_MESSAGE_LIMIT_BYTES,
            extra_headers=[(name.encode(), value.encode()) for name, value in headers.items() if name != "Host"],
        )
    raise StreamRefused(f"31920: {'connection lost in the handshake' if watched.lost else 'no handshake in time'}")


class _Watched(trio.abc.Stream):
    """A stream that ends the wait for a handshake, `waiting`, when the peer is gone, which trio-websocket does not."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.lost = False
        self.waiting = trio.CancelScope()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data: bytes | bytearray = b""
        try:
            data = await self._stream.receive_some(max_bytes)
        finally:
            if not data:
                self._lose()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            self._lose()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _lose(self) -> None:
        self.lost = True
        self.waiting.cancel("the peer is gone")


async def _run(
    media: MediaStream,
    ws: WebSocketConnection,
    tcp: trio.SocketStream,
    parameters: Mapping[str, str],
    heard: Callable[[], None],
) -> StreamEnd:
    end: StreamEnd
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read, media, ws, heard)
        try:
            await ws.send_message(media.outgoing.connected())
            await ws.send_message(media.outgoing.start(parameters))
            await _write(media, ws, heard)
            end = _ENDS.get(media.wish, "lost")
        except ConnectionClosed:
            # What the relay sent before its goodbye may still be unread.
            with trio.move_on_after(_CLOSE_S):
                await media.read_all.wait()
            media.close_code = ws.closed.code if ws.closed is not None else 1006
            end = "lost" if media.close_code == 1006 else "closed"
        nursery.cancel_scope.cancel()
    media.player.advance(trio.current_time())
    if end == "lost":
        reset(tcp)
    with trio.move_on_after(_CLOSE_S):
        await ws.aclose()
    return end


async def _read(media: MediaStream, ws: WebSocketConnection, heard: Callable[[], None]) -> None:
    while True:
        try:
            message = await ws.get_message()
        except ConnectionClosed:
            media.read_all.set()
            media.changed.set()
            return
        media.returned += media.player.receive(message, trio.current_time())
        heard()
        media.changed.set()


async def _write(media: MediaStream, ws: WebSocketConnection, heard: Callable[[], None]) -> None:
    """Write until a wish to end is fulfilled; `ConnectionClosed` when the relay ends the stream."""
    next_frame_s = trio.current_time()
    while True:
        media.changed = trio.Event()
        now_s = trio.current_time()
        for message in _due(media, now_s):
            await ws.send_message(message)
        while next_frame_s <= now_s:
            # One that is late leaves at once, and none is left out, unless it was the connection that made it late.
            next_frame_s += FRAME_MS / 1000 * await _send_frame(media, ws, now_s)
        heard()
        if media.wish in _ENDS:
            await ws.send_message(media.outgoing.stop())
        if media.wish is not None:
            return
        with trio.move_on_at(min(next_frame_s, media.player.next_mark_s() or math.inf)):
            await media.changed.wait()
        if media.read_all.is_set():
            raise ConnectionClosed(ws.closed)


async def _send_frame(media: MediaStream, ws: WebSocketConnection, now_s: float) -> int:
    """Send the next frame, or the two next in the wrong order; returns for how many frames of time this stands."""
    began_s = trio.current_time()
    frames = [media.outgoing.media(media.next_frame(now_s))]
    media.writes += 1
    if media.swap_every and media.writes % media.swap_every == 0:
        frames.append(media.outgoing.media(media.next_frame(now_s)))
    for message in reversed(frames):
        await ws.send_message(message)
    blocked_s = trio.current_time() - began_s
    lost = int(blocked_s * FRAMES_PER_SECOND) if blocked_s >= _CONGESTED_S else 0
    if lost and not media.discarded_frames:
        media.player.warn(trio.current_time(), "31930: the connection is congested, audio of the caller is discarded")
    media.discarded_frames += lost
    for _ in range(lost):
        media.next_frame(now_s)
        media.outgoing.discard()
    return len(frames) + lost


def _due(media: MediaStream, now_s: float) -> list[str]:
    """The messages to send now: marks that have been played or cleared, and digits that were pressed."""
    names = [*media.returned, *media.player.advance(now_s)]
    media.returned.clear()
    out = [media.outgoing.mark(name) for name in names]
    while media.digits:
        out.append(media.outgoing.dtmf(media.digits.popleft()))
    return out
