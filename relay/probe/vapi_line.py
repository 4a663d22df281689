"""A line is the socket of one call at Vapi: silence or a phrase goes up in real time, and what comes is kept."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf

import trio

from relay.errors import LegClosed, LegLost, RemoteProtocolError
from relay.media.frames import FRAME_MS, AudioFormat
from relay.net.client_socket import client_socket_over
from relay.net.dial import Target, dial
from relay.net.sockets import MessageSocket
from relay.standin.sound import decode, level_dbfs
from relay.wire import vapi

AUDIBLE_DBFS = -50.0
"""Above this a message holds sound, and not silence or the noise of a codec."""


@dataclass(frozen=True, slots=True)
class SoundMessage:
    """One message of audio: when it came, how long it lasts, how loud it is."""

    at_s: float
    ms: float
    dbfs: float

    @property
    def audible(self) -> bool:
        return self.dbfs > AUDIBLE_DBFS


class VapiLine:
    """One connected call; made by `open_line`. Times are seconds on trio's clock.

    audio, events: what came, in order; the events with their times.
    closed: set when the socket is gone; `how_closed` says how, in words.
    """

    def __init__(self, socket: MessageSocket, stream: trio.abc.Stream, form: AudioFormat) -> None:
        self.opened_s = trio.current_time()
        self.audio: list[SoundMessage] = []
        self.events: list[tuple[float, vapi.Event]] = []
        self.closed = trio.Event()
        self.closed_s = inf
        self.how_closed = "open"
        self.texts = 0
        self.largest_text_bytes = 0
        self.format = form
        self._socket = socket
        self._stream = stream
        self._frames: deque[bytes] = deque()
        self._tail = b""
        self._speed = 1.0
        self._silent = False
        self._news = trio.Event()

    def say(self, sound: bytes, speed: float = 1.0) -> None:
        """Send this in the place of silence, so many times as fast as it sounds."""
        size = self.format.frame_bytes
        self._frames.extend(sound[at : at + size] for at in range(0, len(sound), size))
        self._speed = speed

    def fall_silent(self) -> None:
        """Send no audio any more, no silence either."""
        self._silent = True

    async def send(self, text: str) -> None:
        """Send a text message; one to a socket that is gone is lost."""
        try:
            await self._socket.send(text)
        except LegLost:
            await trio.lowlevel.checkpoint()

    async def say_goodbye(self) -> None:
        """Close the socket in order."""
        await self._socket.close()

    async def break_off(self) -> None:
        """Let the connection vanish without a goodbye."""
        await trio.aclose_forcefully(self._stream)

    async def wait_for(self, holds: Callable[[], object], timeout_s: float) -> bool:
        """Whether it holds within so many seconds; looked at whenever something comes. False once the socket is gone
        and it does not hold."""
        with trio.move_on_after(timeout_s):
            while not holds() and not self.closed.is_set():
                await self._news.wait()
        return bool(holds())

    async def wait_begun(self, timeout_s: float = 5.0) -> bool:
        """Whether the call is in progress within so many seconds; some second of calm follows."""
        begun = await self.wait_for(lambda: self.told(vapi.StatusUpdate) or self.audio, timeout_s)
        await trio.sleep(1)
        return begun

    def told(self, kind: type[vapi.Event], since_s: float = -inf) -> list[vapi.Event]:
        """The events of one kind that came since then."""
        return [event for at_s, event in self.events if at_s >= since_s and isinstance(event, kind)]

    async def run_uplink(self) -> None:
        """Send a frame each 20 ms, on an absolute schedule, until the socket is gone."""
        next_s = trio.current_time()
        while not self.closed.is_set():
            await trio.sleep_until(next_s)
            speed = self._speed if self._frames else 1.0
            next_s += FRAME_MS / 1000 / speed
            if not self._silent:
                try:
                    await self._socket.send(self._frames.popleft() if self._frames else self.format.silent_frame)
                except LegLost:
                    return

    async def run_downlink(self) -> None:
        """Keep what comes until the socket is gone."""
        try:
            while True:
                message = await self._socket.receive()
                if isinstance(message, bytes):
                    self._hear(message)
                else:
                    self._read(message)
                self._tell()
        except LegClosed as closed:
            self.how_closed = f"closed with {closed.close_code}"
        except LegLost:
            self.how_closed = "broken off without a goodbye"
        self.closed_s = trio.current_time()
        self.closed.set()
        self._tell()

    def _hear(self, message: bytes) -> None:
        data = self._tail + message
        whole = len(data) // self.format.block_bytes * self.format.block_bytes
        self._tail = data[whole:]
        level = level_dbfs(decode(data[:whole], self.format))
        self.audio.append(SoundMessage(trio.current_time(), self.format.duration_ms(whole), level))

    def _read(self, message: str) -> None:
        self.texts += 1
        self.largest_text_bytes = max(self.largest_text_bytes, len(message.encode()))
        try:
            event = vapi.parse(message)
        except RemoteProtocolError:
            return
        if event is not None:
            self.events.append((trio.current_time(), event))

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def open_line(url: str, form: AudioFormat, connect_timeout_s: float) -> AsyncIterator[VapiLine]:
    """Connect the socket of a call; on leaving it is closed. What the body raises passes unchanged.

    Raises LegLost, without the address, if there is no connection.
    """
    target = Target.parse(url)
    deadline = trio.current_time() + connect_timeout_s
    stream: trio.abc.Stream | None = None
    with trio.CancelScope(deadline=deadline):
        stream = await dial(target, None)
    if stream is None:
        raise LegLost(f"{target.host}: no answer in time")
    async with client_socket_over(stream, target, deadline=deadline) as socket:
        line = VapiLine(socket, stream, form)
        failure: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(line.run_downlink)
                nursery.start_soon(line.run_uplink)
                try:
                    yield line
                except BaseException as error:
                    failure = error
                    raise
                finally:
                    nursery.cancel_scope.cancel()
        except BaseExceptionGroup:
            if failure is None:
                raise
        if failure is not None:
            raise failure
