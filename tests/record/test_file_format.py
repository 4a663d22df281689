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
from relay.record.file_format import HEAD, MAGIC, SEALED_HEAD_BYTES, BlockEncoder, Blocks, read
from relay.record.keys import RecordKey

KEY, OTHER = RecordKey(bytes(range(32))), RecordKey(bytes(range(1, 33)))
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


def sealed(blocks: list[list[Recorded]]) -> bytes:
    encoder, file = BlockEncoder(), Blocks(KEY)
    first = file.next(encoder.payload([HEADER]))
    return file.head + first + b"".join(file.next(encoder.payload(block)) for block in blocks)


def framed(payload: bytes) -> bytes:
    return struct.pack(">II", len(payload), zlib.crc32(payload)) + payload


def all_of(data: bytes, *keys: RecordKey) -> list[Recorded]:
    header, entries = read(data, keys)
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


@given(BLOCKS, st.integers(1, 5000))
def test_the_zeros_that_a_loss_of_power_leaves_end_a_file(blocks: list[list[Recorded]], zeros: int) -> None:
    assert all_of(written(blocks) + bytes(zeros)) == all_of(written(blocks))
    assert all_of(sealed(blocks) + bytes(zeros), KEY) == all_of(sealed(blocks), KEY)


@given(BLOCKS)
def test_what_was_sealed_is_read_with_its_key_and_with_no_other(blocks: list[list[Recorded]]) -> None:
    data = sealed(blocks)
    assert all_of(data, OTHER, KEY) == [HEADER, *(entry for block in blocks for entry in block)]
    assert b"call" not in data

    for keys in ([], [OTHER]):
        with pytest.raises(NotARecording, match=f"sealed with the key {KEY.id.hex()}: give that in RELAY_RECORD_KEY"):
            all_of(data, *keys)


@given(BLOCKS, st.data())
def test_a_sealed_file_that_is_cut_anywhere_is_a_prefix_of_the_whole(
    blocks: list[list[Recorded]], data: st.DataObject
) -> None:
    whole = sealed(blocks)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        found = all_of(cut, KEY)
    except NotARecording:
        assert len(cut) < len(sealed([]))
        return

    assert found == all_of(whole, KEY)[: len(found)]


@given(BLOCKS, st.data())
def test_a_sealed_file_that_was_changed_gives_nothing_that_was_not_recorded(
    blocks: list[list[Recorded]], data: st.DataObject
) -> None:
    """Even by somebody who makes the checksum fit."""
    whole = sealed(blocks)
    parts = [whole[:SEALED_HEAD_BYTES]]
    while (at := sum(map(len, parts))) < len(whole):
        length = struct.unpack_from(">I", whole, at)[0]
        parts.append(whole[at : at + 8 + length])
    order = data.draw(st.permutations(range(1, len(parts))))
    kept = order[: data.draw(st.integers(0, len(order)))]
    changed = parts[0] + b"".join(parts[number] for number in kept)
    try:
        found = all_of(changed, KEY)
    except NotARecording:
        assert list(kept) != list(range(1, len(kept) + 1)) or not kept
        return

    assert found == all_of(whole, KEY)[: len(found)]


def test_a_sealed_file_says_that_it_is_sealed_and_by_which_key() -> None:
    data = sealed([])

    assert data[: len(HEAD)] == MAGIC + b"\x02"
    assert data[len(HEAD) : len(HEAD) + 8] == KEY.id
    assert KEY.secret not in data


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
        (MAGIC + b"\x03", "format 3, and this program reads formats 1 and 2"),
        (MAGIC + b"\x02", "cut short before"),
        (MAGIC + b"\x02" + bytes(32), f"sealed with the key {bytes(8).hex()}"),
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
