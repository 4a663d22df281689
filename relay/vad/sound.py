"""Prepares recordings for the detector: read, sent over the telephone, cut into windows, judged by the model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from relay.errors import FormatMismatch
from relay.media import g711
from relay.media.cough_probe import CoughProbe
from relay.media.denoise import Denoiser
from relay.media.resample import resampler
from relay.media.silero import SileroModel, SileroState
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


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The answers for each window of one stream: the model's probability, the cough probe's bound on its log-odds."""

    probabilities: list[float] = field(default_factory=list)
    voice_bounds: list[float] = field(default_factory=list)


def answers(model: SileroModel, streams: Sequence[NDArray[np.int16]], gain_db: float) -> list[Answers]:
    """Return what model and probe say about each window of each stream.

    Raises `ConfigError` without the probe's weights.
    """
    probe = CoughProbe.load(model.rate_hz)
    result = [Answers() for _ in streams]
    for running, probabilities, states in run(model, streams, gain_db):
        for number, probability, bound in zip(running, probabilities, probe.bounds(states), strict=True):
            result[number].probabilities.append(probability)
            result[number].voice_bounds.append(bound)
    return result


def run(
    model: SileroModel, streams: Sequence[NDArray[np.int16]], gain_db: float
) -> Iterator[tuple[list[int], list[float], list[SileroState]]]:
    """Run streams side by side, a window of each at a time.

    Each batch gives the numbers of the streams that had a window, its probability, and their states behind it, which
    the next batch changes.
    """
    states = [model.new_state() for _ in streams]
    for index in range(max(map(len, streams), default=0)):
        running = [number for number, stream in enumerate(streams) if index < len(stream)]
        batch = [streams[number][index] for number in running]
        theirs = [states[number] for number in running]
        yield running, model.run(batch, theirs, gain_db), theirs
