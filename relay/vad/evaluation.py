"""Scores a speech detector on labelled recordings: delays, misses, false starts.

The rules:

- An onset is scored if at least 0.5 s without speech lie before it, counted from the start of the recording or the end
  of the speech before. Its delay runs from the labelled onset to the first start between 0.15 s before it and 0.35 s
  after the end of that speech; without one it is missed.
- A start outside 0.15 s before to 0.35 s after any speech is false. Rates are per minute of what is left of the
  recordings outside these margins.
- Recordings labelled by turns of talk, which begin before the sound does, are left out of both; those not to be counted
  for false starts are left out of these.
- Percentiles are interpolated linearly. A miss has no delay.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

# The rules above, in figures.
QUIET_BEFORE_S = 0.5
EARLY_S = 0.15
LATE_S = 0.35
TURN_LABELS = "turn"
_ROUNDING_S = 1e-9


class Recording(msgspec.Struct, frozen=True):
    """One recording with its labels. Times are in seconds; `speech` holds (start, end) pairs in order."""

    file: str
    duration_s: float
    kind: str
    speech: list[tuple[float, float]]
    label_precision: str = "frame"
    count_false_starts: bool = True
    clips: list[tuple[float, float]] = []
    """Parts that have nothing to do with each other, in order; `speech` is still counted from the file's start."""

    @property
    def scored(self) -> bool:
        return self.label_precision != TURN_LABELS

    def onsets_s(self) -> list[tuple[float, float]]:
        """Return the speech whose onset is scored, as (start, end)."""
        ends = [0.0, *(end for _, end in self.speech)]
        return [
            (start, end)
            for (start, end), before in zip(self.speech, ends, strict=False)
            if start - before >= QUIET_BEFORE_S - _ROUNDING_S
        ]

    def is_false(self, start_s: float) -> bool:
        """True if a start declared then lies outside speech and its margins."""
        return not any(start - EARLY_S <= start_s <= end + LATE_S for start, end in self.speech)

    def without_speech_s(self) -> float:
        """Return how much of the recording lies outside speech and its margins."""
        covered = last = 0.0
        for start, end in self.speech:
            end_s = min(self.duration_s, end + LATE_S)
            covered += max(0.0, end_s - max(last, start - EARLY_S))
            last = max(last, end_s)
        return self.duration_s - covered


class Labels(msgspec.Struct, frozen=True):
    """The content of a `labels.json`."""

    files: list[Recording]


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a detector over a recording: when it declared starts, in seconds."""

    recording: Recording
    starts_s: Sequence[float]


@dataclass(frozen=True, slots=True)
class Score:
    """The figures of some trials. Delays are None if no onset was found, rates if there was nothing without speech."""

    onsets: int
    missed: int
    median_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    false_starts: int
    minutes: float
    false_per_minute: float | None


def read_labels(data: bytes) -> list[Recording]:
    """Return the recordings of a `labels.json`. Raises `msgspec.DecodeError`, which says what is wrong."""
    return msgspec.json.decode(data, type=Labels).files


def score(trials: Iterable[Trial]) -> Score:
    """Score all trials as one."""
    scored = [trial for trial in trials if trial.recording.scored]
    delays = [delay for trial in scored for delay in delays_ms(trial)]
    found = [delay for delay in delays if delay is not None]
    counted = [trial for trial in scored if trial.recording.count_false_starts]
    false, minutes = _false_starts(counted)
    return Score(
        onsets=len(delays),
        missed=len(delays) - len(found),
        median_ms=_percentile(found, 50),
        p90_ms=_percentile(found, 90),
        p95_ms=_percentile(found, 95),
        false_starts=false,
        minutes=minutes,
        false_per_minute=_rate(false, minutes),
    )


def delays_ms(trial: Trial) -> list[float | None]:
    """Return the delay to each scored onset of a trial, None for a miss."""
    return [
        next(((at - start) * 1000 for at in trial.starts_s if start - EARLY_S <= at <= end + LATE_S), None)
        for start, end in trial.recording.onsets_s()
    ]


def _false_starts(trials: Sequence[Trial]) -> tuple[int, float]:
    """Return how many there are, in how many minutes."""
    false = sum(trial.recording.is_false(at) for trial in trials for at in trial.starts_s)
    return false, sum(trial.recording.without_speech_s() for trial in trials) / 60


def _percentile(values: list[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None


def _rate(count: int, minutes: float) -> float | None:
    return count / minutes if minutes else None
