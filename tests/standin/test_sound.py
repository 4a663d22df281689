"""Sound is converted as the standard says, and keeps its length and level."""

import math
from pathlib import Path

import numpy as np
import pytest

from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat, Encoding
from relay.media.wav import read_wav
from relay.standin.sound import (
    encode,
    lay_out,
    level_dbfs,
    mulaw_to_samples,
    samples_to_mulaw,
    tone,
    write_wav,
)

# Values of the standard's table (ITU-T G.711, table 2a, in 16 bits).
KNOWN = [(0xFF, 0), (0x7F, 0), (0x80, 32124), (0x00, -32124), (0xFE, 8), (0x8F, 16764), (0xCE, 988), (0x4E, -988)]


@pytest.mark.parametrize(("code", "sample"), KNOWN)
def test_mulaw_decodes_as_in_the_standard(code: int, sample: int) -> None:
    assert mulaw_to_samples(bytes([code]))[0] == sample


def test_every_code_survives_decoding_and_encoding_except_the_second_zero() -> None:
    codes = bytes(range(256))
    again = samples_to_mulaw(mulaw_to_samples(codes))
    assert again == codes.replace(b"\x7f", b"\xff")


def test_the_whole_range_is_encoded_within_the_step_of_its_segment() -> None:
    samples = np.arange(-32768, 32768, 7).astype(np.int16)
    error = np.abs(mulaw_to_samples(samples_to_mulaw(samples)).astype(int) - samples)
    assert np.all(
        error <= np.maximum(8, np.abs(samples.astype(int)) // 16 + 8) + (np.abs(samples.astype(int)) > 32124) * 644
    )


@pytest.mark.parametrize("form", [TELEPHONE, WIDEBAND, AudioFormat(Encoding.PCM_S16LE, 48000)])
def test_a_recording_keeps_length_and_level_in_every_format(form: AudioFormat) -> None:
    data = encode(tone(440, 0.5), 16000, form)
    assert form.duration_ms(len(data)) == pytest.approx(500, abs=1)
    samples = mulaw_to_samples(data) if form.encoding is Encoding.MULAW else np.frombuffer(data, "<i2")
    assert level_dbfs(samples) == pytest.approx(20 * math.log10(0.25 / math.sqrt(2)), abs=0.4)


def test_nothing_and_silence_have_the_lowest_level() -> None:
    assert level_dbfs(np.zeros(0, np.int16)) == level_dbfs(np.zeros(160, np.int16)) == -100.0


def test_a_wav_of_two_channels_is_as_long_as_the_longer(tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    write_wav(path, 8000, np.array([100, 200], np.int16), np.array([300], np.int16))
    sound = read_wav(path)
    assert (sound.samples.tolist(), sound.rate_hz) == ([200, 100], 8000)


def test_pieces_lie_at_their_times_and_never_overlap() -> None:
    ones, twos = np.ones(3, np.int16), np.full(2, 2, np.int16)
    assert lay_out([(0.001, ones), (0.002, twos), (0.01, twos)], 1000).tolist() == [0, 1, 1, 1, 2, 2, 0, 0, 0, 0, 2, 2]
