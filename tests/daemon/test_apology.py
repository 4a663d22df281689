"""The apology is there without configuration, and a file that cannot be it refuses to start."""

from pathlib import Path

import numpy as np
import pytest

from relay.config import ReconnectConfig
from relay.daemon.apology import load_apology
from relay.errors import ConfigError
from relay.media.frames import AudioFormat, Encoding
from tests.support.recordings import KINDS, NO_WAV, chunk, fit_sine, layout, riff, sine, wav


def test_the_built_in_one_is_speech_of_some_seconds() -> None:
    assert 2000 < load_apology(ReconnectConfig()).duration_ms < 8000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [None, 0xFFFFFFFF])
def test_a_recording_of_any_kind_can_be_it(kind: str, size: int | None, tmp_path: Path) -> None:
    path = tmp_path / "sorry.wav"
    path.write_bytes(wav(np.stack([sine(44100)] * 2, axis=1), 44100, kind, size=size))
    apology = load_apology(ReconnectConfig(apology_file=str(path)))
    fit = fit_sine(np.frombuffer(apology.data, "<i2"), 44100)

    assert apology.format == AudioFormat(Encoding.PCM_S16LE, 44100)
    assert apology.duration_ms == pytest.approx(500)
    assert fit.peak == pytest.approx(16384, rel=0.01)
    assert fit.rest < 300


NONE = {
    "no file": None,
    "empty": b"",
    "a word": b"RIFF",
    "no sample": wav(np.zeros(0), 8000),
    "half of it": wav(sine(8000), 8000)[:4000],
    "ADPCM": riff(chunk(b"fmt ", layout(2, 1, 8000, 4)), chunk(b"data", bytes(64))),
    **NO_WAV,
}


@pytest.mark.parametrize("content", NONE.values(), ids=NONE)
def test_a_file_that_is_none_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "sorry.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"apology_file.*sorry\.wav"):
        load_apology(ReconnectConfig(apology_file=str(path)))
