"""Reads folders of labelled recordings."""

from pathlib import Path

import msgspec

from relay.errors import ConfigError
from relay.media.sound import Sound
from relay.vad.evaluation import Recording, read_labels
from relay.vad.sound import read_sound

LABELS = "labels.json"

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
    return [(recording, read_sound(folder / recording.file)) for recording in recordings]
