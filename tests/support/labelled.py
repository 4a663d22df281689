"""A folder of labelled recordings, made of the stand-ins' phrases."""

import json
from pathlib import Path

import numpy as np

from relay.media.resample import Samples
from relay.standin import phrases
from tests.support.recordings import wav

RATE_HZ = 16000


def phrase(name: str) -> Samples:
    return phrases.phrase(name).samples


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE_HZ), np.int16)


def joined(*parts: Samples) -> Samples:
    return np.concatenate(parts)


def labelled(folder: Path, files: dict[str, tuple[Samples, dict[str, object]]]) -> Path:
    """Write each recording, and a `labels.json` with what is said of it; its kind is its name if nothing is."""
    entries = []
    for name, (samples, labels) in files.items():
        (folder / f"{name}.wav").write_bytes(wav(samples / 32768, RATE_HZ))
        duration_s = len(samples) / RATE_HZ
        entries.append({"file": f"{name}.wav", "duration_s": duration_s, "kind": name, "speech": [], **labels})
    (folder / "labels.json").write_text(json.dumps({"files": entries}), encoding="utf-8")
    return folder
