"""A WebSocket dialled with trio-websocket, as a MessageSocket. Its exceptions are translated here and nowhere else."""

import logging
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream
from wsproto.connection import ConnectionState

from relay.errors import LegClosed, LegLost
from relay.net.dial import Target, dial
from relay.net.frame_bounds import Breach, FrameBounds
from relay.net.frame_reader import FrameReader
from relay.net.link.pace import OF_A_CALL
from relay.weak import weakly

CLOSE_LIMIT_S = 1.0
QUEUE_MESSAGES = 16
"""Of the longest texts these are 128 MiB, of audio a third of a second."""
MESSAGE_MAX_BYTES = 8 * 2**20
"""A text message may hold a whole conversation, which nobody bounds. The library counts its characters."""
BINARY_MAX_BYTES = 2**20
"""A binary message is audio: half a minute of it, at 16 kHz."""
TOO_BIG_CODE = 1009  # RFC 6455, 7.4.1
RECEIVE_BYTES = 65_536
ANSWER_MAX_BYTES = 65_536
"""Of what comes before the WebSocket is open: a head, or a refusal with its body."""

_log = logging.getLogger(__name__)
_NO_CLOSE_FRAME = 1006
_NO_GOODBYE = {1002, _NO_CLOSE_FRAME, 1007, 1009}  # RFC 6455, 7.4.1: a connection that failed, on whichever side
_OPEN = re.compile(rb"HTTP/1\.[01] 101\b.*?\n\r?\n", re.DOTALL)


