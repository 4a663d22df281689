"""Sealed blocks open in their order with their key, and in no other way."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.record.keys import RecordKey
from relay.record.seal import ADDED_BYTES, Broken, Opener, Sealer

KEY, OTHER = RecordKey(bytes(range(32))), RecordKey(bytes(range(1, 33)))
HEAD = b"the head of the file"
PAYLOADS = st.lists(st.binary(min_size=1, max_size=300), min_size=2, max_size=6)


def sealed(payloads: list[bytes]) -> tuple[bytes, list[bytes]]:
    sealer = Sealer(KEY)
    return sealer.header, [sealer.seal(payload, HEAD) for payload in payloads]


def open_all(opener: Opener, blocks: list[bytes], head: bytes = HEAD) -> list[bytes]:
    return [opener.open(block, head) for block in blocks]


@given(PAYLOADS)
def test_what_was_sealed_opens_in_its_order(payloads: list[bytes]) -> None:
    header, blocks = sealed(payloads)

    assert open_all(Opener(KEY, header), blocks) == payloads
    assert all(len(block) == len(payload) + ADDED_BYTES for block, payload in zip(blocks, payloads, strict=True))


@given(PAYLOADS, st.data())
def test_blocks_that_change_or_move_do_not_open(payloads: list[bytes], data: st.DataObject) -> None:
    header, blocks = sealed(payloads)
    number = data.draw(st.integers(0, len(blocks) - 2))
    fault = data.draw(st.sampled_from(["changed", "swapped", "left out", "twice", "key", "header", "head"]))
    key, head = OTHER if fault == "key" else KEY, b"another head" if fault == "head" else HEAD
    match fault:
        case "changed":
            at = data.draw(st.integers(0, len(blocks[number]) - 1))
            blocks[number] = blocks[number][:at] + bytes([blocks[number][at] ^ 1]) + blocks[number][at + 1 :]
        case "swapped":
            blocks[number], blocks[number + 1] = blocks[number + 1], blocks[number]
        case "left out":
            del blocks[number]
        case "twice":
            blocks.insert(number, blocks[number])
        case "header":
            header = bytes(len(header))
    opener = Opener(key, header)

    with pytest.raises(Broken):
        open_all(opener, blocks, head)


def test_a_block_of_another_file_with_the_same_key_does_not_open() -> None:
    (header, first), (_, second) = sealed([b"same", b"same"]), sealed([b"same", b"same"])
    opener = Opener(KEY, header)
    opener.open(first[0], HEAD)

    with pytest.raises(Broken):
        opener.open(second[1], HEAD)


def test_the_same_words_never_look_the_same() -> None:
    _, blocks = sealed([b"silence" * 100] * 4)

    assert all(one != next_one for one, next_one in pairwise(blocks))
    assert all(b"silence" not in block for block in blocks)


@pytest.mark.parametrize("length", [0, 1, ADDED_BYTES - 1])
def test_what_is_too_short_to_be_a_block_is_broken(length: int) -> None:
    header, _ = sealed([b"x"])

    with pytest.raises(Broken):
        Opener(KEY, header).open(bytes(length), HEAD)
