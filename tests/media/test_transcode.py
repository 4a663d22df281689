"""Audio of one format to audio of another."""

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import FormatMismatch
from relay.media import g711
from relay.media.aligner import SampleAligner
from relay.media.frames import TELEPHONE, WIDEBAND, Audio, AudioFormat, Encoding
from relay.media.transcode import Transcoder

BROWSER = AudioFormat(Encoding.PCM_S16LE, 48000, 2)
FLOATS = AudioFormat(Encoding.PCM_F32LE, 16000)
NARROW = AudioFormat(Encoding.PCM_S16LE, 8000)
PAIRS = [(TELEPHONE, WIDEBAND), (WIDEBAND, TELEPHONE), (BROWSER, WIDEBAND), (FLOATS, TELEPHONE), (NARROW, FLOATS)]


def pcm(samples: list[int]) -> bytes:
    return np.array(samples, "<i2").tobytes()


def loud(encoding: Encoding) -> bytes:
    samples = np.random.default_rng(3).normal(0, 9000, 4000).clip(-32768, 32767).astype(np.int16)
    if encoding is Encoding.MULAW:
        return g711.encode(samples)
    return (samples / 32768).astype("<f4").tobytes() if encoding is Encoding.PCM_F32LE else samples.tobytes()


@given(st.lists(st.binary(max_size=500), max_size=8), st.sampled_from(PAIRS))
def test_any_chunking_gives_the_same_bytes(parts: list[bytes], pair: tuple[AudioFormat, AudioFormat]) -> None:
    source, target = pair
    transcoder, aligner = Transcoder(source, target), SampleAligner(source)

    out = b"".join(transcoder.push(Audio(source, aligner.push(part))).data for part in parts)

    whole = SampleAligner(source).push(b"".join(parts))
    assert out == Transcoder(source, target).push(Audio(source, whole)).data


def test_half_a_sample_is_refused_and_never_decoded_with_the_wrong_other_half() -> None:
    transcoder = Transcoder(WIDEBAND, TELEPHONE)

    with pytest.raises(FormatMismatch, match="641 bytes"):
        transcoder.push(Audio(WIDEBAND, bytes(641)))


@given(st.binary(max_size=700))
def test_equal_formats_pass_the_very_same_bytes(data: bytes) -> None:
    """Mu-law passes through untouched, negative zeros included, without being decoded."""
    assert Transcoder(TELEPHONE, AudioFormat(Encoding.MULAW, 8000)).push(Audio(TELEPHONE, data)).data is data


def test_a_chunk_of_another_format_is_refused_with_both_names() -> None:
    with pytest.raises(FormatMismatch, match=r"got pcm_s16le 16000 Hz x1.*takes mulaw 8000 Hz x1"):
        Transcoder(TELEPHONE, WIDEBAND).push(Audio(WIDEBAND, bytes(640)))


def test_a_stereo_target_is_refused() -> None:
    with pytest.raises(FormatMismatch, match="only mono"):
        Transcoder(TELEPHONE, BROWSER)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=str)
def test_20_ms_in_are_20_ms_out(source: AudioFormat, target: AudioFormat) -> None:
    transcoder = Transcoder(source, target)

    out = [transcoder.push(Audio(source, source.silent_frame)) for _ in range(5)]

    assert out == [Audio(target, target.silent_frame)] * 5


def test_stereo_is_mixed_to_the_mean_of_both_sides() -> None:
    source = AudioFormat(Encoding.PCM_S16LE, 8000, 2)

    out = Transcoder(source, NARROW).push(Audio(source, pcm([100, 300, 32767, 32767, -32768, -32768, 1000, -1000])))

    assert out.data == pcm([200, 32767, -32768, 0])


def both_sides(frequency: float) -> bytes:
    """Half a second of a tone, equal on both sides of a browser's stereo."""
    tone = 16000 * np.sin(2 * np.pi * frequency * np.arange(24000) / 48000)
    return np.repeat(tone.round().astype("<i2"), 2).tobytes()


