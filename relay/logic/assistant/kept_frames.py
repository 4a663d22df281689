"""The frames of a log, of which the older ones are kept as the bytes that they were made of, a page of them as one.

The assistant's 20 ms of 16-bit audio at 16 kHz take 640 bytes, and the telephone's mu-law that they were made of 160:
a log of ten seconds has 340 KB of the one and 80 KB of the other. So a frame comes with its original where it has one,
and which of the two is kept depends on its age:

| frame                                         | kept                        | read                              |
|-----------------------------------------------|-----------------------------|-----------------------------------|
| on one of the newest two pages                | frame, and original, if any | as it came: live audio is not     |
|                                               |                             | made twice                        |
| older, original here and of the frame before  | original                    | made again of the two originals   |
| older, has an original, the frame before none | frame and original          | as it came                        |
| older, has no original                        | frame                       | as it came                        |

What is made again is the same, bit for bit, wherever reading begins and whatever it leaves out: a resampler hears a
sound for 28 samples more, which is less than the frame before (see `relay.media.remake`). A frame has no original when
audio was cleaned of noise or of an echo, when both formats are the same, and where the stream had a cut in front of it.

160 bytes for themselves take 208 of Python's memory, and eight more for their place: so older pages are joined.
"""

from collections.abc import Callable

PAGE_FRAMES = 8
"""A reader that keeps up is not further behind."""

Remake = Callable[[bytes, bytes], bytes]
"""Makes a frame again, of the original before its own, and of its own."""

Pieces = list[bytes | None] | bytes
"""The frames of a page, or their originals: each for itself, or all joined, which is empty if there are none."""


class KeptFrames:
    """A queue of frames, each of which can be read at any time by its place: 0 is the oldest.

    Without `remake` all are kept as they came.
    """

    __slots__ = ("_before", "_frames", "_gone", "_last", "_last_originals", "_originals", "_remake")

    def __init__(self, remake: Remake | None = None) -> None:
        self._remake = remake
        self._frames: list[Pieces] = []
        self._originals: list[Pieces] = []
        """By pages."""
        self._last: list[bytes | None] = []
        self._last_originals: list[bytes | None] = []
        """The last page of each, if there is any: the one that grows."""
        self._gone = 0
        """How many frames of the oldest page went."""
        self._before: bytes | None = None
        """The last original of the page that went last."""

    def __len__(self) -> int:
        return (len(self._frames) - 1) * PAGE_FRAMES + len(self._last) - self._gone if self._frames else 0

    def append(self, frame: bytes, original: bytes | None = None) -> None:
        """The newest. With its `original`, the stream of these must go on where that of the frame before has ended."""
        if not self._frames or len(self._last) == PAGE_FRAMES:
            self._last, self._last_originals = [], []
            self._frames.append(self._last)
            self._originals.append(self._last_originals)
        self._last.append(frame)
        self._last_originals.append(original if self._remake else None)
        if len(self._last) == PAGE_FRAMES and len(self._frames) > 1:
            self._shrink(len(self._frames) - 2)

    def popleft(self) -> None:
        """The oldest goes."""
        self._gone += 1
        if self._gone == (PAGE_FRAMES if len(self._frames) > 1 else len(self._last)):
            self._before = self._original(self._gone - 1)
            del self._frames[0], self._originals[0]
            self._gone = 0

    def __getitem__(self, place: int) -> bytes:
        number = self._gone + place
        page, at = divmod(number, PAGE_FRAMES)
        frame = _piece(self._frames[page], at)
        if frame is not None:
            return frame
        before, original = self._original(number - 1), self._original(number)
        assert self._remake is not None
        assert before is not None
        assert original is not None
        return self._remake(before, original)

    def _original(self, number: int) -> bytes | None:
        """By its number in the pages that are there; -1 is the last before these."""
        page, at = divmod(number, PAGE_FRAMES)
        return self._before if number < 0 else _piece(self._originals[page], at)

    def _shrink(self, page: int) -> None:
        """Forget what can be made again, and join the rest."""
        before = self._original(page * PAGE_FRAMES - 1)
        frames, originals = self._frames[page], self._originals[page]
        assert isinstance(frames, list)
        assert isinstance(originals, list)
        needed = [
            frame if original is None or before is None else None
            for frame, original, before in zip(frames, originals, [before, *originals], strict=False)
        ]
        self._frames[page], self._originals[page] = _joined(needed), _joined(originals)


def _piece(pieces: Pieces, at: int) -> bytes | None:
    if isinstance(pieces, list):
        return pieces[at]
    size = len(pieces) // PAGE_FRAMES
    return pieces[at * size : (at + 1) * size] or None


def _joined(pieces: list[bytes | None]) -> Pieces:
    """As one, if none is there, or all are, and of one length."""
    there = [piece for piece in pieces if piece is not None]
    lengths = set(map(len, there))
    is_even = len(there) == len(pieces) and len(lengths) == 1 and 0 not in lengths
    return b"".join(there) if is_even or not there else pieces
