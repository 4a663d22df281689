"""Keeps the newest samples of a stream in one piece."""

import numpy as np

from relay.media.resample import Samples

SPARE_PART = 4
"""The room for new samples is a quarter of what is kept: with more of it memory lies idle, with less all is copied more
often, and an eighth costs more CPU than it saves memory."""


class RecentSamples:
    """The last push, and the `kept` samples before it; until they are copied, up to `kept` / `SPARE_PART` more."""

    __slots__ = ("_buffer", "_end", "_kept")

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._buffer: Samples = np.zeros(0, np.int16)
        self._end = 0

    @property
    def samples(self) -> Samples:
        """A view, oldest first, of which what follows changes nothing."""
        return self._buffer[: self._end]

    def push(self, samples: Samples) -> None:
        """Take what comes next, of any length."""
        end = self._end + len(samples)
        if end > len(self._buffer):
            kept = self.samples[-self._kept :]
            self._buffer = np.empty(self._kept + max(len(samples), self._kept // SPARE_PART), np.int16)
            self._buffer[: len(kept)] = kept
            self._end, end = len(kept), len(kept) + len(samples)
        self._buffer[self._end : end] = samples
        self._end = end
