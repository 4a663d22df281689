"""Two recordings are compared here: which parts of one are found in the other, whatever coding lies between.

Two pieces are the same sound when their normalised cross-correlation (1.0: equal but for the level) is high. A window
of 60 ms tells voices apart, and survives mu-law and resampling. Only 200 to 3000 Hz are looked at: above, telephone
audio ends sooner or later, as each resampler has it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from relay.standin.phone.player import AUDIBLE_DBFS, RATE_HZ
from relay.standin.sound import Samples

FRAME_SAMPLES = 160
SAME = 0.8
"""Correlation from which a window counts as found: the way through the relay keeps more than 0.97."""
_AUDIBLE_RMS = 32768 * 10 ** (AUDIBLE_DBFS / 20)
_LOW_HZ, _HIGH_HZ = 200, 3000
_WINDOW_SAMPLES = 3 * FRAME_SAMPLES
_BLOCK_SAMPLES = 4096
_DRIFT_SAMPLES = RATE_HZ // 4
"""How far a passage may move against the one before it and still be in order."""
_QUIETEST = 0.05
"""A place so much weaker than what is looked for is not it."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Explained:
    """One audible frame: the sample at which it begins, and how well each of two sources explains it (0 to 1)."""

    at: int
    first: float
    second: float


def audible_frames(samples: Samples) -> list[int]:
    """The samples at which the audible 20 ms frames begin."""
    n_frames = len(samples) // FRAME_SAMPLES
    frames = samples[: n_frames * FRAME_SAMPLES].reshape(n_frames, FRAME_SAMPLES)
    rms = np.sqrt(np.mean(np.square(frames, dtype=np.float32), axis=1))
    found: list[int] = (np.flatnonzero(rms > _AUDIBLE_RMS) * FRAME_SAMPLES).tolist()
    return found


