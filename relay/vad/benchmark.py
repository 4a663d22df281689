"""Measures the detector on a folder of labelled recordings, and beside it the plain rule that is usual elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from relay.media.detector import WINDOW_MS, DetectorSettings
from relay.media.silero import SileroModel
from relay.media.sound import Sound
from relay.vad.analysis import confirmations_ms, follow, guesses_ms
from relay.vad.evaluation import Recording, Score, Trial, score, score_kinds
from relay.vad.labels import read_folder
from relay.vad.plain_rule import GateOpened, SpeechGate
from relay.vad.sound import Answers, Route, answers, windows

PHASES = 4
"""Each recording is heard with its windows in so many positions, spread evenly over a window."""
PLAIN_RULES = ((0.5, 1), (0.5, 2), (0.5, 3), (0.5, 6), (0.7, 1), (0.7, 3), (0.7, 6))
"""Threshold, and how many windows in a row must reach it; on what the model says without amplification."""
PLAIN_HANGOVER_MS = 256.0
ROUTES = (Route.TELEPHONE, Route.WIDEBAND)


@dataclass(frozen=True, slots=True)
class Row:
    """The score of one way to decide, on one route.

    `stage` is "duck" (guessed) or "cut" (confirmed) of the detector, or "start" of the plain rule.
    """

    route: str
    detector: str
    stage: str
    threshold: float
    score: Score
    kinds: dict[str, Score]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of all ways, and what they were measured on."""

    folder: str
    model_rate_hz: int
    recordings: int
    window_phases: int
    rows: list[Row]

    def as_json(self) -> dict[str, Any]:
        return dict(msgspec.to_builtins(self))

    def table(self) -> Table:
        """Return the figures of all kinds of sound together."""
        table = Table(
            title=f"{self.recordings} recordings, {self.window_phases} window phases, {self.model_rate_hz} Hz"
        )
        for heading in ("route", "detector", "stage", "threshold"):
            table.add_column(heading)
        for heading in ("median ms", "p90 ms", "p95 ms", "missed", "false/min", "without coughs, laughs"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            table.add_row(row.route, row.detector, row.stage, f"{row.threshold:.2f}", *_cells(row.score))
        return table

    def kinds_table(self) -> Table:
        """Return the figures of each kind of sound, of the detector alone."""
        table = Table(title="by kind of sound")
        for heading in ("route", "stage", "kind"):
            table.add_column(heading)
        for heading in ("median ms", "p90 ms", "p95 ms", "missed", "false/min"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            if row.stage != "start":
                for kind, figures in row.kinds.items():
                    table.add_row(row.route, row.stage, kind, *_cells(figures)[:-1])
        return table


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """One recording in one position of the windows, as the detector gets it."""

    recording: Recording
    shift_ms: float
    stream: NDArray[np.int16]
    amplified: Answers
    plain: list[float]

    def trial(self, decided_ms: Sequence[float]) -> Trial:
        return Trial(self.recording, [(at - self.shift_ms) / 1000 for at in decided_ms])


def evaluate(
    folder: Path,
    settings: DetectorSettings | None = None,
    *,
    routes: Sequence[Route] = ROUTES,
    plain_rules: Sequence[tuple[float, int]] = PLAIN_RULES,
    reduce_noise: bool = False,
) -> Evaluation:
    """Measure on the recordings that the folder's `labels.json` names. A minute of recording takes about 3 s of CPU.

    Raises `ConfigError` if there is none, or it makes no sense; `FormatMismatch` or `OSError` for a recording.
    """
    settings = settings or DetectorSettings()
    model = SileroModel.load(16000)
    labelled = read_folder(folder)
    recordings, sounds = [each for each, _ in labelled], [sound for _, sound in labelled]
    rows = [
        row
        for route in routes
        for row in _rows(
            _hear(recordings, sounds, model, route, settings.model_gain_db, reduce_noise=reduce_noise),
            route,
            settings,
            plain_rules,
        )
    ]
    return Evaluation(str(folder), model.rate_hz, len(recordings), PHASES, rows)


def _hear(
    recordings: Sequence[Recording],
    sounds: Sequence[Sound],
    model: SileroModel,
    route: Route,
    gain_db: float,
    *,
    reduce_noise: bool,
) -> list[_Heard]:
    phased = [
        (recording, shift_ms, windows(sound, model, route, shift_ms, reduce_noise=reduce_noise))
        for recording, sound in zip(recordings, sounds, strict=True)
        for shift_ms in (phase * WINDOW_MS / PHASES for phase in range(PHASES))
    ]
    streams = [stream for _, _, stream in phased]
    amplified, plain = answers(model, streams, gain_db), answers(model, streams, 0.0)
    return [
        _Heard(*each, amplified=judged, plain=unamplified.probabilities)
        for each, judged, unamplified in zip(phased, amplified, plain, strict=True)
    ]


def _rows(
    heard: Sequence[_Heard],
    route: Route,
    settings: DetectorSettings,
    plain_rules: Sequence[tuple[float, int]],
) -> list[Row]:
    rows = []
    traces = [(each, follow(each.stream, each.amplified, settings).decisions) for each in heard]
    for stage, starts in (("duck", guesses_ms), ("cut", confirmations_ms)):
        trials = [each.trial(starts(decisions)) for each, decisions in traces]
        rows.append(_row(route, "relay", stage, settings.threshold, trials))
    for threshold, in_a_row in plain_rules:
        trials = [each.trial(plain_starts_ms(each.plain, threshold, in_a_row)) for each in heard]
        rows.append(_row(route, f"plain, {in_a_row} in a row", "start", threshold, trials))
    return rows


def plain_starts_ms(judged: Sequence[float], threshold: float, in_a_row: int) -> list[float]:
    """Return when the plain rule declares starts: the end of the last of so many windows in a row at the threshold."""
    gate = SpeechGate(threshold, in_a_row * WINDOW_MS, PLAIN_HANGOVER_MS)
    events = [gate.push(probability, index * WINDOW_MS) for index, probability in enumerate(judged, 1)]
    return [event.decided_ms for event in events if isinstance(event, GateOpened)]


def _row(route: Route, detector: str, stage: str, threshold: float, trials: Sequence[Trial]) -> Row:
    return Row(str(route), detector, stage, threshold, score(trials), score_kinds(trials))


def _cells(figures: Score) -> list[str]:
    return [
        _figure(figures.median_ms, 0),
        _figure(figures.p90_ms, 0),
        _figure(figures.p95_ms, 0),
        f"{figures.missed}/{figures.onsets}",
        _figure(figures.false_per_minute, 2),
        _figure(figures.false_per_minute_without_vocal, 2),
    ]


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
