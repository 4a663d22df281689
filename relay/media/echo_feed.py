"""Brings both sides of a line to the echo control, at 16 kHz; while that rests, it only keeps the last second of them.

A line that has had no echo for a second hardly ever gets one, and to look for it all the time costs more than all else
that is done with the caller's audio. So the control is woken when an echo would matter, which is when the detector
hears speech while the assistant is heard, and otherwise every few seconds, or every quarter of a second at first on a
line that is new or had an echo. Until then both sides are kept as the telephone sent them, and nothing is resampled:
nor is it for the glance that comes first, which suspects an echo or has the control rest on.
"""

import numpy as np

from relay.media.echo_control import EchoControl, EchoMode, EchoState
from relay.media.echo_estimate import GLANCE_MS, GLANCE_SUSPECT, REACH_MS, glance
from relay.media.frames import WIDEBAND, Audio, AudioFormat, Encoding
from relay.media.resample import Samples
from relay.media.transcode import Transcoder

REST_MS = 5000.0
"""The line is looked at after so much in any case."""
EARLY_MS = float(GLANCE_MS)
EARLY_LOOKS = 12
"""So many glances come first, one every `EARLY_MS`: three seconds of a line that is new or had an echo. The control
itself compares as much as two glances at most, unless it suspects an echo."""
LEAST_REST_MS = float(GLANCE_MS + REACH_MS)
"""It is looked at no sooner, however often speech is heard, as it is while a caller talks over the assistant. So much
of both sides is kept: a glance takes all of it."""
SPEECH_MS = 140.0
"""So long after the detector heard speech there is enough of it: of an echo, four blocks or more."""


class EchoFeed:
    """One for a stream of a caller. Both sides are of the format `source`, in step, at a multiple of 4 kHz."""

    def __init__(self, source: AudioFormat, mode: EchoMode) -> None:
        self.control = EchoControl(mode)
        self._source = source
        self._bytes_per_ms = source.rate_hz * source.block_bytes / 1000
        self._least_bytes = round(LEAST_REST_MS * self._bytes_per_ms)
        self._decode = Transcoder(source, AudioFormat(Encoding.PCM_S16LE, source.rate_hz))
        self._widen_near = Transcoder(source, WIDEBAND)
        self._widen_far = Transcoder(source, WIDEBAND)
        self._near_kept, self._far_kept = bytearray(), bytearray()
        self._unplayed_bytes = 0
        """So much of the end of what is kept of the far side is silence, for nothing was played."""
        self._rested_ms, self._look_at_ms = 0.0, EARLY_MS
        self._early_looks = EARLY_LOOKS

    def look_soon(self) -> None:
        """The detector hears speech: if that is an echo, it is to be known at once."""
        self._look_at_ms = min(self._look_at_ms, max(self._rested_ms + SPEECH_MS, LEAST_REST_MS))

    def push(self, near: bytes, far: bytes | None, wide: Samples | None = None) -> Samples | None:
        """Take the next of the caller, and what was played meanwhile, as long; None for silence.

        `wide` is what the caller said at 16 kHz, if that is made anyway. Return what is to be heard in its place, as
        `EchoControl.push` does; None: just that.
        """
        rests = self._rests()
        self._keep(near, far)
        if rests:
            return None
        if wide is None:
            wide = _widened(self._widen_near, near)
        cleaned = self.control.push(wide, self._played(far, len(wide)))
        if self.control.state is EchoState.FOUND:
            self._early_looks = EARLY_LOOKS
        return None if cleaned is wide else cleaned

    def lost(self, far: bytes) -> Samples | None:
        """What was recorded while this was played did not come, and nothing was put in its place.

        To the canceller it is silence: an echo keeps its delay, whatever is missing. Return what waited of what had
        come before, as `push` does.
        """
        rests = self._rests()
        self._keep(self._source.silence(len(far)), far)
        if rests:
            return None
        played = self._played(far, 0)
        return self.control.push(np.zeros(len(played), np.int16), played, lost=len(played))

    def _rests(self) -> bool:
        """Whether the control rests. If a look is due, and suspects an echo, it has been woken."""
        if self.control.state is not EchoState.RESTING:
            return False
        if self._rested_ms < self._look_at_ms:
            return True
        can_tell = self._unplayed_bytes < len(self._far_kept) and len(self._far_kept) >= self._least_bytes
        if can_tell and self._early_looks:
            self._early_looks -= 1
        self._rested_ms, self._look_at_ms = 0.0, EARLY_MS if self._early_looks else REST_MS
        return not (can_tell and self._suspects())

    def _keep(self, near: bytes, far: bytes | None) -> None:
        """Joined they take two thirds of the room that the pieces take by themselves."""
        size = len(near)
        self._near_kept += near
        self._far_kept += self._source.silence(size) if far is None else far
        self._unplayed_bytes = self._unplayed_bytes + size if far is None else 0
        self._rested_ms += size / self._bytes_per_ms
        if (spare := len(self._near_kept) - self._least_bytes) >= size:
            spare -= spare % (size or 1)
            del self._near_kept[:spare], self._far_kept[:spare]

    def _suspects(self) -> bool:
        """Have a glance at what was kept. If it may be an echo, the control is awake afterwards."""
        near, far = bytes(self._near_kept), bytes(self._far_kept)
        said, played = (self._decode.samples(Audio(self._source, side)) for side in (near, far))
        if glance(said, played, self._source.rate_hz) < GLANCE_SUSPECT:
            return False
        self._widen_near.reset()
        self._widen_far.reset()
        self.control.wake(_widened(self._widen_near, near), _widened(self._widen_far, far))
        return True

    def _played(self, far: bytes | None, samples: int) -> Samples:
        return np.zeros(samples, np.int16) if far is None else _widened(self._widen_far, far)


def _widened(widen: Transcoder, data: bytes) -> Samples:
    return widen.samples(Audio(widen.source, data))
