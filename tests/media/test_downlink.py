"""The assistant's audio to frames of the caller's format, however it was chunked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.media.aligner import SampleAligner
from relay.media.downlink import Downlink
from relay.media.frames import TELEPHONE, WIDEBAND, Audio, AudioFormat
from relay.media.transcode import Transcoder

RNG = np.random.default_rng(1)
PCM = (RNG.normal(0, 4000, 16000)).astype("<i2").tobytes()
MULAW = bytes(RNG.integers(0, 256, 8000, np.uint8))
CHUNKS = st.lists(st.integers(1, 3000), min_size=1, max_size=12)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks, start, turn = [], 0, 0
    while start < len(data):
        size = sizes[turn % len(sizes)]
        chunks.append(data[start : start + size])
        start, turn = start + size, turn + 1
    return chunks


@given(CHUNKS)
@pytest.mark.parametrize(("source", "data"), [(WIDEBAND, PCM), (TELEPHONE, MULAW)])
def test_the_frames_do_not_depend_on_the_chunks(source: AudioFormat, data: bytes, sizes: list[int]) -> None:
    whole, parts, aligner = Downlink(source, TELEPHONE), Downlink(source, TELEPHONE), SampleAligner(source)
    frames = [frame for chunk in cut(data, sizes) for frame in parts.push(aligner.push(chunk))]

    assert frames + parts.finish() == whole.push(data) + whole.finish()
    assert {len(frame) for frame in frames} == {160}


def test_equal_formats_pass_untouched() -> None:
    assert b"".join(Downlink(TELEPHONE, TELEPHONE).push(MULAW)) == MULAW


def test_other_formats_are_what_the_transcoder_makes_of_them() -> None:
    transcoded = Transcoder(WIDEBAND, TELEPHONE).push(Audio(WIDEBAND, PCM)).data

    assert b"".join(Downlink(WIDEBAND, TELEPHONE).push(PCM)) == transcoded[: len(transcoded) // 160 * 160]


def test_the_end_is_filled_up_with_silence_once() -> None:
    downlink = Downlink(TELEPHONE, TELEPHONE)
    downlink.push(MULAW[:200])

    assert downlink.finish() == [MULAW[160:200] + b"\xff" * 120]
    assert downlink.finish() == []


def test_after_a_reset_nothing_old_sounds() -> None:
    downlink = Downlink(WIDEBAND, TELEPHONE)
    downlink.push(PCM[:3000])
    downlink.reset()

    assert set(b"".join(downlink.push(b"\0" * 6400))) == {0xFF}
