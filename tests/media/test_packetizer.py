"""Frames of exactly 20 ms, whatever the chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.media.aligner import SampleAligner
from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat, Encoding
from relay.media.packetizer import Packetizer

FORMATS = [
    TELEPHONE,
    WIDEBAND,
    AudioFormat(Encoding.PCM_S16LE, 44100),
    AudioFormat(Encoding.PCM_S16LE, 8000, 2),
    AudioFormat(Encoding.PCM_F32LE, 8000),
]
chunks = st.lists(st.binary(max_size=2000), max_size=12)


@given(chunks, st.sampled_from(FORMATS))
def test_any_chunking_gives_the_frames_of_the_whole(parts: list[bytes], audio_format: AudioFormat) -> None:
    whole = b"".join(parts)
    packetizer = Packetizer(audio_format)

    frames = [frame for part in parts for frame in packetizer.push(part)]

    assert frames == Packetizer(audio_format).push(whole)
    assert {len(frame) for frame in frames} <= {audio_format.frame_bytes}
    assert len(whole) - len(b"".join(frames)) < audio_format.frame_bytes


@given(chunks, st.sampled_from(FORMATS))
def test_nothing_is_lost_and_only_silence_is_added(parts: list[bytes], audio_format: AudioFormat) -> None:
    aligner, packetizer = SampleAligner(audio_format), Packetizer(audio_format)
    parts = [aligner.push(part) for part in parts]
    whole = b"".join(parts)

    out = b"".join(frame for part in parts for frame in packetizer.push(part)) + (packetizer.flush() or b"")

    assert out[: len(whole)] == whole
    assert out[len(whole) :] == audio_format.silence(len(out) - len(whole))
    assert len(out) % audio_format.frame_bytes == 0


def test_flush_gives_nothing_when_nothing_waits() -> None:
    packetizer = Packetizer(WIDEBAND)

    assert packetizer.push(bytes(640)) == [bytes(640)]
    assert packetizer.flush() is None


def test_flush_leaves_nothing_behind() -> None:
    packetizer = Packetizer(WIDEBAND)
    packetizer.push(b"\x01" * 320)

    assert packetizer.flush() == b"\x01" * 320 + bytes(320)
    assert packetizer.push(b"\x02" * 640) == [b"\x02" * 640]


def test_reset_forgets_what_waits() -> None:
    packetizer = Packetizer(TELEPHONE)
    packetizer.push(b"\x01" * 159)

    packetizer.reset()

    assert packetizer.push(b"\x02" * 160) == [b"\x02" * 160]


def test_a_rate_without_whole_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="11025 Hz"):
        Packetizer(AudioFormat(Encoding.PCM_S16LE, 11025))
