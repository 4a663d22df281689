"""Resamples streams of mono int16 audio, with a constant delay and without bursts.

`PolyphaseFir` serves every pair of rates with a small ratio (8, 16, 24, 32, 48, 96 kHz among each other), `SoxrStream`
the rest (44.1 kHz). libsoxr's usual mode hands out 20 ms pushes in bursts of up to 100 ms; its variable-rate mode does
not, but holds back 5 to 30 ms. The filter here holds back 1.75 ms at most.
"""

from functools import cache, lru_cache
from math import gcd
from threading import get_ident
from typing import NamedTuple, Protocol, Self

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.int16]

HALF_LENGTH = 14
"""Zero crossings of the sinc on each side, which is also the delay in samples of the lower rate."""
KAISER_BETA = 5.65
"""Stop band against transition: Kaiser's figure for 60 dB (Kaiser 1974, the I0-sinh window)."""
LARGEST_FACTOR = 12
"""The ratio of 96 to 8 kHz."""
KEPT_SAMPLES = 2000
"""Room is kept for pushes of so many: 20 ms at any rate, and 100 ms at 16 kHz."""
_RATIOS_PER_BLOCK = 8  # so many groups of `down` samples in, and of `up` samples out, are one row of a matrix product
_COEFFICIENT_STEP = 2.0**-20  # see _weights
_LOWEST, _HIGHEST = np.array(-32768.0), np.array(32767.0)  # as numbers they would be made arrays at each call


class Resampler(Protocol):
    """Turns one stream of samples into the same sound at another rate.

    What comes out depends on the samples alone, not on how they were chunked. Out-of-range values saturate.
    """

    @property
    def delay_ms(self) -> float:
        """By so much a sound comes out later than it went in, counted in audio. It is constant."""
        ...

    def push(self, samples: Samples) -> Samples:
        """Take any number of samples of the one rate; return those of the other that are ready."""
        ...

    def reset(self) -> None:
        """Forget all audio: silence pushed after this comes out as zeros."""
        ...


def resampler(rate_in_hz: int, rate_out_hz: int) -> Resampler:
    """Return the resampler of choice for a pair of rates."""
    if rate_in_hz == rate_out_hz:
        return NoResampling()
    divisor = gcd(rate_in_hz, rate_out_hz)
    if max(rate_in_hz, rate_out_hz) // divisor <= LARGEST_FACTOR:
        return PolyphaseFir(rate_in_hz, rate_out_hz)
    return SoxrStream(rate_in_hz, rate_out_hz)


class NoResampling:
    """Returns the very same samples, for equal rates."""

    delay_ms = 0.0

    def push(self, samples: Samples) -> Samples:
        return samples

    def reset(self) -> None:
        pass


class PolyphaseFir:
    """Resamples by a ratio of small whole numbers with a linear-phase windowed sinc.

    With N the Nyquist frequency of the lower rate: level within 0.05 dB up to 0.85 N, within 1 dB up to 0.93 N, halved
    at N. What lies beyond (images when the rate is raised, aliases when it is lowered) is 52 dB down from 1.125 N and
    58 dB from 1.15 N on. Between 8 and 16 kHz: sound up to 3.4 kHz passes untouched, its images, from 4.6 kHz on, are
    58 dB down; sound from 3.5 to 4 kHz, outside the telephone band, keeps weak to strong images in 4.5 to 4 kHz.

    The delay is 14 samples of the lower rate: 1.75 ms to or from 8 kHz, 0.875 ms between 16 kHz and more. The output
    of n samples in all is floor(n / down) * up samples; up to down - 1 samples wait for more.
    """

    __slots__ = ("_down", "_held", "_up", "_weights", "delay_ms")

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        """`ValueError` if the reduced ratio has a factor over 12."""
        divisor = gcd(rate_in_hz, rate_out_hz)
        self._up, self._down = rate_out_hz // divisor, rate_in_hz // divisor
        if max(self._up, self._down) > LARGEST_FACTOR:
            raise ValueError(f"{rate_in_hz} to {rate_out_hz} Hz is no ratio of small whole numbers")
        self.delay_ms = HALF_LENGTH * 1000 / min(rate_in_hz, rate_out_hz)
        self._weights = _weights(self._up, self._down)
        self._held: NDArray[np.float64]
        self.reset()

    def push(self, samples: Samples) -> Samples:
        waiting, coming = len(self._held), len(samples)
        if waiting + coming <= KEPT_SAMPLES:
            made = _workspace(self._up, self._down, waiting, coming, get_ident())
        else:
            room = _Room.of(self._up, self._down, waiting + coming)
            made = _views(room, self._up, self._down, waiting, coming)
        made.held[...] = self._held
        made.coming[...] = samples
        self._held = made.rest.copy()
        made.contiguous[...] = made.windows
        made.contiguous.dot(self._weights, made.products)
        return to_int16(made.outputs)

    def reset(self) -> None:
        self._held = np.zeros(len(self._weights) - self._down * _RATIOS_PER_BLOCK)


