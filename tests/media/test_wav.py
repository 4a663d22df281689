"""WAV files that are read, and those that are refused by name."""

import wave
from pathlib import Path

import numpy as np
import pytest

from relay.errors import FormatMismatch
from relay.media.frames import Audio, AudioFormat, Encoding
from relay.media.wav import read_wav


def write_wav(path: Path, channels: int, sample_bytes: int, rate: int, data: bytes) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(sample_bytes)
        file.setframerate(rate)
        file.writeframes(data)
    return path


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_mono_file_of_any_rate_is_read_with_its_format(tmp_path: Path, rate: int) -> None:
    data = np.arange(-500, 500, dtype="<i2").tobytes()

    audio = read_wav(write_wav(tmp_path / "a.wav", 1, 2, rate, data))

    assert audio == Audio(AudioFormat(Encoding.PCM_S16LE, rate), data)


@pytest.mark.parametrize(
    ("channels", "sample_bytes", "said"), [(2, 2, r"2 channel\(s\) of 16"), (1, 1, r"1 channel\(s\) of 8")]
)
def test_another_layout_is_refused_by_name(tmp_path: Path, channels: int, sample_bytes: int, said: str) -> None:
    path = write_wav(tmp_path / "odd.wav", channels, sample_bytes, 8000, bytes(64))

    with pytest.raises(FormatMismatch, match=rf"odd\.wav: {said} bits"):
        read_wav(path)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"ID3" * 50, b"RIFF\x24\x00\x00\x00WAVEjunk"])
def test_what_is_no_wav_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(content)

    with pytest.raises(FormatMismatch, match=r"broken\.wav: no PCM WAV"):
        read_wav(path)


def test_a_compressed_file_is_refused_by_name(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "law.wav", 1, 2, 8000, bytes(64))
    content = bytearray(path.read_bytes())
    content[20:22] = (7).to_bytes(2, "little")  # WAVE_FORMAT_MULAW
    path.write_bytes(content)

    with pytest.raises(FormatMismatch, match=r"law\.wav: no PCM WAV"):
        read_wav(path)