def quick_length(n_samples: int) -> int:
    """A length that is transformed quickly: one that is a large prime takes a hundred times as long."""
    return -(-n_samples // 1024) * 1024


def in_band(samples: Samples, slope_hz: float = 0.0) -> Samples:
    """The part of the sound that every telephone carries, 200 to 3000 Hz.

    `slope_hz`: how far on each side of an edge it falls off. Without, the edges are sharp, and ring for longer than a
    window.
    """
    if not len(samples):
        return samples
    n = quick_length(len(samples))
    spectrum = np.fft.rfft(samples.astype(np.float64), n)
    hz = np.arange(len(spectrum), dtype=np.float64) * RATE_HZ / n
    spectrum = spectrum * _share(hz, _LOW_HZ, slope_hz) * (1 - _share(hz, _HIGH_HZ, slope_hz))
    loose = np.fft.irfft(spectrum, n)[: len(samples)]
    return np.asarray(np.clip(np.rint(loose), -32768, 32767), np.int16)


def _share(hz: Floats, edge_hz: float, slope_hz: float) -> Floats:
    """How much of each frequency passes from an edge on."""
    rising: Floats = np.clip((hz - edge_hz) / max(2 * slope_hz, 1e-9) + 0.5, 0.0, 1.0)
    return 0.5 - 0.5 * np.cos(np.pi * rising)


def missing_frames(said: Samples, heard: Samples) -> int:
    """How many audible frames of `said` are not found in `heard`, in the same order. Both at 8 kHz."""
    windows = audible_windows(said)
    if not windows:
        return 0
    source, target = in_band(said).astype(np.float64), in_band(heard).astype(np.float64)
    lag = _whole_lag(source, target)
    missing = 0
    for _, begin, end in windows:
        from_ = max(0, begin + lag - _DRIFT_SAMPLES)
        quality, place = SearchedAudio(target[from_ : max(0, end + lag + _DRIFT_SAMPLES)]).find(source[begin:end])
        if quality < SAME:
            missing += 1
        else:
            lag = from_ + place - begin
    return missing


def explain(heard: Samples, first: Samples, second: Samples) -> list[Explained]:
    """For each audible frame of `heard`, how well it is found anywhere in `first` and in `second`. All at 8 kHz."""
    recording = in_band(heard).astype(np.float64)
    sources = [SearchedAudio(in_band(source).astype(np.float64)) for source in (first, second)]
    found = []
    for at, begin, end in audible_windows(heard):
        in_first, in_second = (source.find(recording[begin:end])[0] for source in sources)
        found.append(Explained(at, in_first, in_second))
    return found


def audible_windows(samples: Samples) -> list[tuple[int, int, int]]:
    """The audible frames, each with the bounds of the 60 ms around it, as far as that is audible too."""
    audible = {*audible_frames(samples)} & {*audible_frames(in_band(samples))}
    return [
        (
            at,
            at - FRAME_SAMPLES * (at - FRAME_SAMPLES in audible),
            at + FRAME_SAMPLES * (1 + (at + FRAME_SAMPLES in audible)),
        )
        for at in sorted(audible)
    ]


class SearchedAudio:
    """A recording in which windows of at most 60 ms are looked for.

    The delay of a resampler is no whole number of samples, so a copy that is half a sample later is looked at as well.
    """

    def __init__(self, samples: Floats) -> None:
        self._copies = (_Copy(samples), _Copy(_half_a_sample_later(samples)))

    def find(self, window: Floats) -> tuple[float, int]:
        """The best correlation with any place, and that place; 0 when there is none."""
        if float(np.linalg.norm(window)) == 0.0:
            return 0.0, 0
        return max(copy.find(window) for copy in self._copies)


class _Copy:
    """A recording in blocks that overlap by a window: many short transforms take a fraction of the time of a long one.

    The energy of each stretch is the difference of two running sums.
    """

    def __init__(self, samples: Floats) -> None:
        self._length = len(samples)
        self._fft = min(_BLOCK_SAMPLES, 1 << (self._length + _WINDOW_SAMPLES).bit_length())
        self._step = self._fft - _WINDOW_SAMPLES
        n_blocks = self._length // self._step + 1
        padded = np.zeros(n_blocks * self._step + _WINDOW_SAMPLES, np.float32)
        padded[: self._length] = samples
        self._spectra = np.fft.rfft(sliding_window_view(padded, self._fft)[:: self._step])
        self._energy = np.cumsum(np.concatenate(([0.0], samples * samples)))

    def find(self, window: Floats) -> tuple[float, int]:
        size, norm = len(window), float(np.linalg.norm(window))
        if self._length < size:
            return 0.0, 0
        # What is much weaker than the window is divided by more than its own energy, or near silence would correlate
        # with everything.
        local = np.sqrt(np.maximum(self._energy[size:] - self._energy[:-size], 0.0))
        weight = norm * np.maximum(local, _QUIETEST * norm)
        wanted = np.conj(np.fft.rfft(window.astype(np.float32), self._fft))
        products = np.fft.irfft(self._spectra * wanted, self._fft)[:, : self._step]
        quality = products.ravel()[: len(local)] / weight
        return float(quality.max()), int(np.argmax(quality))


def _half_a_sample_later(samples: Floats) -> Floats:
    n = quick_length(len(samples) + _WINDOW_SAMPLES)
    spectrum = np.fft.rfft(samples, n)
    later: Floats = np.fft.irfft(spectrum * np.exp(-1j * np.pi * np.arange(len(spectrum)) / n), n)[: len(samples)]
    return later


def _whole_lag(source: Floats, target: Floats) -> int:
    """How much later `source` as a whole is found in `target`; negative for earlier."""
    n = 1 << (len(source) + len(target)).bit_length()
    products = np.fft.irfft(np.fft.rfft(target, n) * np.conj(np.fft.rfft(source, n)), n)
    place = int(np.argmax(products))
    return place - n if place > n // 2 else place
