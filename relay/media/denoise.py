"""Reduces the noise in the caller's audio with the noise suppressor of WebRTC.

It learns the spectrum of what is there all the time and takes up to 6 dB off it (a Wiener filter, 10 ms at a time, at
16 kHz). That is its mildest setting; the stronger ones (12, 18, 21 dB) were measured and cost more than they give: the
speech detector, which was trained on noise, cuts at noise that they have made uneven, and misses what they have eaten.
"""

import numpy as np

from relay.errors import ConfigError
from relay.media.resample import Samples

RATE_HZ = 16000
MILDEST = 0
"""The suppressor's level for 6 dB; 1, 2 and 3 are the stronger ones."""
_BLOCK_SAMPLES = RATE_HZ // 100


class Denoiser:
    """Cleans one stream of 16 kHz mono audio.

    What comes out depends on the samples alone, not on how they were chunked: of n samples in all floor(n / 160) * 160
    have come out, so chunks of whole 10 ms come out at their length and nothing waits. A sound comes out 6 ms later
    than it went in: two blocks overlap by so much. Silence from the start is returned as zeros. The noise is learnt
    within about a second.
    """

    __slots__ = ("_held", "_suppressor")

    def __init__(self) -> None:
        """Raises `ConfigError` where the library is missing: it has no wheel for some platforms."""
        try:
            from pywebrtc_audio import NoiseSuppressor  # noqa: PLC0415 - it may be missing
        except ImportError as error:
            raise ConfigError(f"audio.noise_reduction needs pywebrtc-audio: {error}") from error
        self._suppressor = NoiseSuppressor(sample_rate=RATE_HZ, num_channels=1, level=MILDEST)
        self._held: Samples = np.zeros(0, np.int16)

    def push(self, samples: Samples) -> Samples:
        """Return the part that is ready, perhaps empty."""
        held = np.concatenate((self._held, samples)) if len(self._held) else samples
        whole = len(held) // _BLOCK_SAMPLES * _BLOCK_SAMPLES
        self._held = held[whole:]
        cleaned: Samples = self._suppressor.process(held[:whole]) if whole else held[:0]
        return cleaned