class _Workspace(NamedTuple):
    """Views of the room of a thread, for pushes of one length. They are made once, as that takes longer than all that
    is computed.

    `held` and `coming`, one behind the other, are the line of samples, and `rest` is what is held of it afterwards.
    `windows` are those of the line, which overlap; BLAS wants a copy. `outputs` are the first of the `products`.
    """

    held: NDArray[np.float64]
    coming: NDArray[np.float64]
    rest: NDArray[np.float64]
    windows: NDArray[np.float64]
    contiguous: NDArray[np.float64]
    products: NDArray[np.float64]
    outputs: NDArray[np.float64]


class _Room(NamedTuple):
    """Memory for the line, the copy of its windows and the products of a push of so many samples, or fewer."""

    line: NDArray[np.float64]
    contiguous: NDArray[np.float64]
    products: NDArray[np.float64]

    @classmethod
    def of(cls, up: int, down: int, samples: int) -> Self:
        length, outputs = _weights(up, down).shape
        block = down * _RATIOS_PER_BLOCK
        blocks = -(-samples // block)
        # What lies behind the line meets weights of 0 only, but must be numbers.
        return cls(np.zeros(blocks * block + length), np.empty(blocks * length), np.empty(blocks * outputs))


@lru_cache(maxsize=32)
def _workspace(up: int, down: int, waiting: int, coming: int, thread: int) -> _Workspace:
    return _views(_kept_room(up, down, thread), up, down, waiting, coming)


@lru_cache(maxsize=8)
def _kept_room(up: int, down: int, thread: int) -> _Room:  # noqa: ARG001
    return _Room.of(up, down, KEPT_SAMPLES)


def _views(room: _Room, up: int, down: int, waiting: int, coming: int) -> _Workspace:
    block, count = down * _RATIOS_PER_BLOCK, waiting + coming
    length, outputs = _weights(up, down).shape
    ratios = (count - length + block) // down
    blocks = -(-ratios // _RATIOS_PER_BLOCK)
    shape, strides = (blocks, length), (block * room.line.itemsize, room.line.itemsize)
    return _Workspace(
        held=room.line[:waiting],
        coming=room.line[waiting:count],
        rest=room.line[ratios * down : count],
        windows=np.ndarray(shape, np.float64, room.line, strides=strides),
        contiguous=room.contiguous[: blocks * length].reshape(shape),
        products=room.products[: blocks * outputs].reshape(blocks, outputs),
        outputs=room.products[: ratios * up],
    )


@cache
def _weights(up: int, down: int) -> NDArray[np.float64]:
    """Return what each sample of a window (history, then a block) adds to each output of that block: [input, output].

    The coefficients are multiples of 2**-20, so that every product and sum with 16-bit samples is exact in float64:
    the result cannot depend on the order in which a BLAS adds, hence not on the chunking.
    """
    wide = max(up, down)
    time = np.arange(-HALF_LENGTH * wide, HALF_LENGTH * wide + 1)
    prototype = np.sinc(time / wide) * np.kaiser(len(time), KAISER_BETA)
    for phase in range(up):  # each phase passes a constant unchanged, so that a constant gets no ripple
        prototype[phase::up] /= prototype[phase::up].sum()
    prototype = np.round(prototype / _COEFFICIENT_STEP) * _COEFFICIENT_STEP
    history = -(-(len(time) - 1) // up)
    inputs = np.arange(-history, down * _RATIOS_PER_BLOCK)
    outputs = np.arange(up * _RATIOS_PER_BLOCK)
    tap = outputs[None, :] * down - inputs[:, None] * up
    inside = (tap >= 0) & (tap < len(time))
    weights: NDArray[np.float64] = np.where(inside, prototype[np.where(inside, tap, 0)], 0.0)
    return weights


class SoxrStream:
    """Resamples with libsoxr's variable-rate mode, for rates in no simple ratio.

    The delay is constant and measured when made; the true one is up to two samples of the lower rate longer.
    Pass band to 0.9 N, aliases and images over 90 dB down. 44.1 to 16 kHz: 13.6 ms; 16 to 44.1 kHz: 15 ms;
    44.1 to 48 kHz: 5.4 ms; between 8 and 44.1 kHz: 30 ms.
    """

    __slots__ = ("_stream", "delay_ms")

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        # float32, because for int16 libsoxr adds dither: silence would no longer be zeros
        self._stream = soxr.ResampleStream(rate_in_hz, rate_out_hz, 1, dtype="float32", quality="HQ", vr=True)
        # The library does not tell its delay: it is what is missing of 200 ms of silence.
        heard = len(self._stream.resample_chunk(np.zeros(rate_in_hz // 5, np.float32)))
        self.delay_ms = round(rate_in_hz // 5 * 1000 / rate_in_hz - heard * 1000 / rate_out_hz, 3)
        self._stream.clear()

    def push(self, samples: Samples) -> Samples:
        return to_int16(self._stream.resample_chunk(samples.astype(np.float32)))

    def reset(self) -> None:
        self._stream.clear()


def to_int16(values: NDArray[np.float64] | NDArray[np.float32]) -> Samples:
    """Return 16-bit samples of values in their units; beyond full scale they saturate. `values` are used up."""
    np.rint(values, values)
    return values.clip(_LOWEST, _HIGHEST, values).astype(np.int16)
