"""Measures whether what is played to a caller comes back in what the caller says, how late and how weak.

Two sounds of different people have nothing in common once their spectra are flattened; an echo has the whole of it, at
one delay. So 64 ms of the caller are correlated with all that was played in the second before, both with a flat
spectrum (the phase transform: Knapp and Carter 1976). What is found at each delay is added up, and forgotten within
about a quarter of a second. Chance adds up as a random walk, whose size is known: the score is the highest sum in units
of that, or in units of all sums, whichever is less. For the tones of two sides agree at every delay, and an echo at
one. No single block is believed too much: on each side a sound may begin suddenly. Nothing is computed while nothing is
played, or the caller is silent.
"""

from collections import deque
from functools import cache

import numpy as np
from numpy.typing import NDArray

from relay.media.features import level_dbfs
from relay.media.resample import Samples

RATE_HZ = 16000
HOP_MS = 32
BLOCK_MS = 64
REACH_MS = 960
"""The longest delay at which an echo is found."""
PLAYED_DBFS = -55.0
"""From this level on the echo of what is played may be heard."""
HEARD_DBFS = -62.0
"""An echo under this level is none: it is at most a few steps of a mu-law sample."""
CERTAIN = 12.0
"""The score of an echo. Two sides that had none came to 9.1 in 42 minutes in which both always spoke."""
LEAST_LOSS_DB = -6.0
"""What comes back so much louder than it was played is no echo, but another sound that is like it."""
GLANCE_MS = 256
GLANCE_SUSPECT = 4.5
"""From this score of a glance on it is worth the eight steps."""
STEADY_STEPS = 3
STEADY_MS = 2.0
"""An echo keeps its delay."""
_RATE_HZ = 4000
"""The bandwidth that is looked at holds most of the power of speech."""
_STEP = RATE_HZ // _RATE_HZ
_HOP = HOP_MS * _RATE_HZ // 1000
_BLOCK = BLOCK_MS * _RATE_HZ // 1000
_LAGS = REACH_MS * _RATE_HZ // 1000
_SPAN = _LAGS + _BLOCK
_QUICK_SPAN = 1024
"""A multiple of this is transformed in two thirds of the time that the samples of a glance take, which have a factor
of 19."""
_KEPT = 0.88
"""Part of the sums that outlives a hop: a time constant of a quarter of a second."""
_TONE_BREADTH = 0.15
"""Mean square of a flattened spectrum: tones have 0.05 to 0.08, speech 0.2 to 0.8. Tones prove nothing."""
_FLAT_DOWN_TO = 0.05
"""Parts of the spectrum that are so much weaker than its mean are left weak: they are noise."""
_CHANCE_SCALE = 3.4
_BLOCK_MAX = 25.0
"""A block adds at most so many times its own chance, which an echo seldom passes. Two clicks, one on each side, agree
perfectly at the one delay between them: in the two blocks that share a click they come to a score of 10.4 by that."""
_LOSSES_KEPT = 16

Floats = NDArray[np.float32]
"""Enough for what differs by 60 dB at most, and transformed in two thirds of the time."""


class EchoEstimate:
    """One for a stream of a caller; both sounds are 16 kHz, in step, in chunks of any length.

    `score` is how far the sum at the best delay stands out: 4 to 5 by chance, 17 to 40 in an echo. `delay_ms` and
    `loss_db` are those of the echo, if there is one: so much later and weaker than `far` it is in `near`. A caller who
    speaks, or noise, makes the loss seem smaller for that time.
    """

    def __init__(self) -> None:
        self.score = 0.0
        self.delay_ms = 0.0
        self._steady = 0
        self._near, self._far = _QUIET[:_BLOCK], _QUIET
        self._waiting: list[tuple[Samples, Samples]] = []
        self._waiting_samples = 0
        self._sums = self._chance = _QUIET[: _LAGS + 1]
        self._losses_db: deque[float] = deque(maxlen=_LOSSES_KEPT)

    @property
    def is_certain(self) -> bool:
        """Whether the last that was compared proves an echo."""
        return self.score >= CERTAIN and self._steady >= STEADY_STEPS and self.loss_db >= LEAST_LOSS_DB

    @property
    def loss_db(self) -> float:
        """The median of the last half second of echo."""
        return float(np.median(self._losses_db)) if self._losses_db else 0.0

    def remember(self, near: Samples, far: Samples) -> None:
        """Take what came before the first push, without a look at it."""
        whole = min(len(near), _SPAN * _STEP) // _STEP * _STEP
        self._take(near[len(near) - whole :], far[len(far) - whole :])

    def push(self, near: Samples, far: Samples, *, thinned: int = 1) -> int:
        """Take what comes next of both; return in how many steps there was anything to compare.

        A step is 32 ms, or with `thinned` as many times that, of which only the end is compared: it costs so much
        less, and an echo is found so much later.
        """
        self._waiting.append((near, far))
        self._waiting_samples += len(near)
        hop, compared = _HOP * _STEP * thinned, 0
        whole = self._waiting_samples // hop * hop
        if not whole:
            return 0
        near, far = (np.concatenate(sides) for sides in zip(*self._waiting, strict=True))
        for at in range(0, whole, hop):
            compared += self._step(near[at : at + hop], far[at : at + hop])
        self._waiting, self._waiting_samples = [(near[whole:], far[whole:])], len(near) - whole
        return compared

    def _take(self, near: Samples, far: Samples) -> None:
        self._near = np.concatenate((self._near, _slow(near)))[-_BLOCK:]
        self._far = np.concatenate((self._far, _slow(far)))[-_SPAN:]

    def _step(self, near: Samples, far: Samples) -> bool:
        self._take(near, far)
        if level_dbfs(near[-_HOP * _STEP :]) < HEARD_DBFS:
            return False
        compared = _compare(self._near, self._far)
        if compared is None:
            return False
        agreement, chance = compared
        most = _BLOCK_MAX * np.sqrt(chance + _least(chance))
        added = np.maximum(np.minimum(agreement, most), -most)  # np.clip takes three times as long
        self._sums = self._sums * _KEPT + added
        self._chance = self._chance * _KEPT**2 + chance
        self._look()
        return True

    def _look(self) -> None:
        self.score, at = _best(self._sums, self._chance)
        delay_ms = (_LAGS - at) * 1000 / _RATE_HZ
        self._steady = self._steady + 1 if abs(delay_ms - self.delay_ms) <= STEADY_MS else 1
        self.delay_ms = delay_ms
        played, heard = self._far[at : at + _BLOCK], self._near
        if (power := float(played @ played)) > _power(PLAYED_DBFS) * _BLOCK:
            self._losses_db.append(10 * float(np.log10(power / (float(heard @ heard) + 1.0))))


