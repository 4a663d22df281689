"""Cuts a stream and what it was made of into frames side by side, and makes such a frame again of what it was made of.

It is for what is kept for later, as the originals of a telephone take a quarter of the room (see
`relay.logic.assistant.kept_frames`).
"""

from collections.abc import Iterable
from itertools import repeat

from relay.media.frames import FRAME_MS, Audio, AudioFormat
from relay.media.packetizer import Packetizer
from relay.media.resample import LARGEST_FACTOR
from relay.media.transcode import Transcoder


def worth_remaking(source: AudioFormat, target: AudioFormat) -> bool:
    """Whether frames of `target` that a `Transcoder` makes of `source` can be made again, of less than they are.

    That takes a rate that is the same or raised to a small multiple: each sample becomes as many at once, and the
    `PolyphaseFir` remembers no more of them than 28.
    """
    factor, rest = divmod(target.rate_hz, source.rate_hz)
    is_whole = source.rate_hz * FRAME_MS % 1000 == 0
    return is_whole and rest == 0 and factor <= LARGEST_FACTOR and source.frame_bytes < target.frame_bytes


class FrameMaker:
    """Makes single frames of a stream again, bit for bit as one `Transcoder` made them of the whole."""

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        """They must be `worth_remaking`."""
        self._source = source
        self._frame_bytes = target.frame_bytes
        self._transcoder = Transcoder(source, target)

    def __call__(self, before: bytes, original: bytes) -> bytes:
        """Return the frame of `target` made of `original`, which followed `before`: both are 20 ms of `source`."""
        self._transcoder.reset()
        return self._transcoder.push(Audio(self._source, before + original)).data[-self._frame_bytes :]


class PairPacketizer:
    """Cuts what was made and its originals into 20 ms frames, side by side."""

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self._made = Packetizer(target)
        self._originals = Packetizer(source) if worth_remaking(source, target) else None
        self._one_of_each = target.frame_bytes, source.frame_bytes
        self._is_in_step = False

    def push(self, made: bytes, original: bytes | None) -> Iterable[tuple[bytes, bytes | None]]:
        """Return the frames that are complete now, oldest first, each with its original, if it has one.

        `original` is what all of `made` was made of. None: that is not known, or something was left out before; then
        frames have originals again when a chunk begins with a frame.
        """
        begins_frame = not self._made.waits
        if self._originals is None:
            return zip(self._made.push(made), repeat(None))
        if original is not None and begins_frame and (len(made), len(original)) == self._one_of_each:
            self._is_in_step = True  # as nearly always
            return ((made, original),)
        frames = self._made.push(made)
        if original is not None and (self._is_in_step or begins_frame):
            self._is_in_step = True
            return zip(frames, self._originals.push(original), strict=True)
        self._is_in_step = False
        self._originals.reset()
        return zip(frames, repeat(None))
