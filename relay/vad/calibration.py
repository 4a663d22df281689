"""Measures a quiet room: its noise floor, the threshold that it needs, and what that costs in delay."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from relay.errors import FormatMismatch
from relay.media.detector import WINDOW_MS, DetectorSettings
from relay.media.silero import SileroModel
from relay.media.sound import Sound, convert
from relay.standin import phrases
from relay.vad.analysis import Trace, confirmations_ms, follow, guesses_ms
from relay.vad.evaluation import Recording, Score, Trial, score
from relay.vad.sound import Answers, answers, read_sound, windows

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LEAD_S = 2.0
"""How much of the room is heard before each reference phrase."""
SHORTEST_S = 1.0
"""Of a room; less says nothing about it."""
PHASES = 4
"""Each phrase is heard with the windows in so many positions, spread evenly over a window."""
LOUDEST_SAMPLE = 32767


@dataclass(frozen=True, slots=True)
class ThresholdCost:
    """The cost of one threshold: what the room sets off, and how late, if at all, reference speech in it is found."""

    threshold: float
    false_ducks: int
    false_cuts: int
    duck: Score
    cut: Score


@dataclass(frozen=True, slots=True)
class Calibration:
    """The figures of a recording in which nobody speaks. Levels are as in `relay.media.features`."""

    file: str
    duration_s: float
    noise_floor_dbfs: float
    loud_dbfs: float
    """The level that one window in twenty exceeds."""
    highest_probability: float
    longest_run_ms: float
    """The longest stretch at or over the threshold in use."""
    quiet_threshold: float | None
    """The lowest threshold, not under the one in use, at which nothing is ducked; None if there is none."""
    costs: list[ThresholdCost]

    def as_json(self) -> dict[str, Any]:
        return dict(msgspec.to_builtins(self))

    def table(self) -> Table:
        """Return the cost of each threshold."""
        table = Table(title=f"{self.file}: what each threshold does")
        for heading in ("threshold", "false ducks", "false cuts", "duck median ms", "cut median ms", "cut p95 ms"):
            table.add_column(heading, justify="right")
        table.add_column("missed", justify="right")
        for cost in self.costs:
            figures = (cost.duck.median_ms, cost.cut.median_ms, cost.cut.p95_ms)
            table.add_row(
                f"{cost.threshold:.1f}",
                str(cost.false_ducks),
                str(cost.false_cuts),
                *("-" if figure is None else f"{figure:.0f}" for figure in figures),
                f"{cost.cut.missed}/{cost.cut.onsets}",
            )
        return table


def calibrate(path: Path, settings: DetectorSettings | None = None, model: SileroModel | None = None) -> Calibration:
    """Measure a recording of a room (a WAV file; a minute is plenty) in which nobody speaks.

    The reference speech is the relay's own phrases, put into that room as loud as they are: what counts is how the
    delay changes from threshold to threshold. Raises as `analyse` does, and `FormatMismatch` for less than a second.
    """
    settings = settings or DetectorSettings()
    model = model or SileroModel.load(16000)
    room = read_sound(path)
    if room.duration_s < SHORTEST_S:
        raise FormatMismatch(f"{path}: {room.duration_s:.2f} s, wanted a quiet room for at least {SHORTEST_S:g} s")
    room_windows = windows(room, model)
    recordings, streams = _speech_in(room, model)
    room_judged, *judged = answers(model, [room_windows, *streams], settings.model_gain_db)
    costs = [
        _cost(replace(settings, threshold=threshold), (room_windows, room_judged), recordings, streams, judged)
        for threshold in THRESHOLDS
    ]
    trace = follow(room_windows, room_judged, settings)
    return Calibration(
        file=str(path),
        duration_s=room.duration_s,
        noise_floor_dbfs=float(np.median(trace.floors_dbfs)),
        loud_dbfs=float(np.percentile(trace.levels_dbfs, 95)),
        highest_probability=max(trace.probabilities),
        longest_run_ms=_longest_run_ms(trace, settings.threshold),
        quiet_threshold=next(
            (cost.threshold for cost in costs if cost.threshold >= settings.threshold and not cost.false_ducks), None
        ),
        costs=costs,
    )


def _speech_in(room: Sound, model: SileroModel) -> tuple[list[tuple[Recording, float]], list[NDArray[np.int16]]]:
    """Return each phrase in the room, in each window phase: its label with the shift in ms, and its windows."""
    labels, streams = [], []
    for name in phrases.texts():
        phrase = phrases.phrase(name)
        spoken = convert(Sound(phrase.samples, phrase.rate_hz), room.rate_hz)
        lead = round(LEAD_S * room.rate_hz)
        mixed = np.resize(room.samples, lead + len(spoken.samples) + room.rate_hz // 2).astype(np.int32)
        mixed[lead : lead + len(spoken.samples)] += spoken.samples
        sound = Sound(mixed.clip(-LOUDEST_SAMPLE - 1, LOUDEST_SAMPLE).astype(np.int16), room.rate_hz)
        label = Recording(name, sound.duration_s, "reference", [(LEAD_S, LEAD_S + spoken.duration_s)])
        for shift_ms in (phase * WINDOW_MS / PHASES for phase in range(PHASES)):
            labels.append((label, shift_ms))
            streams.append(windows(sound, model, shift_ms=shift_ms))
    return labels, streams


def _cost(
    settings: DetectorSettings,
    room: tuple[NDArray[np.int16], Answers],
    labels: Sequence[tuple[Recording, float]],
    streams: Sequence[NDArray[np.int16]],
    judged: Sequence[Answers],
) -> ThresholdCost:
    in_room = follow(*room, settings).decisions
    spoken = [follow(stream, those, settings).decisions for stream, those in zip(streams, judged, strict=True)]
    duck, cut = (
        score(
            Trial(label, [(at - shift_ms) / 1000 for at in starts(decisions)])
            for (label, shift_ms), decisions in zip(labels, spoken, strict=True)
        )
        for starts in (guesses_ms, confirmations_ms)
    )
    return ThresholdCost(settings.threshold, len(guesses_ms(in_room)), len(confirmations_ms(in_room)), duck, cut)


def _longest_run_ms(trace: Trace, threshold: float) -> float:
    longest = run = 0
    for probability in trace.probabilities:
        run = run + 1 if probability >= threshold else 0
        longest = max(longest, run)
    return longest * WINDOW_MS
