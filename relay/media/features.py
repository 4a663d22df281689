"""Measures what the speech detector needs besides the model: the level of a window, and the noise under it.

Levels are in dBFS of the mean square: a square wave of full scale has 0, a sine of full scale -3.
"""

from collections.abc import Sequence
from math import log10

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 32768.0
SILENCE_DBFS = -90.0
"""The level given to digital silence, and about that of the smallest step of a 16-bit sample."""
QUIETEST_FLOOR_DBFS = -75.0
"""Silence that a sender invents is no room: a floor lower than any line would make all that follows look loud."""
FALL_PART = 0.25
"""The floor goes so much of the way down to each quieter window: a single odd one does not become the floor."""
RISE_DB_PER_S = 3.0
"""The floor climbs no faster: between two pauses of speech it gains only a few dB."""


def level_dbfs(samples: NDArray[np.int16]) -> float:
    """Return the level of a window, at least -90 dBFS. Empty audio is silent."""
    wide = samples.astype(np.float64)
    return _dbfs(float(wide @ wide) / (len(wide) or 1))


def levels_dbfs(windows: Sequence[NDArray[np.int16]]) -> list[float]:
    """Return the level of each window, all of one length, to the last digit as `level_dbfs` has it: the sum of the
    squares of whole numbers is exact."""
    wide = np.concatenate(windows, dtype=np.float64).reshape(len(windows), -1)
    powers: list[float] = (np.vecdot(wide, wide) / wide.shape[1]).tolist()
    return [_dbfs(power) for power in powers]


def _dbfs(power: float) -> float:
    return max(SILENCE_DBFS, 10 * log10(power / FULL_SCALE**2)) if power else SILENCE_DBFS


class NoiseFloor:
    """Follows the level of what is there all the time.

    It goes a quarter of the way down to each quieter window and climbs by at most 3 dB a second: pauses between words
    pull it back at once, and a new steady noise becomes the floor within seconds.
    """

    __slots__ = ("_rise_db", "level_dbfs")

    def __init__(self, window_ms: float) -> None:
        self._rise_db = RISE_DB_PER_S * window_ms / 1000
        self.level_dbfs: float | None = None

    def push(self, window_dbfs: float) -> float:
        """Take the next window; return how many dB it is over the floor (negative: under it)."""
        heard = max(window_dbfs, QUIETEST_FLOOR_DBFS)
        if self.level_dbfs is None:
            self.level_dbfs = heard
        elif heard < self.level_dbfs:
            self.level_dbfs += FALL_PART * (heard - self.level_dbfs)
        else:
            self.level_dbfs = min(heard, self.level_dbfs + self._rise_db)
        return window_dbfs - self.level_dbfs
