"""The model as it is installed: what it hears, how streams share it, what is said when it is missing."""

import sys
import wave
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from relay.errors import ConfigError
from relay.media import silero
from relay.media.resample import Samples, resampler
from relay.media.silero import Engine, SileroModel
from relay.media.windows import WindowCutter

ENGINES: tuple[Engine, ...] = get_args(Engine)
MODELS = [(engine, rate) for engine in ENGINES for rate in (8000, 16000)]


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: f"{model[0]}-{model[1]}")
def model(request: pytest.FixtureRequest) -> SileroModel:
    engine, rate = request.param
    return SileroModel.load(rate, engine)


VOWELS = [(730, 1090, 2440), (270, 2290, 3010), (530, 1840, 2480), (570, 840, 2410), (300, 870, 2240)]


def babble(rate: int, seconds: float) -> Samples:
    """Five vowels a second: a pulse train around 120 Hz through three resonances that glide from vowel to vowel."""
    count = int(rate * seconds)
    time = np.arange(count) / rate
    pitch_hz = 120 * (1 + 0.15 * np.sin(2 * np.pi * 1.3 * time))
    out = np.diff(np.floor(np.cumsum(pitch_hz) / rate), prepend=0.0)
    vowel, within = np.divmod(time * 5, 1)
    glide = np.clip((within - 0.6) / 0.4, 0, 1)[:, None]
    tracks = np.array(VOWELS)[vowel.astype(int) % 5] * (1 - glide)
    tracks += np.array(VOWELS)[(vowel.astype(int) + 1) % 5] * glide
    for formant, width_hz in enumerate((80, 100, 120)):
        out = resonate(out, tracks[:, formant], float(np.exp(-np.pi * width_hz / rate)), rate)
    envelope = 0.65 - 0.35 * np.cos(2 * np.pi * 5 * time)
    samples: Samples = (out / np.abs(out).max() * envelope * 12000).astype(np.int16)
    return samples


def resonate(signal: NDArray[np.float64], centre_hz: NDArray[np.float64], radius: float, rate: int) -> Any:
    """Two poles at the (moving) centre frequency."""
    out = [0.0, 0.0]
    for value, turn in zip(signal.tolist(), np.cos(2 * np.pi * centre_hz / rate).tolist(), strict=True):
        out.append(value + 2 * radius * turn * out[-1] - radius * radius * out[-2])
    return np.array(out[2:])


def hiss(rate: int, seconds: float, seed: int = 5) -> Samples:
    return np.random.default_rng(seed).normal(0, 300, int(rate * seconds)).astype(np.int16)


def probabilities(model: SileroModel, samples: Samples) -> NDArray[np.float64]:
    state = model.new_state()
    windows = WindowCutter(model.window_samples, model.rate_hz).push(samples)
    return np.array([model.run([window.samples], [state])[0] for window in windows])


