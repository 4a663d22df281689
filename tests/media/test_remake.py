"""Frames of a stream that are made again of what they were made of."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.media.frames import TELEPHONE, WIDEBAND, Audio, AudioFormat, Encoding
from relay.media.remake import FrameMaker, PairPacketizer, worth_remaking
from relay.media.transcode import Transcoder


def pcm(rate_hz: int) -> AudioFormat:
    return AudioFormat(Encoding.PCM_S16LE, rate_hz)


NARROW, CD, TAPE = pcm(8000), pcm(44100), pcm(11025)
WORTH = [(TELEPHONE, WIDEBAND), (TELEPHONE, NARROW), (TELEPHONE, pcm(24000)), (NARROW, WIDEBAND), (NARROW, pcm(96000))]
NOISE = np.random.default_rng(3).integers(0, 256, 2 * 160 * 30, np.uint8).tobytes()


@pytest.mark.parametrize(("source", "target"), WORTH)
def test_it_is_worth_it_where_originals_are_smaller_and_the_rate_is_raised_to_a_multiple(
    source: AudioFormat, target: AudioFormat
) -> None:
    assert worth_remaking(source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (WIDEBAND, WIDEBAND),
        (TELEPHONE, TELEPHONE),
        (pcm(48000), WIDEBAND),
        (WIDEBAND, TELEPHONE),
        (WIDEBAND, pcm(24000)),
        (CD, WIDEBAND),
        (TELEPHONE, CD),
        (TAPE, CD),
        (TELEPHONE, pcm(104000)),
    ],
    ids=str,
)
def test_it_is_not_where_nothing_is_saved_or_a_frame_does_not_come_of_a_frame(
    source: AudioFormat, target: AudioFormat
) -> None:
    assert not worth_remaking(source, target)


def cut(data: bytes, sizes: list[int], block_bytes: int) -> list[bytes]:
    """Chunks of so many blocks, over and over, until all is used."""
    chunks: list[bytes] = []
    while data:
        size = sizes[len(chunks) % len(sizes)] * block_bytes
        chunks.append(data[:size])
        data = data[size:]
    return chunks


@given(st.sampled_from(WORTH), st.lists(st.integers(1, 700), min_size=1, max_size=8))
def test_each_frame_is_made_again_bit_for_bit_of_its_original_and_the_one_before_however_the_stream_was_cut(
    formats: tuple[AudioFormat, AudioFormat], sizes: list[int]
) -> None:
    source, target = formats
    transcoder, packetizer, maker = Transcoder(source, target), PairPacketizer(source, target), FrameMaker(*formats)
    pairs = [
        pair
        for chunk in cut(NOISE, sizes, source.block_bytes)
        for pair in packetizer.push(transcoder.push(Audio(source, chunk)).data, chunk)
    ]

    assert b"".join(original or b"" for _, original in pairs) == NOISE
    for (_, before), (frame, original) in pairwise(pairs):
        assert before is not None
        assert original is not None
        assert maker(before, original) == frame


@given(st.lists(st.tuples(st.sampled_from([160, 80, 33, 200]), st.sampled_from([True, True, False])), max_size=40))
def test_a_frame_has_the_original_that_all_of_it_was_made_of_or_none(chunks: list[tuple[int, bool]]) -> None:
    """Each sample becomes twice the same byte, so that it can be seen what a frame was made of."""
    packetizer, at, unknown = PairPacketizer(TELEPHONE, NARROW), 0, set[int]()
    for size, is_known in chunks:
        first_frame = at // 160
        original = bytes((at + n) % 251 for n in range(size))
        made = bytes(byte for byte in original for _ in range(2))
        at += size
        if not is_known:
            unknown.update(range(first_frame, (at - 1) // 160 + 1))
        pairs = list(packetizer.push(made, original if is_known else None))
        assert len(pairs) == at // 160 - first_frame
        for number, (frame, its_original) in enumerate(pairs, first_frame):
            assert its_original is None or (its_original == frame[::2] and number not in unknown)
            assert its_original is not None or unknown


def test_after_a_chunk_without_an_original_the_next_that_begins_a_frame_has_one() -> None:
    packetizer, known = PairPacketizer(TELEPHONE, NARROW), bytes(160)
    originals = [
        [original for _, original in packetizer.push(bytes(2 * size), bytes(size) if is_known else None)]
        for size, is_known in ((160, False), (160, True), (80, False), (160, True), (80, True), (160, True))
    ]

    assert originals == [[None], [known], [], [None], [None], [known]]


def test_formats_whose_frames_cannot_be_made_again_are_cut_without_originals() -> None:
    assert list(PairPacketizer(TAPE, WIDEBAND).push(NOISE[:1280], bytes(882))) == [
        (NOISE[:640], None),
        (NOISE[640:1280], None),
    ]
