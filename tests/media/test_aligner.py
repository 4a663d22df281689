"""Half a sample waits for its other half, whatever the chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.media.aligner import SampleAligner
from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat, Encoding

FLOAT_STEREO = AudioFormat(Encoding.PCM_F32LE, 48000, 2)


@given(st.lists(st.binary(max_size=40), max_size=12), st.sampled_from([TELEPHONE, WIDEBAND, FLOAT_STEREO]))
def test_every_chunk_is_of_whole_blocks_and_less_than_one_block_waits(
    parts: list[bytes], audio_format: AudioFormat
) -> None:
    aligner = SampleAligner(audio_format)
    pushed = b""
    given_out = b""
    for part in parts:
        pushed += part
        given_out += (chunk := aligner.push(part))

        assert len(chunk) % audio_format.block_bytes == 0
        assert 0 <= len(pushed) - len(given_out) < audio_format.block_bytes
        assert pushed.startswith(given_out)


def test_a_sample_that_is_cut_in_two_waits_for_its_other_half() -> None:
    aligner = SampleAligner(WIDEBAND)

    assert [aligner.push(part) for part in (b"\1", b"\2\3", b"", b"\4\5\6")] == [b"", b"\1\2", b"", b"\3\4\5\6"]


def test_chunks_of_whole_blocks_are_not_copied() -> None:
    data = bytes(640)

    assert SampleAligner(WIDEBAND).push(data) is data


@pytest.mark.parametrize("waiting", [1, 7])
def test_after_a_reset_the_next_byte_begins_a_block(waiting: int) -> None:
    aligner = SampleAligner(FLOAT_STEREO)
    aligner.push(b"x" * waiting)
    aligner.reset()

    assert aligner.push(b"12345678") == b"12345678"
