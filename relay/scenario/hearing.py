"""The hearing is what the caller has heard so far, in blocks of 20 ms. Times are seconds since the call was placed."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from relay.media.frames import FRAME_MS
from relay.standin.compare import FRAME_SAMPLES, audible_frames
from relay.standin.phone.player import RATE_HZ
from relay.standin.sound import Samples

BLOCK_S = FRAME_MS / 1000


@dataclass(slots=True, eq=False)
class Hearing:
    """`samples` at 8 kHz, from the moment at which the call was placed."""

    samples: Samples
    audible: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.audible = np.zeros(len(self.samples) // FRAME_SAMPLES, np.bool_)
        self.audible[np.asarray(audible_frames(self.samples), np.int64) // FRAME_SAMPLES] = True

    @property
    def until_s(self) -> float:
        """The end of what has been heard."""
        return len(self.audible) * BLOCK_S

    def between(self, from_s: float, to_s: float) -> Samples:
        """A part of it."""
        return self.samples[max(0, round(from_s * RATE_HZ)) : max(0, round(to_s * RATE_HZ))]

    def audible_s(self, from_s: float, to_s: float) -> float:
        """How much of this time something was heard."""
        n_blocks = int(self.audible[_block(from_s) : max(0, math.ceil(to_s / BLOCK_S - 1e-6))].sum())
        return n_blocks * FRAME_MS / 1000

    def reached_s(self, from_s: float, audible_s: float) -> float:
        """When so much had been heard, which was (see `audible_s`)."""
        blocks = np.flatnonzero(self.audible[_block(from_s) :])
        return (_block(from_s) + int(blocks[math.ceil(audible_s / BLOCK_S - 1e-6) - 1]) + 1) * BLOCK_S

    def first_audible_s(self, from_s: float) -> float | None:
        """When something was heard next; None: not yet."""
        blocks = np.flatnonzero(self.audible[_block(from_s) :])
        return max(from_s, (_block(from_s) + int(blocks[0])) * BLOCK_S) if len(blocks) else None

    def next_silence_s(self, from_s: float, at_least_s: float) -> float | None:
        """When the next silence of that length began, `from_s` at the earliest; None: there was none yet."""
        return next((begin for begin, end in self._silences(from_s) if end - begin >= at_least_s - 1e-6), None)

    def longest_silence_s(self, from_s: float, to_s: float) -> float:
        """The length of the longest silence within this time."""
        lengths = (min(end, to_s) - begin for begin, end in self._silences(from_s))
        return max((length for length in lengths if length > 0), default=0.0)

    def _silences(self, from_s: float) -> list[tuple[float, float]]:
        first = _block(from_s)
        sounds = [first - 1, *(first + np.flatnonzero(self.audible[first:])).tolist(), len(self.audible)]
        bounds = [(max(from_s, (a + 1) * BLOCK_S), b * BLOCK_S) for a, b in pairwise(sounds)]
        return [(begin, end) for begin, end in bounds if end > begin]


def _block(at_s: float) -> int:
    """The block in which this moment lies."""
    return max(0, math.floor(at_s / BLOCK_S + 1e-6))
