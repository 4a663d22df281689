"""head_problem: a head is judged by what has come of it, and never by what lies behind it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.net.request_head import HEAD_MAX_BYTES, HEADERS_MAX, framing_problem, head_problem

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX: b\tc\r\n\r\n"


@pytest.mark.parametrize("behind", [b"", b"\n\n", b"a\0b", b"\r\r", b" folded", bytes(100_000)])
def test_what_lies_behind_a_head_is_no_part_of_it(behind: bytes) -> None:
    assert head_problem(HEAD + behind) is None


@given(st.integers(0, len(HEAD)))
def test_no_part_of_a_good_head_is_refused(length: int) -> None:
    assert head_problem(HEAD[:length]) is None


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"X: b", b"X: b\n", 400),
        (b"Host: a\r\n", b"Host: a\n", 400),
        (b"X: b", b" X: b", 400),
        (b"X: b", b"\tX: b", 400),
        (b"X: b", b"X: b\r", 400),
        (b"X: b", b"X: \0", 400),
        (b"X: b", b"X: " + b"b" * HEAD_MAX_BYTES, 431),
        (b"X: b", b"x: b\r\n" * HEADERS_MAX + b"X: b", 431),
    ],
)
def test_a_head_that_can_be_read_in_two_ways_or_is_too_long_is_refused_whole_or_in_part(
    old: bytes, new: bytes, status: int
) -> None:
    head = HEAD.replace(old, new)
    for received in (head, head + b"behind", head.removesuffix(b"\r\n")):
        problem = head_problem(received)
        assert problem is not None
        assert problem.status == status


@given(st.binary(max_size=300) | st.text("\r\n\t :aX\0", max_size=60).map(str.encode))
def test_of_a_head_that_passes_all_lines_end_alike_and_none_is_folded(received: bytes) -> None:
    if head_problem(received) is None:
        head = received.partition(b"\r\n\r\n")[0]
        lines = head.removesuffix(b"\r").split(b"\r\n")
        assert not any(b"\n" in line or b"\r" in line or b"\0" in line for line in lines)
        assert not any(line.startswith((b" ", b"\t")) for line in lines[1:])


LENGTH, CHUNKED = (b"content-length", b"3"), (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize(
    ("version", "headers", "refused"),
    [
        (b"1.1", [LENGTH], False),
        (b"1.0", [LENGTH], False),
        (b"1.1", [CHUNKED], False),
        (b"1.0", [CHUNKED], True),
        (b"1.1", [LENGTH, CHUNKED], True),
        (b"1.1", [CHUNKED, (b"host", b"a"), LENGTH], True),
    ],
)
def test_a_body_has_one_length(version: bytes, headers: list[tuple[bytes, bytes]], *, refused: bool) -> None:
    assert (framing_problem(version, headers) is not None) == refused
