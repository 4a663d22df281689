"""Defines a whole recording in memory, and converts it to another rate."""

from dataclasses import dataclass

import numpy as np
import soxr

from relay.errors import FormatMismatch
from relay.media.resample import Resampler, Samples, SoxrStream, resampler, to_int16

RATE_MIN_HZ, RATE_MAX_HZ = 4_000, 192_000
CHANNELS_MAX = 8
PIECE_SAMPLES = 160_000
"""So many a resampler gets at a time: it needs many times the memory of what it gets at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Mono samples at a rate."""

    samples: Samples
    rate_hz: int

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz


def check_layout(rate_hz: int, channels: int) -> None:
    """Raise `FormatMismatch` for a rate or a number of channels that no recording of speech has."""
    if not RATE_MIN_HZ <= rate_hz <= RATE_MAX_HZ:
        raise FormatMismatch(f"{rate_hz} Hz, wanted {RATE_MIN_HZ} to {RATE_MAX_HZ} Hz")
    if not 1 <= channels <= CHANNELS_MAX:
        raise FormatMismatch(f"{channels} channels, wanted 1 to {CHANNELS_MAX}")


def convert(sound: Sound, rate_hz: int) -> Sound:
    """Return the sound at another rate, as long as before and in its place: no delay of a resampler is left."""
    if sound.rate_hz == rate_hz:
        return sound
    n_samples = len(sound.samples) * rate_hz // sound.rate_hz
    stage = resampler(sound.rate_hz, rate_hz)
    if isinstance(stage, SoxrStream):  # its delay is not known to the sample; libsoxr takes it out of a whole recording
        whole = soxr.resample(sound.samples.astype(np.float32), sound.rate_hz, rate_hz)
        return Sound(to_int16(whole[:n_samples]), rate_hz)
    tail = np.zeros(round(2 * stage.delay_ms * sound.rate_hz / 1000), np.int16)
    late = run_through(stage, np.concatenate((sound.samples, tail)))
    first = round(stage.delay_ms * rate_hz / 1000)
    return Sound(late[first : first + n_samples], rate_hz)


def run_through(stage: Resampler, samples: Samples) -> Samples:
    """Resample a whole recording, piece by piece."""
    pieces = [stage.push(samples[at : at + PIECE_SAMPLES]) for at in range(0, len(samples), PIECE_SAMPLES)]
    return np.concatenate((np.zeros(0, np.int16), *pieces))