class ClientSocket:
    """The client side of one WebSocket; made by `open_client_socket`.

    The library reads ahead up to QUEUE_MESSAGES; then it reads nothing more, pongs included, until
    `receive` is called again.
    """

    def __init__(self, connection: WebSocketConnection, wire: "_Wire", peer: str) -> None:
        self._connection = connection
        self._wire = wire
        self._peer = peer
        self._closing = False

    async def receive(self) -> str | bytes:
        """The next message; see MessageSocket. One that is too long ends the socket with 1009, and raises LegLost."""
        try:
            message = await self._connection.get_message()
        except ConnectionClosed as closed:
            raise self._ending(closed) from None
        if isinstance(message, bytes) and len(message) > BINARY_MAX_BYTES:
            reason = f"exceeded the limit of {BINARY_MAX_BYTES} bytes for a binary message"
            await self.close(TOO_BIG_CODE, reason)
            raise LegLost(f"{self._peer}: connection failed with {TOO_BIG_CODE} {reason}", TOO_BIG_CODE)
        return message

    async def send(self, message: str | bytes) -> None:
        """Write one message; see MessageSocket. Cancelled inside a frame, the socket is lost."""
        if self._lost:
            await trio.lowlevel.checkpoint()
            raise LegLost(f"{self._peer}: socket lost")
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            await self._connection.send_message(message)
        except ConnectionClosed:
            raise LegLost(f"{self._peer}: socket closed") from None

    async def ping(self, timeout_s: float) -> None:
        """Wait for the answer to a ping. Raises LegLost when there is none in time."""
        try:
            with trio.fail_after(timeout_s), self._lost_if_closed():
                await self._connection.ping()
        except trio.TooSlowError:
            raise LegLost(f"{self._peer}: no pong in {timeout_s:g} s") from None

    async def run_keepalive(self, interval_s: float, timeout_s: float) -> None:
        """Ping every `interval_s` until cancelled. Raises LegLost when an answer takes over `timeout_s`."""
        while True:
            await trio.sleep(interval_s)
            await self.ping(timeout_s)

    async def part(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye, and return when the peer has answered: it has read all that was sent (RFC 6455, 7.1.2).

        Cancelled, the socket is closed all the same. Raises LegLost when the connection breaks before the answer comes.
        """
        self._closing = True
        if not self._wire.torn:
            await self._connection.aclose(code, reason)
        if self._connection._wsproto.state is not ConnectionState.CLOSED:  # noqa: SLF001 - `closed` does not tell
            raise LegLost(f"{self._peer}: no answer to the goodbye")

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, with a goodbye if the last frame was written whole; see MessageSocket."""
        if self._closing:
            return
        with trio.CancelScope(shield=True):
            with trio.move_on_after(CLOSE_LIMIT_S), suppress(LegLost):
                await self.part(code, reason)
            await trio.aclose_forcefully(self._wire)

    @property
    def _lost(self) -> bool:
        return self._wire.torn or self._wire.over.is_set()

    @contextmanager
    def _lost_if_closed(self) -> Iterator[None]:
        if self._lost:
            raise LegLost(f"{self._peer}: socket lost")
        try:
            yield
        except ConnectionClosed:
            raise LegLost(f"{self._peer}: socket closed") from None

    def _ending(self, closed: ConnectionClosed) -> LegLost | LegClosed:
        if breach := self._wire.breach:
            return LegLost(f"{self._peer}: connection failed with {breach.code} {breach.reason}", breach.code)
        why = closed.reason
        if why is None or self._closing:
            return LegLost(f"{self._peer}: socket closed")
        if why.code in _NO_GOODBYE:
            code = None if why.code == _NO_CLOSE_FRAME else why.code
            return LegLost(f"{self._peer}: connection failed with {why.code} {why.reason or ''}".rstrip(), code)
        return LegClosed(why.code, why.reason or "")


@asynccontextmanager
async def open_client_socket(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    connect_timeout_s: float,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[ClientSocket]:
    """Dial a `ws:` or `wss:` address; on leaving, the connection is closed within about a second.

    The limit covers DNS, TCP, TLS and the handshake. `tls` is for peers the system does not trust.
    What the body raises passes unchanged.

    Raises:
        LegLost: no connection. The text names the host and what failed, never the rest of the URL,
            which is a secret.
    """
    target = Target.parse(url)
    deadline = trio.current_time() + connect_timeout_s
    with _limit(target, deadline):
        stream = await dial(target, tls)
    async with client_socket_over(stream, target, headers=headers, deadline=deadline) as socket:
        yield socket


@asynccontextmanager
async def client_socket_over(
    stream: trio.abc.Stream, target: Target, *, headers: Mapping[str, str] | None = None, deadline: float
) -> AsyncIterator[ClientSocket]:
    """`open_client_socket` on a stream that is connected already, which is closed in any case."""
    wire = _Wire(stream)
    extra = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                with _limit(target, deadline):
                    connection = await nursery.start(_run_reader, wire, target, extra)
                socket = ClientSocket(connection, wire, target.host)
                try:
                    yield socket
                finally:
                    await socket.close()
                    nursery.cancel_scope.cancel()
            except BaseException as error:
                failure = error
                raise
    except BaseExceptionGroup:
        if failure is None:
            raise
    finally:
        await trio.aclose_forcefully(wire)
    if failure is not None:
        raise failure


class _Wire(trio.abc.Stream):
    """A stream that remembers how the answer began, whether it ended, and whether a write stopped half-way; and that
    keeps what is received within bounds.

    trio-websocket would wait on for an answer that cannot come any more, and write its goodbye
    inside a torn frame. It would keep all of an endless refusal, and give nobody a turn among empty frames.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._frames = FrameReader(weakly(self._receive_some), FrameBounds(MESSAGE_MAX_BYTES, OF_A_CALL))
        self._open = False
        self.answer = b""
        self.over = trio.Event()
        self.torn = False

    @property
    def breach(self) -> Breach | None:
        """Why nothing more is read, if the peer went too far."""
        return self._frames.breach

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.torn:
            raise trio.ClosedResourceError("the frame before stopped half-way")
        try:
            await self._stream.send_all(data)
        except BaseException:
            self.torn = True
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, _max_bytes: int | None = None) -> bytes | bytearray:
        """As a stream does, but RECEIVE_BYTES at most. Behind a breach it waits until the connection is closed."""
        if not self._open:
            return await self._receive_answer()
        frames = await self._frames.receive()
        if self.breach is not None:
            self.over.set()
            await trio.sleep_forever()
        return frames

    async def _receive_answer(self) -> bytes:
        """The next part of the answer to the handshake. What is behind it, when that opened the WebSocket, waits."""
        data = await self._receive_some()
        self.answer += data
        if head := _OPEN.match(self.answer):
            self._open = True
            behind = len(self.answer) - head.end()
            self.answer = head[0]
            self._frames.begin_with(data[len(data) - behind :])
            return data[: len(data) - behind]
        if len(self.answer) > ANSWER_MAX_BYTES:
            self.over.set()
            return b""
        return data

    async def _receive_some(self) -> bytes:
        try:
            data = await self._stream.receive_some(RECEIVE_BYTES)
        except trio.BrokenResourceError:
            self.over.set()
            raise
        if not data:
            self.over.set()
        return bytes(data)

    async def aclose(self) -> None:
        self.over.set()
        await self._stream.aclose()


async def _run_reader(
    wire: _Wire,
    target: Target,
    headers: list[tuple[bytes, bytes]],
    *,
    task_status: trio.TaskStatus[WebSocketConnection],
) -> None:
    """Own the library's reader task: what makes that fail ends the socket, not the task that uses it."""
    connection: WebSocketConnection | None = None
    try:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as handshake:
                nursery.start_soon(_cancel_when_over, wire, handshake)
                connection = await wrap_client_stream(
                    nursery,
                    wire,  # type: ignore[arg-type]  # any stream will do, as the library's own text says
                    target.host_header,
                    target.resource,
                    extra_headers=headers,
                    message_queue_size=QUEUE_MESSAGES,
                    max_message_size=MESSAGE_MAX_BYTES,
                    receive_buffer_size=RECEIVE_BYTES,
                )
                task_status.started(connection)
                nursery.start_soon(_part_at_breach, wire, connection)
    except* Exception as failures:  # noqa: BLE001 - rejections, and what its reader lets through of wsproto and h11
        _log.debug("socket.reader_ended", extra={"errors": [type(one).__name__ for one in failures.exceptions]})
    finally:
        wire.over.set()
    if connection is None:
        raise LegLost(f"{target.host}: {_refusal(wire.answer)}")


async def _cancel_when_over(wire: _Wire, handshake: trio.CancelScope) -> None:
    await wire.over.wait()
    handshake.cancel()


async def _part_at_breach(wire: _Wire, connection: WebSocketConnection) -> None:
    """Tell a peer that went too far why it is left. It is not waited for: its answer is behind what is not read."""
    await wire.over.wait()
    if wire.breach is not None:
        with trio.move_on_after(CLOSE_LIMIT_S):
            await connection.aclose(wire.breach.code, wire.breach.reason)


def _refusal(answer: bytes) -> str:
    status = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    if status is None:
        return "no WebSocket handshake" if answer else "closed during the handshake"
    return "bad WebSocket handshake" if status[1] == b"101" else f"HTTP {status[1].decode()}"


@contextmanager
def _limit(target: Target, deadline: float) -> Iterator[None]:
    with trio.CancelScope(deadline=deadline) as scope:
        yield
    if scope.cancelled_caught:
        raise LegLost(f"{target.host}: no answer in time")
