"""The picture: written, of a sensible size, whatever was decided."""

import struct
from pathlib import Path

import numpy as np
import pytest

from relay.media.detector import Confirmed, Decision, DetectorSettings, Ended, Likely, Rejected
from relay.media.sound import Sound
from relay.vad.analysis import RecordingAnalysis, Trace
from relay.vad.plot import plot

ALL = [
    Likely(0.0, 64.0),
    Rejected(64.0, 160.0),
    Likely(200.0, 320.0),
    Confirmed(200.0, 320.0, 384.0),
    Ended(600.0, 900.0),
    Likely(900.0, 928.0),
]


@pytest.mark.parametrize(("windows", "decisions", "inches"), [(30, ALL, 11), (900, [], 28.8), (0, [], 11)])
def test_a_picture_is_a_png_about_an_inch_a_second_wide(
    tmp_path: Path, windows: int, decisions: list[Decision], inches: float
) -> None:
    samples = np.random.default_rng(1).integers(-20000, 20000, windows * 512).astype(np.int16)
    trace = Trace([0.4] * windows, [-30.0] * windows, [-60.0] * windows, decisions)

    plot(RecordingAnalysis("a.wav", Sound(samples, 16000), DetectorSettings(), trace), tmp_path / "a.png")

    data = (tmp_path / "a.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == (round(inches * 110), 770)
