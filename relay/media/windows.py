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

    __slots__ = ("_cut_samples", "_filled", "_rate_hz", "_window", "_window_samples")

    def __init__(self, window_samples: int, rate_hz: int) -> None:
        self._window_samples = window_samples
        self._rate_hz = rate_hz
        self._cut_samples = 0
        self._window: Samples = np.empty(window_samples, np.int16)
        """The next, of which the beginning is `_filled`. It is given away when it is whole."""
        self._filled = 0

    def push(self, samples: Samples) -> list[Window]:
        """Return the windows that are complete now, oldest first."""
        windows: list[Window] = []
        while (room := self._window_samples - self._filled) <= len(samples):
            self._window[self._filled :] = samples[:room]
            samples = samples[room:]
            self._cut_samples += self._window_samples
            windows.append(Window(self._window, self._cut_samples * 1000 / self._rate_hz))
            self._window, self._filled = np.empty(self._window_samples, np.int16), 0
        filled = self._filled + len(samples)
        self._window[self._filled : filled] = samples
        self._filled = filled
        return windows
