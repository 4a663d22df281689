"""Passages are the parts of a known sentence that are found in what was heard, in the order of hearing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
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

_SLOPE_HZ = 100.0
"""The sound of a word must not ring on where the sentence goes on behind a pause."""
_NEAR_SAMPLES = 12
"""A window is first looked for where it would be if nothing had moved, give or take a resampler's rounding."""
_SKIPPED = 3
"""After a window that is nowhere, so many are passed over: a search through a whole sentence takes time."""
_PARTS = (0.0, 0.25, 0.5, 0.75)
"""The delay of a resampler is no whole number of samples: at 3 kHz, half a sample more makes an "s" another sound."""
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
    audio = _as_searched(heard)
    searched, copies = _prepared(sentence.tobytes())
    windows = {at: (begin, end) for at, begin, end in audible_windows(heard)}

    def near(at: int, lag: int) -> int | None:
        begin, end = windows[at]
        place = _near(audio[begin:end], copies, begin + lag)
        return None if place is None else place - begin

    def anywhere(at: int) -> int | None:
        begin, end = windows[at]
        quality, place = searched.find(audio[begin:end])
        return place - begin if quality >= _SAME else None

    found: Run = []
    lag: int | None = None
    skip = 0
    for at in windows:
        here = None if lag is None else near(at, lag)
        if here is None and skip:
            skip -= 1
            continue
        here = anywhere(at) if here is None else here
        if here is None:
            skip = _SKIPPED
        else:
            lag, skip = here, 0
            found.append((at, at + lag))
    believed = _believed([run for run in _runs(found) if len(run) >= _LEAST_WINDOWS])
    return [_passage(run) for run in _from_their_first_sounds(believed, list(windows), near)]


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


def _as_searched(samples: Samples) -> Floats:
    return in_band(samples, _SLOPE_HZ).astype(np.float64)


@lru_cache(maxsize=4)
def _prepared(sentence: bytes) -> tuple[SearchedAudio, list[Floats]]:
    """A sentence as it is searched. A step of a scenario looks for the same one again and again, as more is heard."""
    known = _as_searched(np.frombuffer(sentence, np.int16))
    return SearchedAudio(known), [_later(known, part) for part in _PARTS]


def _later(samples: Floats, part: float) -> Floats:
    """The same sound, a part of a sample later."""
    n = quick_length(len(samples))
    spectrum = np.fft.rfft(samples, n)
    spectrum *= np.exp(-2j * np.pi * part * np.arange(len(spectrum)) / n)
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


def _from_their_first_sounds(
    runs: Sequence[Run], windows: Sequence[int], near: Callable[[int, int], int | None]
) -> list[Run]:
    """The runs, each followed back to where it began: its first syllable may have been found in another place."""
    whole: list[Run] = []
    for run in runs:
        first, place = run[0]
        lag = place - first
        after = whole[-1][-1][0] if whole else -1
        earlier: Run = []
        for at in reversed([at for at in windows if after < at < first]):
            if near(at, lag) is None:
                break
            earlier.insert(0, (at, at + lag))
        whole.append(earlier + run)
    return whole


def _passage(run: Run) -> Passage:
    (heard, place), (last_heard, last_place) = run[0], run[-1]
    ends = (last_heard + FRAME_SAMPLES, last_place + FRAME_SAMPLES)
    return Passage(heard / RATE_HZ, ends[0] / RATE_HZ, place / RATE_HZ, ends[1] / RATE_HZ)
