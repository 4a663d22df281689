"""Reads the frames of one WebSocket from its stream, a few in a turn and no faster than its bounds allow."""

from collections.abc import Awaitable, Callable

import trio

from relay.net.frame_bounds import Breach, FrameBounds
from relay.net.link.pace import FrameRates
from relay.wakeup import Signal

ReceiveSome = Callable[[], Awaitable[bytes | bytearray]]


class FrameReader:
    """Between a stream and the library that reads its frames: `receive` in place of the stream's `receive_some`.

    `receive_some` is the stream's, and raises what it raises.
    """

    def __init__(self, receive_some: ReceiveSome, bounds: FrameBounds) -> None:
        self._receive_some = receive_some
        self._bounds = bounds
        self._changed = Signal()
        self._stopped = False

    @property
    def breach(self) -> Breach | None:
        """Why nothing more is read: what `receive` returned last is the head of the frame that went too far."""
        return self._bounds.breach

    def begin_with(self, data: bytes) -> None:
        """Take what was received before, behind the handshake."""
        self._bounds.feed(data)

    def change_rates(self, rates: FrameRates) -> None:
        """From now on other rates hold, also for a `receive` that waits."""
        self._bounds.change_rates(rates)
        self._changed.fire()

    def stop(self) -> None:
        """Give nothing more, not even what was received already, also to a `receive` that waits until it is due."""
        self._stopped = True
        self._changed.fire()

    async def receive(self) -> bytes:
        """The bytes of the next frames, FRAMES_PER_TURN at most. Empty at the end, behind a breach, and when stopped.

        Always a checkpoint. Cancelled, it has taken nothing.
        """
        others_had_turn = False
        while not self._stopped and self._bounds.breach is None:
            if not self._bounds.is_empty:
                if not others_had_turn:
                    await trio.lowlevel.checkpoint()
                    others_had_turn = True
                    continue
                now_s = trio.current_time()
                if frames := self._bounds.take(now_s):
                    return frames
                if now_s < self._bounds.due_s:
                    await self._changed.wait(self._bounds.due_s)
                    continue
            data = await self._receive_some()
            if not data:
                return b""
            others_had_turn = True
            self._bounds.feed(bytes(data))
        await trio.lowlevel.checkpoint()
        return b""
