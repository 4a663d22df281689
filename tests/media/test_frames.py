"""The sizes, the silence and the guard of audio formats."""

import pytest

from relay.errors import FormatMismatch
from relay.media.frames import TELEPHONE, WIDEBAND, Audio, AudioFormat, Encoding


@pytest.mark.parametrize(
    ("audio_format", "block_bytes", "frame_bytes"),
    [
        (TELEPHONE, 1, 160),
        (WIDEBAND, 2, 640),
        (AudioFormat(Encoding.PCM_S16LE, 44100), 2, 1764),
        (AudioFormat(Encoding.PCM_S16LE, 48000, 2), 4, 3840),
        (AudioFormat(Encoding.PCM_F32LE, 48000, 2), 8, 7680),
    ],
    ids=str,
)
def test_sizes_follow_from_the_format(audio_format: AudioFormat, block_bytes: int, frame_bytes: int) -> None:
    assert audio_format.block_bytes == block_bytes
    assert audio_format.frame_bytes == frame_bytes
    assert Audio(audio_format, bytes(frame_bytes)).duration_ms == 20


def test_silence_is_a_code_of_zero() -> None:
    assert TELEPHONE.silent_frame == b"\xff" * 160
    assert WIDEBAND.silence(6) == bytes(6)


def test_audio_of_another_format_is_refused_with_both_names() -> None:
    with pytest.raises(FormatMismatch, match=r"got mulaw 8000 Hz x1.*takes pcm_s16le 16000 Hz x1"):
        Audio(TELEPHONE, b"\xff").expect(WIDEBAND)


def test_an_equal_format_is_accepted_even_if_it_is_another_object() -> None:
    assert Audio(AudioFormat(Encoding.MULAW, 8000), b"\x01").expect(TELEPHONE) == b"\x01"
