"""Recordings on their way to the model."""

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from relay.errors import FormatMismatch
from relay.media.silero import SileroModel
from relay.vad.sound import Route, Sound, convert, probabilities, read_sound, windows


def tone(rate_hz: int, seconds: float = 0.5) -> Sound:
    time_s = np.arange(round(rate_hz * seconds)) / rate_hz
    return Sound((8000 * np.sin(2 * np.pi * 440 * time_s)).astype(np.int16), rate_hz)


def write(path: Path, sound: Sound, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(sound.rate_hz)
        file.writeframes(sound.samples.tobytes())
    return path


@pytest.fixture(scope="module")
def model() -> SileroModel:
    return SileroModel.load(16000)


def middle(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    return samples[1000:-1000].astype(np.float64)


@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_recordings_of_both_rates_are_read(tmp_path: Path, rate_hz: int) -> None:
    sound = read_sound(write(tmp_path / "a.wav", tone(rate_hz)))

    assert (sound.rate_hz, sound.duration_s) == (rate_hz, 0.5)
    assert sound.samples.tolist() == tone(rate_hz).samples.tolist()


@pytest.mark.parametrize(("rate_hz", "channels"), [(44100, 1), (16000, 2)])
def test_another_file_is_refused_by_name(tmp_path: Path, rate_hz: int, channels: int) -> None:
    path = write(tmp_path / "odd.wav", tone(rate_hz), channels)

    with pytest.raises(FormatMismatch, match=r"odd\.wav"):
        read_sound(path)


@pytest.mark.parametrize(("rate_hz", "other_hz"), [(16000, 8000), (8000, 16000), (8000, 8000)])
def test_conversion_neither_delays_nor_cuts(rate_hz: int, other_hz: int) -> None:
    converted, wanted = convert(tone(rate_hz), other_hz), tone(other_hz)

    assert len(converted.samples) == len(wanted.samples)
    assert np.abs(middle(converted.samples) - middle(wanted.samples)).max() < 10


def test_the_telephone_route_delays_and_distorts_as_a_call_does(model: SileroModel) -> None:
    heard = windows(tone(16000), model, Route.TELEPHONE).ravel()
    sent = tone(16000).samples[: len(heard)]

    errors = [np.abs(middle(heard[lag:]) - middle(sent[: len(sent) - lag])).mean() for lag in range(40)]
    assert int(np.argmin(errors)) == 28  # the 1.75 ms of the resampler
    assert 10 < min(errors) < 200  # the steps of mu-law


def test_the_wideband_route_is_exact(model: SileroModel) -> None:
    heard = windows(tone(16000), model, Route.WIDEBAND)

    assert heard.shape == (15, 512)
    assert heard.ravel().tolist() == tone(16000).samples[: 15 * 512].tolist()


@pytest.mark.parametrize("route", list(Route))
def test_a_shift_puts_silence_before_the_recording(model: SileroModel, route: Route) -> None:
    shifted, plain = (windows(tone(16000), model, route, shift_ms).ravel() for shift_ms in (8.0, 0.0))

    assert not shifted[:128].any()
    assert shifted[128:4096].tolist() == plain[: 4096 - 128].tolist()


def test_windows_fit_the_8_khz_model() -> None:
    assert windows(tone(16000), SileroModel.load(8000), Route.TELEPHONE).shape == (15, 256)


def test_streams_side_by_side_get_what_each_gets_alone(model: SileroModel) -> None:
    noise = np.random.default_rng(1).integers(-3000, 3000, (9, 512)).astype(np.int16)
    streams = [windows(tone(16000), model), noise, noise[:0]]

    together = probabilities(model, streams, 6.0)

    assert [len(judged) for judged in together] == [15, 9, 0]
    for stream, judged in zip(streams, together, strict=True):
        assert probabilities(model, [stream], 6.0)[0] == pytest.approx(judged, abs=1e-4)


def test_no_streams_need_no_model_run(model: SileroModel) -> None:
    assert probabilities(model, [], 0.0) == []
