"""The lips cut what the caller says into frames of 20 ms, with silence where nothing is said.

A line with an echo adds what the caller hears.
"""

from collections import deque
from dataclasses import dataclass, field

from relay.standin.echo import EchoPath, mix
from relay.standin.phone.player import BLOCK_BYTES, RATE_HZ
from relay.standin.sound import mulaw_to_samples, samples_to_mulaw

_QUIET = b"\xff"


@dataclass(slots=True, eq=False)
class Saying:
    """One recording on its way: when its first frame left, and when its last one had left (None: not yet)."""

    rest: bytes = field(repr=False)
    began_s: float | None = None
    ended_s: float | None = None


@dataclass(slots=True)
class Lips:
    """A queue of recordings, taken frame by frame. `said` is everything that was sent, silence and echo included, on
    the call's time line from `started_s`. `echo`: of the line, from now on (None: it has none)."""

    started_s: float
    echo: EchoPath | None = None
    said: bytearray = field(default_factory=bytearray, repr=False)
    _queue: deque[Saying] = field(default_factory=deque)

    def say(self, mulaw: bytes) -> Saying:
        """Queue a recording behind the others."""
        saying = Saying(mulaw)
        self._queue.append(saying)
        return saying

    def next_frame(self, now_s: float, heard: bytes = _QUIET * BLOCK_BYTES) -> bytes:
        """160 bytes of mu-law; the time between streams becomes silence in `said`.

        `heard`: what the caller's side played during the same 20 ms.
        """
        frame = bytearray()
        while self._queue and len(frame) < BLOCK_BYTES:
            saying = self._queue[0]
            if saying.began_s is None:
                saying.began_s = now_s
            room = BLOCK_BYTES - len(frame)
            frame += saying.rest[:room]
            saying.rest = saying.rest[room:]
            if saying.rest:
                break
            saying.ended_s = now_s
            self._queue.popleft()
        frame += _QUIET * (BLOCK_BYTES - len(frame))
        if self.echo is not None:
            echo = self.echo.push(mulaw_to_samples(heard))
            frame = bytearray(samples_to_mulaw(mix(mulaw_to_samples(frame), echo)))
        # Frames leave a little early or late; only a gap of more than two frames is a time without a stream.
        begins_byte = round((now_s - self.started_s) * RATE_HZ)
        if begins_byte - len(self.said) > 2 * BLOCK_BYTES:
            self.said += _QUIET * (begins_byte - len(self.said))
        self.said += frame
        return bytes(frame)
