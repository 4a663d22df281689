"""Whole recordings: segments, starts, and the JSON of `relay vad`."""

import json
import math
import wave
from pathlib import Path

import numpy as np
import pytest

from relay.media.detector import WINDOW_MS, Confirmed, DetectorSettings, Ended, Likely
from relay.media.silero import SileroModel
from relay.media.sound import Sound
from relay.standin import phrases
from relay.vad.analysis import RecordingAnalysis, Trace, analyse, as_json, confirmations_ms, follow, guesses_ms
from relay.vad.sound import Answers, Route

LEAD_S = 1.0


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One phrase, a second of a quiet room before and after it, at 16 kHz."""
    phrase = phrases.phrase("stop")
    room = np.random.default_rng(1).normal(0, 15, round(2 * LEAD_S * phrase.rate_hz) + len(phrase.samples))
    lead = round(LEAD_S * phrase.rate_hz)
    room[lead : lead + len(phrase.samples)] += phrase.samples
    path = tmp_path_factory.mktemp("vad") / "spoken.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(phrase.rate_hz)
        file.writeframes(room.clip(-32768, 32767).astype("<i2").tobytes())
    return path


@pytest.mark.parametrize("route", list(Route))
@pytest.mark.parametrize("rate_hz", [16000, 8000])
def test_a_phrase_is_found_where_it_was_said(spoken: Path, route: Route, rate_hz: int) -> None:
    analysis = analyse(spoken, model=SileroModel.load(rate_hz), route=route)

    assert len(analysis.segments_s()) == len(analysis.starts()) >= 1
    first, last = analysis.segments_s()[0][0], analysis.segments_s()[-1][1]
    assert first == pytest.approx(LEAD_S, abs=0.1)
    assert last == pytest.approx(LEAD_S + phrases.phrase("stop").duration_s, abs=0.3)
    start = analysis.starts()[0]
    assert start.likely_ms < start.decided_ms <= (LEAD_S + 0.3) * 1000
    assert len(analysis.trace.probabilities) == len(analysis.trace.levels_dbfs) == len(analysis.trace.floors_dbfs)


def test_the_threshold_in_use_is_that_of_the_settings(spoken: Path) -> None:
    quick, slow = (analyse(spoken, DetectorSettings(threshold=each)).starts()[0] for each in (0.3, 0.9))

    assert quick.decided_ms < slow.decided_ms


def made_up(*decisions: Likely | Confirmed | Ended) -> RecordingAnalysis:
    sound = Sound(np.zeros(3 * 16000, np.int16), 16000)
    return RecordingAnalysis("a.wav", sound, DetectorSettings(), Trace([], [], [], list(decisions)))


def test_json_holds_seconds_and_one_entry_for_each_confirmed_start() -> None:
    analysis = made_up(
        Likely(100.25, 160.0),
        Confirmed(100.25, 160.0, 224.0),
        Ended(1000.0, 1256.0),
        Likely(2000.0, 2080.0),
        Confirmed(2000.0, 2080.0, 2112.0),
    )

    assert json.loads(json.dumps(as_json([analysis, made_up()]))) == {
        "files": [
            {
                "file": "a.wav",
                "duration_s": 3.0,
                "segments": [[0.1, 1.0], [2.0, 3.0]],
                "starts": [
                    {"onset_s": 0.1, "decided_s": 0.224, "ducked_s": 0.16},
                    {"onset_s": 2.0, "decided_s": 2.112, "ducked_s": 2.08},
                ],
            },
            {"file": "a.wav", "duration_s": 3.0, "segments": [], "starts": []},
        ]
    }


def test_a_trace_has_a_value_for_each_window() -> None:
    stream = np.full((6, 512), 1000, np.int16)

    trace = follow(stream, Answers([0.9] * 6, [math.inf] * 6), DetectorSettings())

    assert trace.probabilities == [0.9] * 6
    assert trace.levels_dbfs == pytest.approx([-30.3] * 6, abs=0.1)
    assert guesses_ms(trace.decisions) == [WINDOW_MS]
    assert confirmations_ms(trace.decisions) == [2 * WINDOW_MS]
