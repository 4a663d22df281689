"""The canceller of WebRTC (AEC3), where its library is installed: it has no wheel for some platforms.

A canceller takes 0.33 MB and 0.26 ms to be made (measured), so none is made before it is needed.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from relay.media.resample import Samples

RATE_HZ = 16000
DELAY_MS = 8.0
"""So much later a sound comes out of the canceller."""


class EchoRemover(Protocol):
    """A canceller, or what takes its place."""

    def process(self, near: Samples, far: Samples) -> Samples:
        """Take whole blocks of 10 ms of the caller, and what was played then; return as much, `DELAY_MS` later."""
        ...


def canceller_maker() -> Callable[[], EchoRemover] | None:
    """Return what makes a canceller; None where the library is missing."""
    try:
        from pywebrtc_audio import EchoCanceller  # noqa: PLC0415 - it may be missing
    except ImportError:
        return None
    return partial(EchoCanceller, sample_rate=RATE_HZ, num_channels=1)