def glance(near: Samples, far: Samples, rate_hz: int) -> float:
    """Return the score of the last `GLANCE_MS` of the caller, taken as one block, at the price of a step.

    Of an echo nine in ten have over `GLANCE_SUSPECT`, of two people who speak at once, or noise, one in twenty. `far`
    is to be `REACH_MS` longer. Both are of this rate, a multiple of 4 kHz.
    """
    step, block = rate_hz // _RATE_HZ, GLANCE_MS * _RATE_HZ // 1000
    near, far = near[-block * step :], far[-(_LAGS + block) * step :]
    if level_dbfs(near) < HEARD_DBFS or len(far) < (_LAGS + block) * step:
        return 0.0
    heard, played = _slow(near, step), _slow(far, step)
    compared = _compare(heard, played)
    return 0.0 if compared is None else _best(*compared)[0]


def _compare(near: Floats, far: Floats) -> tuple[Floats, Floats] | None:
    """Return how much a block agrees with what was played at each lag, and the power of that by chance.

    None if next to nothing was played, and for a tone, which proves nothing.
    """
    if float(far @ far) / len(far) < _power(PLAYED_DBFS - 6):
        return None
    span = -(-len(far) // _QUICK_SPAN) * _QUICK_SPAN
    sides = np.zeros((2, span), np.float32)  # transforming both at once takes two thirds of the time
    sides[0, : len(far)] = far
    np.multiply(near, _window(len(near)), out=sides[1, : len(near)])
    far_flat, near_flat = spectra = _flat(sides)
    near_size = _energy(near_flat)
    if near_size / len(near_flat) < _TONE_BREADTH:
        return None
    np.multiply(far_flat, near_flat.conj(), out=near_flat)
    played, agreement = np.fft.irfft(spectra)
    chance = _block_powers(played[: len(far)], len(near)) * np.float32(near_size * 2 / span**2)
    return agreement[: _LAGS + 1], chance


def _best(sums: Floats, chance: Floats) -> tuple[float, int]:
    """Return the score of the lag that stands out most, and its place."""
    powers = sums * sums
    scores = powers / (chance + _least(chance))
    at = int(np.argmax(scores))
    by_chance = float(scores[at]) ** 0.5 / _CHANCE_SCALE
    among_all = (float(powers[at]) / _mean(powers)) ** 0.5
    return min(by_chance, among_all), at


def _slow(samples: Samples, step: int = _STEP) -> Floats:
    return samples.astype(np.float32).reshape(-1, step) @ np.full(step, 1 / step, np.float32)


def _flat(sounds: Floats) -> NDArray[np.complex64]:
    """The spectra of sounds, one in each row, flattened."""
    spectra = np.fft.rfft(sounds).astype(np.complex64, copy=False)
    sizes = np.abs(spectra)
    mean_powers = np.einsum("ij,ij->i", sizes, sizes) / np.float32(sizes.shape[1])
    least = _FLAT_DOWN_TO * np.sqrt(mean_powers) + np.float32(1e-9)
    spectra *= 1 / (sizes + least[:, None])
    return spectra


def _block_powers(sound: Floats, block: int) -> Floats:
    """The power of each `block` samples, a power of 2, that follow each other: sums of two, of four, and so on."""
    powers, width = sound * sound, 1
    while width < block:
        powers, width = powers[:-width] + powers[width:], 2 * width
    return powers


@cache
def _window(samples: int) -> Floats:
    return np.hanning(samples).astype(np.float32)


def _energy(spectrum: NDArray[np.complex64]) -> float:
    parts = spectrum.view(np.float32)
    return float(parts @ parts)


def _least(chance: Floats) -> np.float32:
    """Where next to nothing was played, chance is not as small as it is computed."""
    return np.float32(0.05 * _mean(chance))


def _mean(values: Floats) -> float:
    """Of one value for each lag."""
    return float(values @ _EVEN)


def _power(dbfs: float) -> float:
    return float(10 ** (dbfs / 10) * 32768**2)


_QUIET: Floats = np.zeros(_SPAN, np.float32)
_EVEN = np.full(_LAGS + 1, 1 / (_LAGS + 1), np.float32)
