import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import FormatMismatch
from relay.media.frames import TELEPHONE, WIDEBAND, Audio, AudioFormat, Encoding
from relay.media.wav import StereoWriter, read_wav


def write_wav(path: Path, channels: int, sample_bytes: int, rate: int, data: bytes) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(sample_bytes)
        file.setframerate(rate)
        file.writeframes(data)
    return path


def sides(path: Path) -> tuple[list[int], list[int]]:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return both[::2].tolist(), both[1::2].tolist()


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


@given(parts=st.lists(st.tuples(st.booleans(), st.binary(max_size=100)), max_size=12))
def test_both_sides_come_out_whole_however_they_were_chunked(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[bool, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("wav") / "call.wav"
    with StereoWriter(path, 16000) as writer:
        for is_left, data in parts:
            audio = Audio(WIDEBAND, data)
            writer.write(left=audio) if is_left else writer.write(right=audio)

    for found, wanted in zip(sides(path), (True, False), strict=True):
        data = b"".join(data for is_left, data in parts if is_left is wanted)
        sent = np.frombuffer(data[: len(data) // 2 * 2], "<i2").tolist()
        assert found[: len(sent)] == sent
        assert not any(found[len(sent) :])


def test_what_both_sides_have_is_on_disk_before_the_end(tmp_path: Path) -> None:
    """A long call is not kept in memory."""
    path = tmp_path / "call.wav"
    with StereoWriter(path, 16000) as writer:
        for _ in range(50):
            writer.write(Audio(WIDEBAND, bytes(640)), Audio(WIDEBAND, bytes(640)))
        assert len(writer._left) == len(writer._right) == 0
    assert path.stat().st_size == 44 + 50 * 1280


def test_the_shorter_side_is_filled_up_with_silence(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    with StereoWriter(path, 16000) as writer:
        writer.write(left=Audio(WIDEBAND, b"\x01\x00\x02\x00\x03\x00"), right=Audio(WIDEBAND, b"\x09\x00"))

    assert sides(path) == ([1, 2, 3], [9, 0, 0])


def test_a_side_of_another_format_is_refused(tmp_path: Path) -> None:
    with StereoWriter(tmp_path / "call.wav", 16000) as writer, pytest.raises(FormatMismatch, match="mulaw 8000"):
        writer.write(right=Audio(TELEPHONE, bytes(160)))
