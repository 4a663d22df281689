"""FrameBounds: all passes unchanged, a few frames at a time, up to the first frame that goes too far."""

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.net.frame_bounds import FRAGMENTS_MAX, FRAMES_PER_TURN, NO_FRAME, TOO_LONG, TOO_MANY_FRAGMENTS, FrameBounds
from relay.net.link.pace import OF_A_CALL, OF_A_STRANGER, FrameRates

MAX_BYTES = 70_000
UNHURRIED = FrameRates(frames_per_s=1e9, controls_per_s=1e9, bytes_per_s=1e12, burst_s=1.0)
FIN, CONTINUATION, TEXT, BINARY, PING = 0x80, 0, 1, 2, 9


def frame(first: int, length: int, *, masked: bool = True, payload: bytes | None = None) -> bytes:
    """A frame of `length` bytes, whatever of it is there in `payload`."""
    mask = 0x80 if masked else 0
    if length < 126:
        head = struct.pack(">BB", first, mask | length)
    elif length < 1 << 16:
        head = struct.pack(">BBH", first, mask | 126, length)
    else:
        head = struct.pack(">BBQ", first, mask | 127, length)
    return head + (b"\0\0\0\0" if masked else b"") + (bytes(length) if payload is None else payload)


AUDIO = frame(FIN | TEXT, 300)


def all_of(bounds: FrameBounds, now_s: float = 0.0) -> list[bytes]:
    """What comes out at this time."""
    pieces = []
    while piece := bounds.take(now_s):
        pieces.append(piece)
    return pieces


LENGTHS = st.sampled_from([0, 1, 125, 126, 200, 65_535, 65_536]) | st.integers(0, 300)
FRAMES = st.lists(
    st.builds(frame, st.sampled_from([FIN | TEXT, FIN | BINARY]), LENGTHS, masked=st.booleans())
    | st.builds(frame, st.just(FIN | PING), st.integers(0, 125), masked=st.booleans()),
    max_size=30,
)


@given(frames=FRAMES, cuts=st.lists(st.integers(1, 2000), min_size=1, max_size=20))
def test_however_the_bytes_come_they_all_pass_in_order_a_few_frames_at_a_time(
    frames: list[bytes], cuts: list[int]
) -> None:
    sent = b"".join(frames)
    bounds = FrameBounds(MAX_BYTES, UNHURRIED)
    begins, at = set(), 0
    for one in frames:
        begins.add(at)
        at += len(one)
    passed, begin, number = b"", 0, 0
    while begin < len(sent):
        bounds.feed(sent[begin : begin + cuts[number % len(cuts)]])
        begin += cuts[number % len(cuts)]
        number += 1
        for piece in all_of(bounds):
            assert sum(len(passed) <= one < len(passed) + len(piece) for one in begins) <= FRAMES_PER_TURN
            passed += piece
        assert len(sent[:begin]) - len(passed) < 14, "no more is held back than a head that is cut"

    assert passed == sent
    assert bounds.breach is None


def test_a_head_is_handed_on_whole_however_it_comes() -> None:
    """The library asks for the length again with every part of a head, and what counts lengths would count it twice."""
    bounds = FrameBounds(MAX_BYTES, UNHURRIED)
    head = frame(FIN | BINARY, 65_536, payload=b"")
    for byte in head[:-1]:
        bounds.feed(bytes([byte]))
        assert bounds.take(0) == b""
    bounds.feed(head[-1:])
    assert bounds.take(0) == head


@pytest.mark.parametrize(
    ("before", "offending", "breach"),
    [
        (b"", frame(FIN | BINARY, MAX_BYTES + 1, payload=b""), TOO_LONG),
        (b"", frame(FIN | TEXT, 1 << 63, payload=b""), TOO_LONG),
        (frame(FIN | TEXT, 3), frame(TEXT, MAX_BYTES + 1, payload=b""), TOO_LONG),
        (frame(BINARY, MAX_BYTES) + frame(FIN | PING, 5), frame(FIN | CONTINUATION, 1, payload=b""), TOO_LONG),
        (
            frame(TEXT, 0) + frame(CONTINUATION, 0) * (FRAGMENTS_MAX - 1),
            frame(CONTINUATION, 0),
            TOO_MANY_FRAGMENTS,
        ),
    ],
)
def test_the_frame_that_goes_too_far_is_the_last_and_stands_alone(
    before: bytes, offending: bytes, breach: object
) -> None:
    bounds = FrameBounds(MAX_BYTES, UNHURRIED)
    bounds.feed(before + offending + b"x" * 100_000)
    pieces = all_of(bounds)

    assert pieces[-1] == offending
    assert b"".join(pieces[:-1]) == before
    assert bounds.breach is breach
    assert bounds.take(1e9) == b""


