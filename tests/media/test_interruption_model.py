"""An operator's own model: what it is given, what it has to answer, and what is said of a file that is none."""

import sys
from pathlib import Path

import numpy as np
import pytest

from relay.errors import ConfigError
from relay.media.interruption_model import AssistantActivity, InterruptionModel
from tests.support.onnx_files import DOUBLE, INPUTS, OUTPUT, constant, model, node, value_info, write_classifier

SPEAKING = AssistantActivity(heard_s=0.4, left_s=0.25, first_message=False)


@pytest.mark.parametrize("seconds", [0.1, 2.0, 5.0])
def test_it_hears_the_newest_two_seconds_at_full_scale_1(seconds: float, tmp_path: Path) -> None:
    samples = np.full(int(seconds * 16000), 16384, np.int16)
    samples[: max(0, len(samples) - 32000)] = 32767

    answer = InterruptionModel.load(write_classifier(tmp_path / "m.onnx")).probability(samples, 16000, SPEAKING)

    assert answer == pytest.approx(0.5)


def test_audio_of_8_khz_is_brought_to_16(tmp_path: Path) -> None:
    loaded = InterruptionModel.load(write_classifier(tmp_path / "m.onnx"))
    tone = (16384 * np.sin(np.arange(16000) * 2 * np.pi * 300 / 8000)).astype(np.int16)

    assert loaded.probability(tone, 8000, SPEAKING) == pytest.approx(0.5, abs=0.05)


def test_it_knows_what_the_assistant_was_doing(tmp_path: Path) -> None:
    loaded = InterruptionModel.load(write_classifier(tmp_path / "m.onnx", of="assistant"))
    nothing = np.zeros(0, np.int16)

    assert loaded.probability(nothing, 16000, SPEAKING) == pytest.approx(0.4)
    assert loaded.probability(nothing, 16000, SPEAKING._replace(first_message=True)) == 1.0


def test_a_dimension_that_is_left_open_fits(tmp_path: Path) -> None:
    InterruptionModel.load(write_classifier(tmp_path / "m.onnx", open_shape=True))


NODES = [node("ReduceMax", ["audio"], "probability")]
SUM = [node("Add", ["assistant", "two"], "sum"), node("ReduceMax", ["sum"], "probability")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "m.onnx"),
        (b"not a model", "m.onnx"),
        (model(NODES, INPUTS[:1], [OUTPUT]), "its inputs are audio"),
        (model(NODES, (*INPUTS, value_info("more", (1, 1))), [OUTPUT]), "its inputs are assistant, audio, more"),
        (model(NODES, (value_info("audio", (1, 9)), INPUTS[1]), [OUTPUT]), "its input audio is tensor(float) [1, 9]"),
        (model(NODES, (value_info("audio", (9,)), INPUTS[1]), [OUTPUT]), "its input audio is tensor(float) [9]"),
        (
            model(NODES, (INPUTS[0], value_info("assistant", (1, 3), DOUBLE)), [OUTPUT]),
            "its input assistant is tensor(double) [1, 3]",
        ),
        (
            model([*NODES, node("Abs", ["probability"], "again")], INPUTS, [OUTPUT, value_info("again", (1, 1))]),
            "it has 2 outputs",
        ),
        (
            model([node("Abs", ["audio"], "probability")], INPUTS, [value_info("probability", (1, 32000))]),
            "which is no probability",
        ),
        (
            model(SUM, INPUTS, [OUTPUT], [constant("two", 2.0)]),
            "it answers [[3.]], which is no probability",
        ),
    ],
    ids=["missing", "no model", "one input", "three inputs", "length", "rank", "type", "two outputs", "many", "over 1"],
)
def test_a_file_that_is_no_such_model_is_said_in_one_line(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        InterruptionModel.load(path)

    assert str(caught.value).startswith(f"barge_in.classifier is '{path}', must be an ONNX model with the inputs audio")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_where_nothing_can_run_it_the_extra_that_can_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r'barge_in\.classifier needs onnxruntime, .* extra "onnx"'):
        InterruptionModel.load(write_classifier(tmp_path / "m.onnx"))
