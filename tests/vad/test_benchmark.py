"""The measurement over a folder: on made-up recordings, and the reached figures on the real ones."""

import json
import wave
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from relay.standin import phrases
from relay.vad.benchmark import Evaluation, Row, evaluate, plain_starts_ms
from relay.vad.sound import Route


def row(evaluation: Evaluation, stage: str, detector: str = "relay") -> Row:
    (found,) = [each for each in evaluation.rows if (each.stage, each.detector) == (stage, detector)]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phrase after a second of silence, and two seconds of nothing."""
    made = tmp_path_factory.mktemp("labelled")
    phrase = phrases.phrase("stop")
    silence = np.zeros(phrase.rate_hz, np.int16)
    sounds = {"speech": np.concatenate((silence, phrase.samples, silence)), "silence": np.zeros(32000, np.int16)}
    for name, samples in sounds.items():
        with wave.open(str(made / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(samples.astype("<i2").tobytes())
    speech = {"speech": [[1.0, 1.0 + phrase.duration_s]], "silence": []}
    files = [
        {"file": f"{name}.wav", "duration_s": len(samples) / 16000, "kind": name, "speech": speech[name]}
        for name, samples in sounds.items()
    ]
    (made / "labels.json").write_text(json.dumps({"files": files}), encoding="utf-8")
    return made


def test_each_recording_is_heard_in_four_window_phases_on_both_routes(folder: Path) -> None:
    evaluation = evaluate(folder, plain_rules=[(0.5, 2)])

    assert [(each.route, each.detector, each.stage) for each in evaluation.rows] == [
        (route, *way)
        for route in ("mu-law 8 kHz", "PCM 16 kHz")
        for way in (("relay", "duck"), ("relay", "cut"), ("plain, 2 in a row", "start"))
    ]
    for each in evaluation.rows:
        assert (each.score.onsets, each.score.missed, each.score.false_starts) == (4, 0, 0)
        assert each.score.median_ms is not None
        assert 0 < each.score.median_ms < 300
        assert list(each.kinds) == ["speech", "silence"]
        assert each.kinds["silence"].onsets == 0


def test_the_result_is_json_and_tables(folder: Path) -> None:
    evaluation = evaluate(folder, routes=[Route.TELEPHONE], plain_rules=[])
    console = Console(file=StringIO(), width=200)
    console.print(evaluation.table(), evaluation.kinds_table())

    result = json.loads(json.dumps(evaluation.as_json()))
    assert [each["stage"] for each in result["rows"]] == ["duck", "cut"]
    assert result["rows"][1]["score"]["onsets"] == 4
    assert result["window_phases"] == 4
    assert isinstance(console.file, StringIO)
    assert "0/4" in console.file.getvalue()
    assert "silence" in console.file.getvalue()


@pytest.mark.parametrize(
    ("judged", "in_a_row", "starts_ms"),
    [
        ([0.5], 1, [32]),
        ([0.49, 0.5, 0.5], 2, [96]),
        ([0.5, 0.4, 0.5, 0.5], 2, [128]),
        ([0.9, *[0.34] * 8, 0.9], 1, [32, 320]),
        ([0.9, *[0.34] * 7, 0.9], 1, [32]),
        ([0.9, *[0.35] * 20, 0.9], 1, [32]),
    ],
)
def test_the_plain_rule_starts_at_the_end_of_so_many_windows_in_a_row(
    judged: list[float], in_a_row: int, starts_ms: list[float]
) -> None:
    assert plain_starts_ms(judged, 0.5, in_a_row) == starts_ms


def test_the_figures_that_were_reached_on_the_recordings(recordings: Path) -> None:
    """Telephone audio. Beside it the plain rule, whose figures show that the rules of the measurement still hold."""
    evaluation = evaluate(recordings, routes=[Route.TELEPHONE], plain_rules=[(0.5, 3)])
    duck, cut = row(evaluation, "duck").score, row(evaluation, "cut").score
    plain = row(evaluation, "start", "plain, 3 in a row").score

    assert (duck.onsets, cut.onsets, plain.onsets) == (132, 132, 132)
    assert cut.minutes == pytest.approx(13.14, abs=0.01)
    assert (duck.missed, cut.missed) == (0, 0)
    figures = (duck.median_ms, cut.median_ms, cut.p95_ms, cut.false_per_minute, cut.false_per_minute_without_vocal)
    reached = (70, 120, 285, 0.25, 0.08)
    assert all(figure is not None and figure <= bound for figure, bound in zip(figures, reached, strict=True)), figures
    assert plain.median_ms == pytest.approx(134, abs=6)
    assert plain.false_per_minute is not None
    assert 1.2 < plain.false_per_minute < 2.0
