"""Runs one recording through the model and the detector, and keeps what they say."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.media.detector import WINDOW_MS, Confirmed, Decision, Detector, DetectorSettings, Ended, Likely
from relay.media.features import level_dbfs
from relay.media.silero import SileroModel
from relay.media.sound import Sound
from relay.vad.sound import Answers, Route, answers, read_sound, windows


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """The course of the detector over one stream: a value for each window, and all decisions."""

    probabilities: list[float]
    levels_dbfs: list[float]
    floors_dbfs: list[float]
    decisions: list[Decision]


@dataclass(frozen=True, slots=True, eq=False)
class RecordingAnalysis:
    """A recording, and the course of the detector over it. Times of decisions are ms of the recording."""

    file: str
    sound: Sound
    settings: DetectorSettings
    trace: Trace

    def segments_s(self) -> list[tuple[float, float]]:
        """Return (onset, end) of each confirmed speech, in seconds; one that goes on ends with the recording."""
        starts = [decision.onset_ms / 1000 for decision in self.trace.decisions if isinstance(decision, Confirmed)]
        ends = [decision.at_ms / 1000 for decision in self.trace.decisions if isinstance(decision, Ended)]
        return list(zip(starts, [*ends, self.sound.duration_s], strict=False))

    def starts(self) -> list[Confirmed]:
        """Return the decisions that confirmed the speech of `segments_s`, in the same order."""
        return [decision for decision in self.trace.decisions if isinstance(decision, Confirmed)]


def analyse(
    path: Path,
    settings: DetectorSettings | None = None,
    model: SileroModel | None = None,
    route: Route = Route.AS_IT_IS,
    *,
    reduce_noise: bool = False,
) -> RecordingAnalysis:
    """Run one WAV file through model and detector.

    Raises `FormatMismatch` for another file, `OSError` if it cannot be read, `ConfigError` without the model.
    """
    settings = settings or DetectorSettings()
    model = model or SileroModel.load(16000)
    sound = read_sound(path)
    stream = windows(sound, model, route, reduce_noise=reduce_noise)
    (judged,) = answers(model, [stream], settings.model_gain_db)
    return RecordingAnalysis(str(path), sound, settings, follow(stream, judged, settings))


def follow(stream: NDArray[np.int16], judged: Answers, settings: DetectorSettings) -> Trace:
    """Run the detector over windows `[n, window_samples]` and the answers for them."""
    detector = Detector(settings)
    trace = Trace(judged.probabilities, [], [], [])
    windows = zip(stream, judged.probabilities, judged.voice_bounds, strict=True)
    for index, (window, probability, bound) in enumerate(windows, 1):
        decision = detector.push(level_dbfs(window), probability, index * WINDOW_MS, bound)
        trace.levels_dbfs.append(detector.level_dbfs)
        trace.floors_dbfs.append(detector.level_dbfs - detector.over_floor_db)
        if decision:
            trace.decisions.append(decision)
    return trace


def guesses_ms(decisions: Sequence[Decision]) -> list[float]:
    """Return the times at which speech was guessed."""
    return [decision.decided_ms for decision in decisions if isinstance(decision, Likely)]


def confirmations_ms(decisions: Sequence[Decision]) -> list[float]:
    """Return the times at which speech was confirmed."""
    return [decision.decided_ms for decision in decisions if isinstance(decision, Confirmed)]


def as_json(analyses: Sequence[RecordingAnalysis]) -> dict[str, Any]:
    """Return the object that `relay vad --json` prints: seconds, in the order of the files."""
    return {"files": [_file_json(analysis) for analysis in analyses]}


def _file_json(analysis: RecordingAnalysis) -> dict[str, Any]:
    return {
        "file": analysis.file,
        "duration_s": round(analysis.sound.duration_s, 3),
        "segments": [[round(start, 3), round(end, 3)] for start, end in analysis.segments_s()],
        "starts": [
            {
                "onset_s": round(start.onset_ms / 1000, 3),
                "decided_s": round(start.decided_ms / 1000, 3),
                "ducked_s": round(start.likely_ms / 1000, 3),
            }
            for start in analysis.starts()
        ],
    }
