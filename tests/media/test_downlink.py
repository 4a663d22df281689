"""The assistant's audio to frames of the caller's format, however it was chunked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    whole, parts = Downlink(source, TELEPHONE), Downlink(source, TELEPHONE)
    frames = [frame for chunk in cut(data, sizes) for frame in parts.push(chunk)]

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


@pytest.mark.parametrize("odd", [0, 1])
def test_after_a_reset_nothing_old_sounds_and_samples_are_still_cut_where_they_begin(odd: int) -> None:
    downlink = Downlink(WIDEBAND, TELEPHONE)
    downlink.push(PCM[: 3000 + odd])
    downlink.reset()
    rest = (PCM[3000 + odd : 3002] if odd else b"") + b"\0" * 6400
    heard = b"".join(downlink.push(rest))

    assert set(heard[160:]) == {0xFF}
    assert odd or set(heard) == {0xFF}