NO_HEADS = {
    "a data frame of a reserved kind": b"\x83\x85",
    "a control frame of a reserved kind": b"\x8b\x80",
    "a reserved bit": b"\xc1\xff",
    "a control frame that is a fragment": b"\x09\x80",
    "a control frame of 126 bytes": b"\x89\xfe",
}


@pytest.mark.parametrize("begin", NO_HEADS.values(), ids=NO_HEADS)
@pytest.mark.parametrize("behind", [b"", b"x" * 100])
def test_what_is_no_frame_ends_it_as_soon_as_that_is_known(begin: bytes, behind: bytes) -> None:
    bounds = FrameBounds(MAX_BYTES, UNHURRIED)
    bounds.feed(AUDIO + begin + behind)

    assert all_of(bounds) == [AUDIO, (begin + behind)[:14]]
    assert bounds.breach is NO_FRAME


def test_the_bounds_are_of_each_message() -> None:
    bounds = FrameBounds(MAX_BYTES, UNHURRIED)
    message = frame(BINARY, MAX_BYTES - 1) + frame(FIN | CONTINUATION, 1) + frame(FIN | TEXT, MAX_BYTES)
    bounds.feed(message * 3)
    assert b"".join(all_of(bounds)) == message * 3


def test_a_call_is_never_held_up_by_its_own_rate_nor_by_what_a_stall_left() -> None:
    """50 frames a second; after a stall of 20 s all that it held back; and a message of several MiB."""
    bounds = FrameBounds(2**23, OF_A_CALL)
    now_s = 0.0
    for _ in range(500):
        now_s += 0.02
        bounds.feed(AUDIO)
        assert bounds.take(now_s) == AUDIO
    bounds.feed(AUDIO * 1000)
    assert b"".join(all_of(bounds, now_s + 20)) == AUDIO * 1000
    large = frame(FIN | TEXT, 2**23)
    bounds.feed(large)
    assert b"".join(all_of(bounds, now_s + 25)) == large


def test_a_stranger_that_streams_at_a_calls_rate_is_not_held_up() -> None:
    bounds = FrameBounds(MAX_BYTES, OF_A_STRANGER)
    for number in range(200):
        bounds.feed(AUDIO)
        assert bounds.take(number * 0.02) == AUDIO


@given(
    waits_s=st.lists(st.floats(0, 0.5), min_size=1, max_size=60),
    kind=st.sampled_from(
        [frame(FIN | BINARY, 0), frame(CONTINUATION, 0), frame(FIN | PING, 0), frame(FIN | TEXT, 9000)]
    ),
    rates=st.sampled_from([OF_A_STRANGER, OF_A_CALL]),
)
def test_a_flood_is_taken_no_faster_than_the_rates_say(waits_s: list[float], kind: bytes, rates: FrameRates) -> None:
    bounds = FrameBounds(MAX_BYTES, rates)
    control = bool(kind[0] & 0x0F == PING)
    cost_s = 1 / (rates.controls_per_s if control else rates.frames_per_s) + len(kind) / rates.bytes_per_s
    now_s = taken = 0.0
    if kind[0] == CONTINUATION:
        bounds.feed(frame(BINARY, 0))
        bounds.take(0)
        bounds.change_rates(rates)
    for wait_s in waits_s:
        now_s += wait_s
        while now_s >= bounds.due_s and taken < 5000:
            piece = bounds.take(now_s)
            if not piece:
                bounds.feed(kind * 2 * FRAMES_PER_TURN)
            taken += len(piece) / len(kind)
    assert taken <= (rates.burst_s + now_s) / cost_s + FRAMES_PER_TURN + 1e-6


def test_other_rates_hold_at_once() -> None:
    bounds = FrameBounds(MAX_BYTES, OF_A_STRANGER)
    bounds.feed(frame(FIN | BINARY, 0) * 100)
    assert len(b"".join(all_of(bounds))) < 20 * 6
    bounds.change_rates(OF_A_CALL)
    all_of(bounds)
    bounds.feed(frame(FIN | BINARY, 0))
    assert all_of(bounds) == [frame(FIN | BINARY, 0)]


def test_fragments_without_end_take_no_memory() -> None:
    """They pass, and what is kept of them is two numbers."""
    bounds = FrameBounds(MAX_BYTES, UNHURRIED)
    bounds.feed(frame(TEXT, 0))
    bounds.take(0)
    part = frame(CONTINUATION, 10) * 100
    tracemalloc.start()
    try:
        for _ in range(40):
            bounds.feed(part)
            all_of(bounds)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 5 * len(part)


@given(noise=st.lists(st.binary(max_size=2000), max_size=20))
def test_noise_passes_or_ends_it_and_is_never_held(noise: list[bytes]) -> None:
    bounds = FrameBounds(1000, UNHURRIED)
    passed = b""
    for data in noise:
        bounds.feed(data)
        passed += b"".join(all_of(bounds))
    sent = b"".join(noise)
    assert sent.startswith(passed)
    assert bounds.breach is not None or len(sent) - len(passed) < 14
