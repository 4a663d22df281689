"""Fragments: a message is whole at its last fragment, and within its bounds at each."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.net.link.fragments import (
    FRAGMENTS_MAX,
    NOT_UTF8,
    OUT_OF_ORDER,
    TOO_LONG,
    TOO_MANY_FRAGMENTS,
    Fragments,
    MessageBounds,
    ProtocolViolated,
    Violation,
    whole_text,
)
from relay.net.link.frames import BINARY, CONTINUATION, TEXT

BOUNDS = MessageBounds(text_max_bytes=100, binary_max_bytes=50)


def violation_of(*announced: tuple[int, int, bool]) -> Violation:
    """Of the last of these frames, each an opcode, a length, and whether it is final."""
    fragments = Fragments(BOUNDS)
    for opcode, length, final in announced[:-1]:
        fragments.announce(opcode, length, final=final)
        if opcode == CONTINUATION or not final:
            fragments.take(b"x" * length, final=final)
    opcode, length, final = announced[-1]
    with pytest.raises(ProtocolViolated) as violated:
        fragments.announce(opcode, length, final=final)
    return violated.value.violation


@pytest.mark.parametrize("kind", [TEXT, BINARY])
@given(parts=st.lists(st.text(max_size=2), min_size=1, max_size=5))
def test_parts_make_a_message_and_then_another_may_begin(kind: int, parts: list[str]) -> None:
    fragments = Fragments(BOUNDS)
    for _ in range(2):
        results = []
        for number, part in enumerate(parts):
            final = number == len(parts) - 1 and number > 0
            fragments.announce(CONTINUATION if number else kind, len(part.encode()), final=final)
            if final or number == 0 or number < len(parts) - 1:
                results.append(fragments.take(part.encode(), final=final))
        if len(parts) == 1:
            fragments.announce(CONTINUATION, 0, final=True)
            results.append(fragments.take(b"", final=True))
        whole = "".join(parts)
        assert results[-1] == (whole if kind == TEXT else whole.encode())
        assert results[:-1] == [None] * (len(results) - 1)


@pytest.mark.parametrize(
    ("announced", "violation"),
    [
        ([(CONTINUATION, 0, False)], OUT_OF_ORDER),
        ([(CONTINUATION, 0, True)], OUT_OF_ORDER),
        ([(TEXT, 1, False), (TEXT, 1, True)], OUT_OF_ORDER),
        ([(TEXT, 1, False), (CONTINUATION, 1, True), (CONTINUATION, 1, True)], OUT_OF_ORDER),
        ([(TEXT, 101, True)], TOO_LONG),
        ([(BINARY, 51, True)], TOO_LONG),
        ([(TEXT, 100, False), (CONTINUATION, 1, True)], TOO_LONG),
        ([(BINARY, 50, False), (CONTINUATION, 0, False), (CONTINUATION, 1, False)], TOO_LONG),
        ([(TEXT, 0, False), *[(CONTINUATION, 0, False)] * FRAGMENTS_MAX], TOO_MANY_FRAGMENTS),
    ],
)
def test_what_goes_too_far_is_known_from_its_head(announced: list[tuple[int, int, bool]], violation: Violation) -> None:
    assert violation_of(*announced) == violation


def test_what_is_no_text_is_known_from_the_fragment_in_which_it_is_none() -> None:
    fragments = Fragments(BOUNDS)
    fragments.announce(TEXT, 2, final=False)
    assert fragments.take(b"a\xc3", final=False) is None
    fragments.announce(CONTINUATION, 1, final=False)
    with pytest.raises(ProtocolViolated) as violated:
        fragments.take(b"\xc3", final=False)
    assert violated.value.violation == NOT_UTF8
    with pytest.raises(ProtocolViolated):
        whole_text(b"\xc3")
    assert whole_text(bytearray(b"\xc3\xbc")) == "ü"


def test_empty_fragments_take_no_memory() -> None:
    fragments = Fragments(BOUNDS)
    fragments.announce(BINARY, 0, final=False)
    tracemalloc.start()
    try:
        for _ in range(FRAGMENTS_MAX - 1):
            fragments.announce(CONTINUATION, 0, final=False)
            fragments.take(b"", final=False)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1000
