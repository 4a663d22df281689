"""Cuts audio into the windows that the speech model takes, however it was chunked."""

import numpy as np
from msgspec import Struct

from relay.media.resample import Samples


class Window(Struct, frozen=True, gc=False):
    """Samples for one run of a model. `end_ms` is their end in the audio pushed so far, from its first sample on."""

    samples: Samples
    end_ms: float


class WindowCutter:
    """Cuts a stream of samples into windows of exactly `window_samples`, without overlap.

    The windows depend on the samples alone, not on how they were chunked; at most one window less a sample waits.
    """

    __slots__ = ("_cut_samples", "_rate_hz", "_rest", "_window_samples")

    def __init__(self, window_samples: int, rate_hz: int) -> None:
        self._window_samples = window_samples
        self._rate_hz = rate_hz
        self._cut_samples = 0
        self._rest: Samples = np.zeros(0, np.int16)

    def push(self, samples: Samples) -> list[Window]:
        """Return the windows that are complete now, oldest first."""
        size = self._window_samples
        held = np.concatenate((self._rest, samples)) if len(self._rest) else samples
        whole = len(held) // size * size
        self._rest = held[whole:]
        first = self._cut_samples
        self._cut_samples += whole
        return [
            Window(held[start : start + size], (first + start + size) * 1000 / self._rate_hz)
            for start in range(0, whole, size)
        ]
