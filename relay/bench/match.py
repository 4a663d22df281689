"""The match finds when each frame came out, by the content of the audio, whatever the relay made of its chunks. Pure.

Positions are samples at 8 kHz of one direction of one call: of all that was sent, or of all that was received.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from relay.bench.sounds import FRAME_SAMPLES, TELEPHONE_HZ, Waveform

WIDE_SAMPLES, SURE_LIKE = 3 * FRAME_SAMPLES, 0.95
"""When 60 ms are so alike (correlation) at the place where they are expected, they are there."""
NARROW_SAMPLES, NARROW_LIKE = FRAME_SAMPLES, 0.85
"""Elsewhere 20 ms decide: something may have been left out within 60 ms."""
BACK_SAMPLES = int(2.5 * TELEPHONE_HZ)
"""How old audio may be when it comes out."""
TOLERANCE_SAMPLES = FRAME_SAMPLES // 4
"""A frame has come out when all but its last 5 ms have: a resampler may hold those back, and `lag_ms` says how much."""
_SILENCE_RMS = 8.0

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Messages with audio, in order: when each came, and where it ends in all that was received.

    `begins[j]` is the first sample of one piece with message j: nothing was cut between them.
    """

    times: Sequence[float]
    ends: Sequence[int]
    begins: Sequence[int]
    waveform: Waveform


@dataclass(frozen=True, slots=True, eq=False)
class FrameDelays:
    """For each frame that was asked for: `delay_s`, NaN if it never came out, and `lag_ms`, how much of its end was
    held back, NaN where its message goes on behind it."""

    delay_s: NDArray[np.float64]
    lag_ms: NDArray[np.float64]


def trace(arrivals: Arrivals, sent: Waveform, sent_times: Sequence[float]) -> Positions:
    """The sample of `sent` (a frame for each of `sent_times`) at which each message ends; -1 where that is unknown.

    One silence is like another, so a silent message has no place of its own. It gets one when the messages before and
    after it are where they would be with it between them.
    """
    found = np.full(len(arrivals.ends), -1, np.int64)
    horizons = np.searchsorted(np.asarray(sent_times), np.asarray(arrivals.times), side="right") * FRAME_SAMPLES
    shift: int | None = None
    for index, end in enumerate(arrivals.ends):
        position = _locate(arrivals, index, sent, int(horizons[index]), shift)
        if position is not None:
            found[index], shift = position, position - end
    return _bridge(found, np.asarray(arrivals.ends, np.int64))


def deliveries(
    arrivals: Arrivals, positions: Positions, frames: Sequence[int], sent_times: Sequence[float]
) -> FrameDelays:
    """The first time at which each frame (numbers, as sent) was out, but for TOLERANCE_SAMPLES."""
    lengths = np.diff(np.asarray(arrivals.ends, np.int64), prepend=0)
    known = positions >= 0
    ends, starts = positions[known], (positions - lengths)[known]
    times = np.asarray(arrivals.times, np.float64)[known]
    delay_s, lag_ms = np.full(len(frames), np.nan), np.full(len(frames), np.nan)
    order = np.argsort(ends, kind="stable")
    for index, frame in enumerate(frames):
        wanted = (frame + 1) * FRAME_SAMPLES - TOLERANCE_SAMPLES
        at = int(np.searchsorted(ends[order], wanted))
        if at == len(order) or starts[order[at]] > wanted:
            continue
        message = order[at]
        delay_s[index] = times[message] - sent_times[frame]
        if (held_back := (frame + 1) * FRAME_SAMPLES - ends[message]) >= 0:
            lag_ms[index] = held_back / TELEPHONE_HZ * 1000
    return FrameDelays(delay_s, lag_ms)


def _locate(arrivals: Arrivals, index: int, sent: Waveform, horizon: int, shift: int | None) -> int | None:
    """The expected place if 60 ms fit there; else the one where the last 20 ms fit best, if they fit at all."""
    begin, end = arrivals.begins[index], arrivals.ends[index]
    if end - begin < NARROW_SAMPLES:
        return None
    wide = arrivals.waveform[max(begin, end - WIDE_SAMPLES) : end].astype(np.float64)
    last = wide[-NARROW_SAMPLES:]
    if last.std() < _SILENCE_RMS:
        return None
    expected = [] if shift is None else [end + shift]
    if expected and _fit(expected[0], wide, sent) >= SURE_LIKE:
        return expected[0]
    places = expected + [_search(piece, sent, horizon) for piece in (wide, last)]
    fits = [_fit(place, last, sent) for place in places]
    best = int(np.argmax(fits))
    return places[best] if fits[best] >= NARROW_LIKE else None


def _fit(place: int, piece: NDArray[np.float64], sent: Waveform) -> float:
    """How alike the piece and what was sent are if it ends there."""
    where = sent[max(0, place - len(piece)) : max(0, place)]
    return float(_likeness(where, piece)[0]) if len(where) == len(piece) else -1.0


def _search(piece: NDArray[np.float64], sent: Waveform, horizon: int) -> int:
    """Where in what was sent lately the piece ends most likely; -1 when that is too short."""
    first = max(0, horizon - BACK_SAMPLES)
    if horizon - first < len(piece):
        return -1
    return first + int(np.argmax(_likeness(sent[first:horizon], piece))) + len(piece)


def _likeness(where: Waveform, piece: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalised correlation of `piece` with each stretch of `where` of its length."""
    length = len(piece)
    wide = where.astype(np.float64)
    piece = piece - piece.mean()
    # All correlations at once, by FFT. The transform wraps around, but not within the first len(wide) - length + 1.
    size = 1 << (len(wide) - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(wide, size) * np.conj(np.fft.rfft(piece, size)), size)[: len(wide) - length + 1]
    sums = np.concatenate(([0.0], np.cumsum(wide)))
    squares = np.concatenate(([0.0], np.cumsum(wide * wide)))
    energy = squares[length:] - squares[:-length] - (sums[length:] - sums[:-length]) ** 2 / length
    likeness: NDArray[np.float64] = product / np.sqrt(np.maximum(energy, 1.0) * max(float(piece @ piece), 1.0))
    return likeness


def _bridge(found: Positions, ends: Positions) -> Positions:
    """Place what lies between two known messages that have moved by the same amount."""
    known = np.flatnonzero(found >= 0)
    for before, after in pairwise(known):
        shift = found[before] - ends[before]
        if after > before + 1 and found[after] - ends[after] == shift:
            found[before + 1 : after] = ends[before + 1 : after] + shift
    return found
