"""Silences what is no louder than the echo that is expected: in place of a canceller, where its library is missing.

A caller who is louder than the echo is heard, a quieter one is not. So this is for the speech detector alone: what it
leaves is no speech that an assistant could understand.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from relay.media.resample import Samples

RATE_HZ = 16000
BLOCK_MS = 10
ROOM_MS = 100
"""So long a room answers."""
EARLY_MS = 20
MARGIN_DB = 6.0
"""An echo of single blocks is so much louder than its loss in the mean says."""
_BLOCK = RATE_HZ * BLOCK_MS // 1000


class EchoBar:
    """One for an echo so much later and weaker. A sound comes out of it `delayed` samples later, as of a canceller."""

    def __init__(self, delay_ms: float, loss_db: float, *, delayed: int) -> None:
        self._gain = 10 ** ((MARGIN_DB - loss_db) / 10)
        latest = round((delay_ms + ROOM_MS) / BLOCK_MS) + 1
        self._played: deque[float] = deque([0.0] * latest, maxlen=latest)
        self._answering = latest - max(0, round((delay_ms - EARLY_MS) / BLOCK_MS))
        self._late: Samples = np.zeros(delayed, np.int16)

    def process(self, near: Samples, far: Samples) -> Samples:
        """Take whole blocks of 10 ms of the caller, and what was played then; return as much."""
        left = near.copy()
        heard = _powers(near)
        for number, (power, played) in enumerate(zip(heard, _powers(far), strict=True)):
            self._played.append(played)
            if power <= max(list(self._played)[: self._answering]) * self._gain:
                left[number * _BLOCK : (number + 1) * _BLOCK] = 0
        both = np.concatenate((self._late, left))
        self._late = both[len(near) :]
        return both[: len(near)]


def _powers(samples: Samples) -> list[float]:
    blocks: NDArray[np.float32] = samples.astype(np.float32).reshape(-1, _BLOCK)
    powers: list[float] = np.einsum("ij,ij->i", blocks, blocks).tolist()
    return powers