def recording(folder: Path, name: str, rate: int) -> Samples:
    with wave.open(str(folder / name)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
        return resampler(file.getframerate(), rate).push(samples)


def test_babble_is_speech_and_hiss_or_silence_is_not(model: SileroModel) -> None:
    assert np.median(probabilities(model, babble(model.rate_hz, 1.5))[5:]) > 0.7
    assert probabilities(model, hiss(model.rate_hz, 2)).max() < 0.5
    assert probabilities(model, np.zeros(model.rate_hz, np.int16)).max() < 0.1


def test_a_batch_gives_what_each_stream_gives_alone(model: SileroModel) -> None:
    rate = model.rate_hz
    streams = [babble(rate, 1), hiss(rate, 1), np.concatenate((hiss(rate, 0.5), babble(rate, 0.5)))]
    states = [model.new_state() for _ in streams]
    cut = [WindowCutter(model.window_samples, rate).push(stream) for stream in streams]

    together = np.array(
        [model.run([window.samples for window in windows], states) for windows in zip(*cut, strict=True)]
    )

    for index, stream in enumerate(streams):
        assert together[:, index] == pytest.approx(probabilities(model, stream), abs=1e-5)


def test_streams_may_come_and_go_between_batches(model: SileroModel) -> None:
    """A stream's result depends on its own windows only, not on the company they ran in."""
    speech, noise = babble(model.rate_hz, 1), hiss(model.rate_hz, 1)
    alone = probabilities(model, speech)
    windows = WindowCutter(model.window_samples, model.rate_hz).push(speech)
    state, found = model.new_state(), []
    for index, window in enumerate(windows):
        others = index % 3
        states = [*(model.new_state() for _ in range(others)), state]
        found.append(model.run([*[noise[: model.window_samples]] * others, window.samples], states)[-1])

    assert found == pytest.approx(alone, abs=1e-5)


def test_the_end_of_the_window_before_stands_in_front(model: SileroModel) -> None:
    samples = babble(model.rate_hz, 0.2)[: model.window_samples]
    state = model.new_state()
    assert not state.context.any()

    model.run([samples], [state])

    context = 64 if model.rate_hz == 16000 else 32
    assert state.context.tolist() == (samples[-context:].astype(np.float32) / 32768).tolist()
    assert state.rnn.shape == (2, 1, 128)


def test_the_model_hears_the_end_of_the_window_before(model: SileroModel) -> None:
    """Without it the probabilities are others: the same windows, with the end of the last one wiped each time."""
    samples = babble(model.rate_hz, 1)
    state, wiped = model.new_state(), []
    for window in WindowCutter(model.window_samples, model.rate_hz).push(samples):
        state.context[:] = 0
        wiped += model.run([window.samples], [state])

    assert np.abs(probabilities(model, samples) - wiped).max() > 0.1


def test_integers_and_floats_mean_the_same(model: SileroModel) -> None:
    samples = babble(model.rate_hz, 0.2)[: model.window_samples]
    floats = (samples / 32768).astype(np.float32)

    assert model.run([samples], [model.new_state()]) == model.run([floats], [model.new_state()])


def test_an_amplified_window_is_heard_as_one_that_was_louder_and_clipped(model: SileroModel) -> None:
    samples = babble(model.rate_hz, 0.2)[: model.window_samples]
    louder = np.clip(samples / 32768 * 16, -1, 1).astype(np.float32)
    assert np.abs(louder).max() == 1

    amplified, recorded = model.new_state(), model.new_state()
    assert model.run([samples], [amplified], 20 * np.log10(16)) == pytest.approx(
        model.run([louder], [recorded]), abs=1e-6
    )
    assert amplified.context == pytest.approx(recorded.context, abs=1e-6)


def test_more_streams_than_fit_in_a_run_get_what_each_gets_alone(model: SileroModel) -> None:
    speech = babble(model.rate_hz, 0.2)[: model.window_samples]
    windows = [(speech * (number / 70)).astype(np.int16) for number in range(70)]
    states = [model.new_state() for _ in windows]

    together = model.run(windows, states)

    alone = [model.run([window], [model.new_state()])[0] for window in windows]
    assert together == pytest.approx(alone, abs=1e-5)


def test_nothing_to_run_is_nothing(model: SileroModel) -> None:
    assert model.run([], []) == []


def test_a_window_of_another_length_or_without_a_state_is_refused(model: SileroModel) -> None:
    state = model.new_state()
    good = hiss(model.rate_hz, 1)[: model.window_samples]
    with pytest.raises(ValueError, match=f"has {model.window_samples} samples"):
        model.run([good, good[:-1]], [state, model.new_state()])
    with pytest.raises(ValueError, match="1 windows, 0 states"):
        model.run([good], [])

    assert not state.rnn.any()


def test_another_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match="8000 or 16000 Hz, not 48000"):
        SileroModel.load(48000)


def test_a_missing_model_file_is_said_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "MODEL_FILE", Path("no_such.onnx"))
    with pytest.raises(ConfigError, match=r"no_such\.onnx: cannot be read: No such file"):
        SileroModel.load(16000)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_file_that_is_damaged_or_of_another_version_is_said_clearly(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "silero_vad.onnx"
    other.write_bytes(silero.MODEL_FILE.read_bytes() + b"\x28\x01")  # a field, ModelProto.model_version
    monkeypatch.setattr(silero, "MODEL_FILE", other)
    with pytest.raises(ConfigError, match="damaged, or of another version: install relay again"):
        SileroModel.load(16000, engine)


def test_the_engine_that_is_not_installed_is_said_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "relay.media.silero_onnxruntime", raising=False)
    with pytest.raises(ConfigError, match=r'engine "onnxruntime" needs onnxruntime, .* extra "onnx"'):
        SileroModel.load(16000, "onnxruntime")


def test_what_is_told_of_the_file_beside_it_is_true() -> None:
    folder = silero.MODEL_FILE.parent
    told = (folder / "README.md").read_text()

    assert silero.MODEL_SHA256 in told
    assert f"{silero.MODEL_FILE.stat().st_size:,}" in told
    assert "Silero Team" in (folder / "LICENSE").read_text()


def test_recorded_speech_is_found(model: SileroModel, recordings: Path) -> None:
    found = probabilities(model, recording(recordings, "clean_jfk.wav", model.rate_hz))

    for start_s, end_s in ((0.325, 2.125), (5.41, 7.54), (8.185, 10.225)):
        assert np.median(found[int(start_s / 0.032) + 2 : int(end_s / 0.032) - 2]) > 0.5


@pytest.mark.parametrize("name", ["hvac_fan_whir.wav", "hvac_compressor.wav", "near_silence_comfort_noise.wav"])
def test_recorded_fans_are_not_speech(model: SileroModel, recordings: Path, name: str) -> None:
    assert probabilities(model, recording(recordings, name, model.rate_hz)).max() < 0.5
