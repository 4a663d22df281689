"""Finishes what a canceller leaves: weaker where it is mostly echo, and as it came where the caller drowns the echo.

A canceller opens some 50 ms late for a caller who speaks over an echo, and takes parts of the spectrum away for as long
as both last. The speech model then needs twice the time to be sure. So what is clearly louder than the echo can be is
mixed in untouched. How loud that is follows from what was played: an envelope that dies away as in a room, less a loss
that is learnt from the blocks of 10 ms that the canceller takes for echo.
"""

from math import log10

import numpy as np

from relay.media.echo_estimate import HEARD_DBFS, PLAYED_DBFS, Floats
from relay.media.features import FULL_SCALE
from relay.media.resample import Samples

BLOCK = 160
"""Samples of 10 ms."""
EARLY_BLOCKS, LATE_BLOCKS = 2, 1
"""An echo is looked for so much earlier and later than the delay says."""
EXPLAINED_DB = 6.0
"""Where the canceller takes less than so much of what is heard away, somebody speaks, or the echo has moved."""
ECHO_DB = 10.0
"""Where it takes more away, what is heard is echo."""
FADED_BY_MAX_DB = 18.0
"""What is left of an echo gets weaker by as much as was taken away over `ECHO_DB`, and by no more than this."""
BELIEVED_DB = 20.0
"""Where the canceller takes so much away, it is an echo however loud: it may have become louder."""
LOUDER_DB, DROWNED_DB = 3.0, 9.0
"""What is so much louder than the echo begins to be mixed in, and is all that is heard."""
DECAY_DB = 1.5
"""By so much a block an echo dies away: a room that takes 0.4 s for 60 dB."""
MARGIN_DB = 6.0
"""The loudest blocks of an echo are so much louder than its loss says."""
LOUDEST_PART, STEP_DB = 0.95, 0.5
"""This part of the blocks of an echo is no louder than what is expected, which moves by as little for each."""
_DECAY = 10 ** (-DECAY_DB / 10)
_HEARD = float(10 ** (HEARD_DBFS / 10) * FULL_SCALE**2) * BLOCK
_PLAYED = float(10 ** (PLAYED_DBFS / 10) * FULL_SCALE**2) * BLOCK
_RAMP: Floats = np.arange(BLOCK, dtype=np.float32) / np.float32(BLOCK)


class EchoResidue:
    """One for a canceller. All sounds are 16 kHz, in whole blocks.

    `loss_db`: so much weaker `played` comes back. None while that is not known; then nothing is mixed in.
    """

    def __init__(self, loss_db: float | None = None) -> None:
        self.is_explained = False
        """Whether all that was heard in the last block was echo, or nothing."""
        self._echo_db = None if loss_db is None else MARGIN_DB - loss_db
        self._coming = 0.0
        self._gain = 1.0
        self._untouched = 0.0

    def push(self, heard: Samples, cleaned: Samples, played: Samples) -> Samples:
        """Return what is to be used of `heard`, and of what the canceller has left of it.

        `played` is what may come back in it: from `LATE_BLOCKS` before to `EARLY_BLOCKS` behind the very sound.
        """
        before, after = _blocks(heard), _blocks(cleaned)
        gains, untouched = [self._gain], [self._untouched]
        for was, left, loudest in zip(_powers(before), _powers(after), self._loudest(played), strict=True):
            removed_db = _db(was) - _db(left)
            self.is_explained = removed_db >= EXPLAINED_DB or left < _HEARD
            gains.append(10 ** (-min(max(removed_db - ECHO_DB, 0.0), FADED_BY_MAX_DB) / 20))
            untouched.append(self._part_untouched(was, removed_db, loudest))
        self._gain, self._untouched = gains[-1], untouched[-1]
        if min(gains) == 1 and not any(untouched):
            return cleaned
        part = _ramps(untouched)
        used: Samples = (after * _ramps(gains) * (1 - part) + before * part).astype(np.int16).ravel()
        return used

    def _loudest(self, played: Samples) -> list[float]:
        powers = _powers(_blocks(played))
        width = LATE_BLOCKS + 1 + EARLY_BLOCKS
        return [max(powers[at : at + width]) for at in range(len(powers) - width + 1)]

    def _part_untouched(self, was: float, removed_db: float, loudest: float) -> float:
        self._coming = max(loudest, self._coming * _DECAY)
        if self._echo_db is None or was < _HEARD:
            return 0.0
        over_db = _db(was) - _db(self._coming) - self._echo_db
        if removed_db >= ECHO_DB and self._coming >= _PLAYED:
            self._echo_db += STEP_DB * (LOUDEST_PART - (over_db <= 0))
        if removed_db >= BELIEVED_DB:
            return 0.0
        return min(max((over_db - LOUDER_DB) / (DROWNED_DB - LOUDER_DB), 0.0), 1.0)


def _blocks(samples: Samples) -> Floats:
    return samples.astype(np.float32).reshape(-1, BLOCK)


def _powers(blocks: Floats) -> list[float]:
    powers: list[float] = np.einsum("ij,ij->i", blocks, blocks).tolist()
    return powers


def _db(power: float) -> float:
    return 10 * log10(power + 1)


def _ramps(values: list[float]) -> Floats:
    """From each value to the next, a block long."""
    ends = np.array(values, np.float32)[:, None]
    return ends[:-1] + (ends[1:] - ends[:-1]) * _RAMP
