"""What a room needs."""

import json
import wave
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from relay.standin import phrases
from relay.vad.calibration import THRESHOLDS, Calibration, calibrate

ROOM_DBFS = -50.0


def record(path: Path, *, with_speech: bool) -> Path:
    room = np.random.default_rng(1).normal(0, 32768 * 10 ** (ROOM_DBFS / 20), 4 * 16000)
    if with_speech:
        phrase = phrases.phrase("stop").samples
        room[16000 : 16000 + len(phrase)] += phrase
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(room.astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    return calibrate(record(tmp_path_factory.mktemp("room") / "quiet.wav", with_speech=False))


def test_a_quiet_room_needs_no_other_threshold(quiet: Calibration) -> None:
    assert quiet.duration_s == 4.0
    assert quiet.noise_floor_dbfs == pytest.approx(ROOM_DBFS, abs=1.0)
    assert quiet.loud_dbfs == pytest.approx(ROOM_DBFS, abs=1.0)
    assert quiet.highest_probability < 0.3
    assert (quiet.longest_run_ms, quiet.quiet_threshold) == (0.0, 0.5)


def test_each_threshold_has_its_price(quiet: Calibration) -> None:
    assert tuple(cost.threshold for cost in quiet.costs) == THRESHOLDS
    assert all((cost.false_ducks, cost.false_cuts) == (0, 0) for cost in quiet.costs)
    assert all(cost.cut.onsets == 4 * len(phrases.texts()) for cost in quiet.costs)
    ducks = [cost.duck.median_ms or 0.0 for cost in quiet.costs]
    cuts = [cost.cut.median_ms or 0.0 for cost in quiet.costs]
    assert ducks == sorted(ducks)
    assert cuts == sorted(cuts)
    assert 0 < ducks[0] < cuts[0] < cuts[-1]


def test_a_room_in_which_somebody_speaks_is_told_apart(tmp_path: Path) -> None:
    noisy = calibrate(record(tmp_path / "noisy.wav", with_speech=True))

    assert noisy.longest_run_ms >= 300
    assert noisy.highest_probability > 0.9
    assert noisy.quiet_threshold is None
    assert all(cost.false_cuts >= 1 for cost in noisy.costs)


def test_the_result_is_json_and_a_table(quiet: Calibration) -> None:
    console = Console(file=StringIO(), width=160)
    console.print(quiet.table())

    assert json.loads(json.dumps(quiet.as_json()))["quiet_threshold"] == 0.5
    assert isinstance(console.file, StringIO)
    assert all(f"{threshold:.1f}" in console.file.getvalue() for threshold in THRESHOLDS)
