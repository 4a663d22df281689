"""A recording is read back as it was written; cut anywhere it is a prefix; what is none gives one clear error."""

import struct
import zlib

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import NotARecording
from relay.record.entries import (
    CallerNote,
    ClearSent,
    DialRefused,
    FromAssistant,
    FromCaller,
    MarkReturned,
    MarkSent,
    Recorded,
    RecordingEnd,
    RecordingHeader,
    SpeechScore,
    TextFromAssistant,
    TextToAssistant,
    ToAssistant,
    ToCaller,
    Told,
    Woke,
)
from relay.record.file_format import HEAD, MAGIC, BlockEncoder, read

HEADER = RecordingHeader("1.0", "call", "CA1", 1.0, "mulaw", 8000, "pcm_s16le", 16000, {"vad": {"threshold": 0.5}})
AT = st.floats(0, 1e6)
COUNT = st.integers(0, 2**31)
ENTRIES: st.SearchStrategy[Recorded] = st.one_of(
    st.builds(FromCaller, AT, st.none() | AT, COUNT, st.binary(max_size=200)),
    st.builds(ToCaller, AT, COUNT, COUNT, st.booleans(), COUNT, st.binary(max_size=200)),
    st.builds(MarkSent, AT, COUNT, COUNT),
    st.builds(MarkReturned, AT, COUNT, COUNT),
    st.builds(ClearSent, AT),
    st.builds(FromAssistant, AT, st.booleans(), st.binary(max_size=200)),
    st.builds(TextFromAssistant, AT, st.booleans(), st.text(max_size=50)),
    st.builds(ToAssistant, AT, COUNT, COUNT),
    st.builds(TextToAssistant, AT, st.text(max_size=50)),
    st.builds(SpeechScore, AT, AT, st.floats(0, 1)),
    st.builds(Told, AT, st.text(max_size=20), st.dictionaries(st.text(max_size=5), COUNT | st.text(max_size=5))),
    st.builds(RecordingEnd, AT, st.sampled_from(["ended", "full"])),
    st.builds(CallerNote, AT, st.just("malformed"), st.tuples(st.text(max_size=5), st.text(max_size=5))),
    st.builds(DialRefused, AT, COUNT, st.text(max_size=9), st.text(max_size=9), st.booleans(), AT),
    st.builds(Woke, AT, st.text(max_size=20)),
)
BLOCKS = st.lists(st.lists(ENTRIES, min_size=1, max_size=5), max_size=5)


def written(blocks: list[list[Recorded]]) -> bytes:
    encoder = BlockEncoder()
    return HEAD + encoder.block([HEADER]) + b"".join(encoder.block(block) for block in blocks)


def framed(payload: bytes) -> bytes:
    return struct.pack(">II", len(payload), zlib.crc32(payload)) + payload


def all_of(data: bytes) -> list[Recorded]:
    header, entries = read(data)
    return [header, *entries]


@given(BLOCKS)
def test_what_was_written_is_read(blocks: list[list[Recorded]]) -> None:
    assert all_of(written(blocks)) == [HEADER, *(entry for block in blocks for entry in block)]


@given(BLOCKS, st.data())
def test_a_file_that_is_cut_anywhere_is_a_prefix_of_the_whole(
    blocks: list[list[Recorded]], data: st.DataObject
) -> None:
    whole = written(blocks)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        found = all_of(cut)
    except NotARecording:
        assert len(cut) < len(written([]))
        return

    assert found == all_of(whole)[: len(found)]


@given(BLOCKS, st.data())
def test_a_byte_that_changed_behind_the_head_costs_its_block_and_those_behind_it(
    blocks: list[list[Recorded]], data: st.DataObject
) -> None:
    whole = written(blocks)
    at = data.draw(st.integers(len(written([])), len(whole) - 1)) if blocks else len(HEAD)
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        found = all_of(bytes(changed))
    except NotARecording:
        assert not blocks
        return

    assert found == all_of(whole)[: len(found)]
    assert len(found) < len(all_of(whole))


@given(st.binary(max_size=400), st.sampled_from([b"", MAGIC, HEAD, written([])]))
def test_garbage_is_no_recording_or_ends_one(garbage: bytes, before: bytes) -> None:
    try:
        found = all_of(before + garbage)
    except NotARecording:
        return

    assert found[0] == HEADER


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no recording"),
        (b"RIFF" + bytes(100), "no recording"),
        (HEAD, "cut short before"),
        (MAGIC + b"\x02", "format 2, and this program reads format 1"),
        (HEAD + framed(b"not Zstandard"), "no known size|cannot be read"),
        (HEAD + framed(zstandard.compress(b"\xc1")), "cannot be read"),
        (HEAD + framed(zstandard.compress(msgspec.msgpack.encode([[99, 1.0]]))), "cannot be read"),
        (HEAD + framed(zstandard.compress(msgspec.msgpack.encode([ClearSent(1.0)]))), "cut short before"),
        (HEAD + framed(zstandard.compress(bytes(65 * 1024 * 1024))), "too great"),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line_that_says_why(data: bytes, told: str) -> None:
    with pytest.raises(NotARecording, match=told):
        all_of(data)
