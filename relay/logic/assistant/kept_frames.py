"""The frames of a log, of which the older ones are kept as the bytes that they were made of.

The assistant's 20 ms of 16-bit audio at 16 kHz take 640 bytes, and the telephone's mu-law that they were made of 160:
a log of ten seconds has 340 KB of the one and 100 KB of the other. So a frame comes with its original where it has one,
and which of the two is kept depends on its age:

| frame                                         | kept                        | read                              |
|-----------------------------------------------|-----------------------------|-----------------------------------|
| one of the newest `NEWEST_FRAMES`             | frame, and original, if any | as it came: live audio is not     |
|                                               |                             | made twice                        |
| older, original here and of the frame before  | original                    | made again of the two originals   |
| older, has an original, the frame before none | frame and original          | as it came                        |
| older, has no original                        | frame                       | as it came                        |

What is made again is the same, bit for bit, wherever reading begins and whatever it leaves out: a resampler hears a
sound for 28 samples more, which is less than the frame before (see `relay.media.remake`). A frame has no original when
audio was cleaned of noise or of an echo, when both formats are the same, and where the stream had a cut in front of it.
"""

from collections import deque
from collections.abc import Callable

NEWEST_FRAMES = 8
"""A reader that keeps up is not further behind."""

Remake = Callable[[bytes, bytes], bytes]
"""Makes a frame again, of the original before its own, and of its own."""


class KeptFrames:
    """A queue of frames, each of which can be read at any time by its place: 0 is the oldest.

    Without `remake` all are kept as they came.
    """

    __slots__ = ("_before", "_frames", "_originals", "_remake")

    def __init__(self, remake: Remake | None = None) -> None:
        self._remake = remake
        self._frames: deque[bytes | None] = deque()
        self._originals: deque[bytes | None] = deque()
        self._before: bytes | None = None
        """The original of the frame that went last."""

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, frame: bytes, original: bytes | None = None) -> None:
        """The newest. With its `original`, the stream of these must go on where that of the frame before has ended."""
        self._frames.append(frame)
        self._originals.append(original if self._remake else None)
        aged = len(self._frames) - NEWEST_FRAMES - 1
        if aged >= 0 and self._originals[aged] is not None and self._original_before(aged) is not None:
            self._frames[aged] = None

    def popleft(self) -> None:
        """The oldest goes."""
        self._frames.popleft()
        self._before = self._originals.popleft()

    def __getitem__(self, place: int) -> bytes:
        frame = self._frames[place]
        if frame is not None:
            return frame
        before, original = self._original_before(place), self._originals[place]
        assert self._remake is not None
        assert before is not None
        assert original is not None
        return self._remake(before, original)

    def _original_before(self, place: int) -> bytes | None:
        return self._originals[place - 1] if place else self._before
