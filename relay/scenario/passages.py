"""Passages are the parts of a known sentence that are found in what was heard, in the order of hearing."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from relay.media.frames import FRAME_MS
from relay.standin.compare import (
    FRAME_SAMPLES,
    Floats,
    SearchedAudio,
    audible_frames,
    audible_windows,
    in_band,
    quick_length,
)
from relay.standin.phone.player import RATE_HZ
from relay.standin.sound import Samples

_NEAR_SAMPLES = 12
"""A window is first looked for where it would be if nothing had moved, give or take a resampler's rounding."""
_SKIPPED = 3
"""After a window that is nowhere, so many are passed over: a search through a whole sentence takes time."""
_SAME = 0.9
"""Correlation from which a window is found: the way through the relay keeps more than 0.97."""
_LEAST_WINDOWS = 5
_SURE_WINDOWS = 15
_NEIGHBOUR_SAMPLES = 2 * RATE_HZ
"""A voice makes the same syllable in the same way: 100 ms may be found in the wrong place, 300 ms are not. Less is
believed next to such a passage, when it lies no further off in the sentence."""


Run = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Passage:
    """From `heard_s` to `heard_end_s` of what was heard, `sentence_s` to `sentence_end_s` of the sentence was heard."""

    heard_s: float
    heard_end_s: float
    sentence_s: float
    sentence_end_s: float


def find_passages(heard: Samples, sentence: Samples) -> list[Passage]:
    """All of `sentence` that is found in `heard`, both at 8 kHz. A hole, a step or a repetition begins another one."""
    audio, known = in_band(heard).astype(np.float64), in_band(sentence).astype(np.float64)
    searched, copies = SearchedAudio(known), (known, _half_a_sample_later(known))
    found: list[tuple[int, int]] = []
    lag: int | None = None
    skip = 0
    for at, begin, end in audible_windows(heard):
        window = audio[begin:end]
        place = None if lag is None else _near(window, copies, begin + lag)
        if place is None and skip:
            skip -= 1
            continue
        if place is None:
            quality, place = searched.find(window)
            if quality < _SAME:
                skip = _SKIPPED
                continue
        lag, skip = place - begin, 0
        found.append((at, at + lag))
    return [_passage(run) for run in _believed([run for run in _runs(found) if len(run) >= _LEAST_WINDOWS])]


def missing_s(passages: Sequence[Passage], sentence: Samples) -> float:
    """How much of what is audible in the sentence was left out between two passages, at its worst place.

    The windows at a seam hold both sides of it, and are found on neither: some 60 ms there mean nothing.
    """
    frames = np.asarray(audible_frames(sentence)) / RATE_HZ
    holes = ((before.sentence_end_s, after.sentence_s) for before, after in pairwise(passages))
    return max((int(((frames >= a) & (frames < b)).sum()) * FRAME_MS / 1000 for a, b in holes), default=0.0)


def repeated_s(passages: Sequence[Passage]) -> float:
    """How far back the sentence went between two passages, at most."""
    return max((before.sentence_end_s - after.sentence_s for before, after in pairwise(passages)), default=0.0)


def _half_a_sample_later(samples: Floats) -> Floats:
    n = quick_length(len(samples))
    spectrum = np.fft.rfft(samples, n)
    spectrum *= np.exp(-1j * np.pi * np.arange(len(spectrum)) / n)
    later: Floats = np.fft.irfft(spectrum, n)[: len(samples)]
    return later


def _near(window: Floats, copies: Sequence[Floats], expected: int) -> int | None:
    """Where the window is in the sentence, when it is where it is expected."""
    first = max(0, expected - _NEAR_SAMPLES)
    last = expected + _NEAR_SAMPLES + len(window)
    for known in copies:
        if len(known[first : max(0, last)]) < len(window):
            return None
        places = sliding_window_view(known[first:last], len(window))
        likeness = places @ window / (np.linalg.norm(places, axis=1) * np.linalg.norm(window) + 1.0)
        if likeness.max() >= _SAME:
            return first + int(np.argmax(likeness))
    return None


def _runs(found: Sequence[tuple[int, int]]) -> list[Run]:
    """Windows that follow each other at the same distance in both."""
    runs: list[Run] = []
    for heard, place in found:
        if runs:
            last_heard, last_place = runs[-1][-1]
            if abs((place - last_place) - (heard - last_heard)) <= _NEAR_SAMPLES:
                runs[-1].append((heard, place))
                continue
        runs.append([(heard, place)])
    return runs


def _believed(runs: Sequence[Run]) -> list[Run]:
    """The long runs, and the short ones that lie near a long one."""

    def is_near(run: Run, other: Run) -> bool:
        (heard, place), (other_heard, other_place) = run[0], other[0]
        return len(other) >= _SURE_WINDOWS and abs(place - heard - (other_place - other_heard)) <= _NEIGHBOUR_SAMPLES

    return [
        run
        for index, run in enumerate(runs)
        if len(run) >= _SURE_WINDOWS or any(is_near(run, it) for it in runs[max(0, index - 1) : index + 2])
    ]


def _passage(run: Run) -> Passage:
    (heard, place), (last_heard, last_place) = run[0], run[-1]
    ends = (last_heard + FRAME_SAMPLES, last_place + FRAME_SAMPLES)
    return Passage(heard / RATE_HZ, ends[0] / RATE_HZ, place / RATE_HZ, ends[1] / RATE_HZ)
