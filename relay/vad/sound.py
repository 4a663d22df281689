"""Prepares recordings for the detector: read, sent over the telephone, cut into windows, judged by the model."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from relay.errors import FormatMismatch
from relay.media import g711
from relay.media.denoise import Denoiser
from relay.media.features import model_input
from relay.media.resample import resampler
from relay.media.silero import SileroModel
from relay.media.sound import Sound, convert, run_through
from relay.media.wav import read_wav

TELEPHONE_HZ = 8000
WIDEBAND_HZ = 16000
LARGEST_BYTES = 2 * 3600 * WIDEBAND_HZ * 2 + 4096
"""Two hours at 16 kHz, and a header."""


class Route(StrEnum):
    """The way by which a recording reaches the relay."""

    AS_IT_IS = "as it is"
    TELEPHONE = "mu-law 8 kHz"
    WIDEBAND = "PCM 16 kHz"


def read_sound(path: Path) -> Sound:
    """Read a WAV file, of two hours at most, its channels averaged. A rate other than 8 or 16 kHz becomes 16.

    It is all held in memory. Raises `FormatMismatch`, which says what it is instead, or `OSError` if it cannot be read.
    """
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise FormatMismatch(
            f"{path}: {size / 1e6:.0f} MB, wanted at most {LARGEST_BYTES / 1e6:.0f} (2 hours at 16 kHz)"
        )
    sound = read_wav(path)
    return sound if sound.rate_hz == TELEPHONE_HZ else convert(sound, WIDEBAND_HZ)


def on_the_way(sound: Sound, route: Route) -> Sound:
    """Return the sound as it reaches the relay by this route."""
    if route is Route.TELEPHONE:
        telephone = convert(sound, TELEPHONE_HZ)
        return Sound(g711.decode(g711.encode(telephone.samples)), TELEPHONE_HZ)
    return convert(sound, WIDEBAND_HZ) if route is Route.WIDEBAND else sound


def windows(
    sound: Sound,
    model: SileroModel,
    route: Route = Route.AS_IT_IS,
    shift_ms: float = 0.0,
    *,
    reduce_noise: bool = False,
) -> NDArray[np.int16]:
    """Return the whole windows `[n, window_samples]` that the detector gets, with all delays that they have in a call.

    `shift_ms` of silence before the recording moves it against the windows.
    """
    sound = on_the_way(sound, route)
    if reduce_noise:
        widened = run_through(resampler(sound.rate_hz, WIDEBAND_HZ), sound.samples)
        sound = Sound(Denoiser().push(widened), WIDEBAND_HZ)
    silence = np.zeros(round(shift_ms * model.rate_hz / 1000), np.int16)
    heard = np.concatenate((silence, run_through(resampler(sound.rate_hz, model.rate_hz), sound.samples)))
    size = model.window_samples
    return heard[: len(heard) // size * size].reshape(-1, size)


def probabilities(model: SileroModel, streams: Sequence[NDArray[np.int16]], gain_db: float) -> list[list[float]]:
    """Return the probability of speech in each window of each stream. Streams run side by side, in batches."""
    states = [model.new_state() for _ in streams]
    result: list[list[float]] = [[] for _ in streams]
    for index in range(max(map(len, streams), default=0)):
        running = [number for number, stream in enumerate(streams) if index < len(stream)]
        batch = [model_input(streams[number][index], gain_db) for number in running]
        for number, probability in zip(running, model.run(batch, [states[n] for n in running]), strict=True):
            result[number].append(probability)
    return result
