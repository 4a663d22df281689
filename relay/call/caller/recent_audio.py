"""Keeps the last two seconds of the caller, for whoever wants to hear again what the detector decided on."""

import math
from collections import deque

import numpy as np

from relay.media.detector import WINDOW_MS
from relay.media.resample import Samples

KEPT_MS = 2000.0


class RecentAudio:
    """At most `KEPT_MS` and a part of a window, at `rate_hz`."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._windows: deque[Samples] = deque(maxlen=math.ceil(KEPT_MS / WINDOW_MS))

    def push(self, samples: Samples) -> None:
        """The next window that the detector has heard."""
        self._windows.append(samples)

    def samples(self) -> Samples:
        """All of it, oldest first."""
        return np.concatenate(self._windows) if self._windows else np.zeros(0, np.int16)
