"""Counts what an evaluation listens to: how many minutes are different sound, and how many are the same again."""

from collections.abc import Sequence
from pathlib import PurePath

import msgspec
import numpy as np

from relay.media.detector import WINDOW_MS
from relay.media.sound import Sound
from relay.vad.cases import Case
from relay.vad.evaluation import Recording
from relay.vad.labels import Labelled
from relay.vad.made_up import MADE_UP

AUDIBLE_DBFS = -60.0
"""A window of a recording is silence under this level."""


class Material(msgspec.Struct, frozen=True):
    """One recording. Minutes count what is no speech; a recording whose false starts do not count has none.

    `minutes` are different sound, and `audible_minutes` what of it is louder than silence. `heard_minutes` is all that
    a detector was given of it: in several window phases, on several routes, behind speech.
    """

    kind: str
    source: str
    made_up: bool
    clips: int
    minutes: float
    audible_minutes: float
    heard_minutes: float


def material(labelled: Sequence[Labelled], cases: Sequence[Case]) -> list[Material]:
    """Return what these cases are made of, in the order of the recordings."""
    heard: dict[str, float] = {}
    for case in cases:
        minutes = case.recording.without_speech_s() / 60 if _counts(case.recording) else 0.0
        heard[case.group.source] = heard.get(case.group.source, 0.0) + minutes
    return [
        Material(
            kind=recording.kind,
            source=source,
            made_up=recording.kind == MADE_UP,
            clips=len(recording.clips),
            minutes=recording.without_speech_s() / 60 if _counts(recording) else 0.0,
            audible_minutes=_audible_s(recording, sound) / 60 if _counts(recording) else 0.0,
            heard_minutes=heard[source],
        )
        for recording, sound in labelled
        if (source := PurePath(recording.file).stem) in heard
    ]


def _counts(recording: Recording) -> bool:
    return recording.scored and recording.count_false_starts


def _audible_s(recording: Recording, sound: Sound) -> float:
    """Return for how long something can be heard that is no speech."""
    size = round(WINDOW_MS * sound.rate_hz / 1000)
    windows = sound.samples[: len(sound.samples) // size * size].reshape(-1, size).astype(np.float64)
    levels_dbfs = 10 * np.log10(np.mean(windows**2, axis=1) / 32768.0**2 + 1e-12)
    starts_s = np.arange(len(levels_dbfs)) * WINDOW_MS / 1000
    quiet = np.array([recording.is_false(at) for at in starts_s.tolist()], np.bool)
    return float(np.sum((levels_dbfs >= AUDIBLE_DBFS) & quiet)) * WINDOW_MS / 1000
