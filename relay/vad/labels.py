"""Reads folders of labelled recordings."""

from pathlib import Path

import msgspec

from relay.errors import ConfigError
from relay.media.sound import Sound
from relay.vad.evaluation import Recording, read_labels
from relay.vad.sound import read_sound

LABELS = "labels.json"

ROUNDING_S = 0.05
"""So far may labels reach beyond their recording: they are written rounded."""

Labelled = tuple[Recording, Sound]


def read_folder(folder: Path) -> list[Labelled]:
    """Return the recordings that the folder's `labels.json` names, in its order.

    Raises `ConfigError` if there is none or it makes no sense; `FormatMismatch` or `OSError` for a recording.
    """
    path = folder / LABELS
    try:
        recordings = read_labels(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    labelled = [(recording, read_sound(folder / recording.file)) for recording in recordings]
    for recording, sound in labelled:
        if problem := _problem(recording, sound.duration_s):
            raise ConfigError(f"{path}: {recording.file}: {problem}")
    return labelled


def _problem(recording: Recording, sound_s: float) -> str | None:
    """Say which of the labels lie outside the recording or in no order, if any do."""
    if abs(recording.duration_s - sound_s) > ROUNDING_S:
        return f"duration_s is {recording.duration_s:g}, but the file has {sound_s:.3f} s"
    for key, spans in (("speech", recording.speech), ("clips", recording.clips)):
        last_s = 0.0
        for start_s, end_s in spans:
            if not last_s <= start_s < end_s <= sound_s + ROUNDING_S:
                return f"{key}: [{start_s:g}, {end_s:g}] must end behind its start, behind the one before, in the file"
            last_s = end_s
    return None