def level_db(frequency: float) -> float:
    """What is left of a tone on the way from a browser to the assistant, in 20 ms messages, whatever it has become."""
    transcoder, stereo = Transcoder(BROWSER, WIDEBAND), both_sides(frequency)
    size = BROWSER.frame_bytes
    out = b"".join(transcoder.push(Audio(BROWSER, stereo[at : at + size])).data for at in range(0, len(stereo), size))
    steady = np.frombuffer(out, "<i2")[1600:6400].astype(float)
    return float(20 * np.log10(np.sqrt((steady**2).mean() * 2) / 16000 + 1e-9))


def test_48_khz_stereo_becomes_16_khz_mono_level_and_without_aliases() -> None:
    assert {hz: level_db(hz) for hz in (100, 1000, 3000, 5000, 6500, 7000) if abs(level_db(hz)) > 1} == {}
    assert {hz: level_db(hz) for hz in (9000, 10000, 13000, 16500, 20000, 23000) if level_db(hz) > -50} == {}


def test_floats_are_scaled_saturated_and_cleaned() -> None:
    data = np.array([0, 0.5, -1, 1, 7, -7, np.nan, np.inf, -np.inf], "<f4").tobytes()
    target = AudioFormat(Encoding.PCM_S16LE, 16000)

    out = Transcoder(FLOATS, target).push(Audio(FLOATS, data))

    assert out.data == pcm([0, 16384, -32768, 32767, 32767, -32768, 0, 32767, -32768])


def test_samples_survive_a_trip_through_floats() -> None:
    data = pcm(list(range(-32768, 32768, 17)))

    there = Transcoder(WIDEBAND, FLOATS).push(Audio(WIDEBAND, data))

    assert Transcoder(FLOATS, WIDEBAND).push(there) == Audio(WIDEBAND, data)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=str)
def test_after_reset_silence_is_digital_silence(source: AudioFormat, target: AudioFormat) -> None:
    transcoder = Transcoder(source, target)
    before = transcoder.push(Audio(source, loud(source.encoding)))
    transcoder.reset()

    out = transcoder.push(Audio(source, source.silence(source.frame_bytes * 5))).data

    assert before.data.strip(target.silence(1)) != b""
    assert out == target.silence(target.frame_bytes * 5)


@pytest.mark.parametrize(
    ("source", "target", "delay_ms"),
    [(BROWSER, WIDEBAND, 0.875), (NARROW, WIDEBAND, 1.75), (WIDEBAND, NARROW, 1.75), (NARROW, FLOATS, 1.75)],
    ids=str,
)
def test_sound_comes_out_later_by_the_delay_of_the_resampler(
    source: AudioFormat, target: AudioFormat, delay_ms: float
) -> None:
    frames = 50 * source.rate_hz // 1000
    click = pcm([0] * (frames * source.channels) + [20000] * source.channels + [0] * (frames * source.channels))
    heard = Transcoder(target, AudioFormat(Encoding.PCM_S16LE, target.rate_hz)).push(
        Transcoder(source, target).push(Audio(source, click))
    )

    loudest = int(np.argmax(np.frombuffer(heard.data, "<i2")))
    assert loudest * 1000 / target.rate_hz == pytest.approx(50 + delay_ms, abs=500 / target.rate_hz)


def test_telephone_speech_survives_the_way_to_the_assistant_and_back(recordings: Path) -> None:
    """A minute of speech, mu-law to PCM 16 kHz and back, in 20 ms chunks: no sample lost or invented."""
    with wave.open(str(recordings / "tel_prompts_en.wav")) as file:
        assert file.getframerate() == 16000
        speech = file.readframes(file.getnframes())
    mulaw = (Transcoder(WIDEBAND, TELEPHONE).push(Audio(WIDEBAND, speech)).data * 3)[: 60 * 8000]
    up, down = Transcoder(TELEPHONE, WIDEBAND), Transcoder(WIDEBAND, TELEPHONE)

    back = b"".join(down.push(up.push(Audio(TELEPHONE, mulaw[at : at + 160]))).data for at in range(0, len(mulaw), 160))

    assert len(back) == len(mulaw)
    delay = 2 * 14  # of the resampler, in samples at 8 kHz, there and back
    sent = g711.decode(mulaw)[:-delay].astype(np.float64)
    heard = g711.decode(back)[delay:].astype(np.float64)
    assert 10 * np.log10((sent**2).mean() / ((heard - sent) ** 2).mean()) > 30
