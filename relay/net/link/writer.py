"""Writes the frames of a link: each whole, one behind the other, and behind them the answers that the peer asks for."""

from collections.abc import Callable
from contextlib import suppress

import trio

from relay.errors import LegLost, LocalProtocolError
from relay.net.link.prompt_stream import PromptStream
from relay.net.link.protocol import WebSocketProtocol
from relay.wakeup import Signal


class LinkWriter:
    """The only writer of its stream. `run` must run for as long as it is used.

    `failed` is called when a write fails. `peer` is its name in the texts of errors.
    """

    def __init__(
        self, stream: PromptStream, protocol: WebSocketProtocol, peer: str, *, failed: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._peer = peer
        self._failed = failed
        self._writing = trio.Lock()
        self._work = Signal()
        """There is something that `run` has to write."""
        self._torn = False
        """Whether a frame is half-way in, for now or for good."""
        self.gone = False
        """Set by the link once it knows that nothing can be written any more."""

    @property
    def has_written_all(self) -> bool:
        """Whether nothing waits, and nothing was cut off."""
        return not (self._waits or self._torn or self.gone)

    def write_now(self, *messages: str | bytes) -> bool:
        """Write these messages in this instant, with one system call, which costs more than all else that is done for
        a message; what the kernel leaves of them is written by `run`. False: nothing was written."""
        if self._is_busy or self._protocol.said_goodbye:
            return False
        was_taken = self._stream.write_now(b"".join(map(self._protocol.message, messages)))
        if self._stream.has_rest:
            self._work.fire()
        return was_taken

    async def write(self, make: Callable[[], bytes] | None) -> None:
        """Write what waits, and one more frame behind it, which is made when its turn has come.

        Raises LegLost when that cannot be done. Cancelled inside a frame, it can write nothing more.
        """
        async with self._writing:
            if self._torn or self.gone:
                raise LegLost(f"{self._peer}: socket lost")
            try:
                frame = b"" if make is None else make()
            except LocalProtocolError:
                raise LegLost(f"{self._peer}: socket closed") from None
            data = frame + self._protocol.take_answers()
            if not (data or self._stream.has_rest):
                return
            self._torn = True
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._failed()
                raise LegLost(f"{self._peer}: connection lost") from None
            self._torn = False

    def answer(self) -> None:
        """Answer the peer's pings and goodbye, at once if nothing else is under way."""
        if self._stream.can_write_now and not self._is_busy:
            answers = self._protocol.take_answers()
            try:
                if not self._stream.write_now(answers):
                    self._stream.write_later(answers)
            except trio.BrokenResourceError:
                self._failed()
        if self._waits:
            self._work.fire()

    async def run(self) -> None:
        """Write what could not leave at once, until that fails."""
        with suppress(LegLost):
            while True:
                while not self._waits:
                    await self._work.wait()
                await self.write(None)

    @property
    def _waits(self) -> bool:
        return self._stream.has_rest or self._protocol.has_answers

    @property
    def _is_busy(self) -> bool:
        return self._torn or self.gone or self._writing.locked()
