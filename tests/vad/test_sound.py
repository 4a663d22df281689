"""Recordings on their way to the model."""

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from relay.errors import FormatMismatch
from relay.media import g711
from relay.media.silero import SileroModel
from relay.media.sound import Sound
from relay.vad.sound import Route, answers, on_the_way, read_sound, windows
from tests.support.recordings import KINDS, fit_sine, sine, wav


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate_hz", [11025, 44100, 48000])
def test_a_recording_of_another_rate_and_kind_is_heard_at_16_khz_and_in_time(
    tmp_path: Path, rate_hz: int, kind: str
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.stack([sine(rate_hz, peak=8000 / 32768)] * 2, axis=1), rate_hz, kind))
    sound = read_sound(path)

    fit = fit_sine(sound.samples, sound.rate_hz)

    assert sound.rate_hz == 16000
    assert sound.duration_s == pytest.approx(0.5, abs=0.001)
    assert fit.peak == pytest.approx(8000, rel=0.01)
    assert fit.late_ms == pytest.approx(0, abs=0.1)
    assert fit.rest < 200


def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "odd.wav"
    path.write_bytes(b"OggS")

    with pytest.raises(FormatMismatch, match=r"odd\.wav"):
        read_sound(path)


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

    together = answers(model, streams, 6.0)

    assert [len(judged.probabilities) for judged in together] == [15, 9, 0]
    for stream, judged in zip(streams, together, strict=True):
        (alone,) = answers(model, [stream], 6.0)
        assert alone.probabilities == pytest.approx(judged.probabilities, abs=1e-4)
        assert alone.voice_bounds == pytest.approx(judged.voice_bounds, abs=1e-2)


def test_no_streams_need_no_model_run(model: SileroModel) -> None:
    assert answers(model, [], 0.0) == []


def test_the_telephone_carries_mu_law() -> None:
    samples = np.arange(-4000, 4000, dtype=np.int16)
    carried = on_the_way(Sound(samples, 8000), Route.TELEPHONE)

    assert carried.samples.tolist() == g711.decode(g711.encode(samples)).tolist()
    assert on_the_way(Sound(samples, 8000), Route.AS_IT_IS).samples is samples
