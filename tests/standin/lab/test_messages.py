"""WebSocket messages are found whole; everything else goes through as it came."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from relay.standin.lab.messages import Piece, Splitter

REQUEST = b"GET /media HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n"
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"

MESSAGES = st.lists(st.tuples(st.binary(max_size=300), st.integers(1, 4), st.booleans()), max_size=8)


def split(data: bytes, cuts: list[int]) -> list[Piece]:
    splitter = Splitter()
    pieces: list[Piece] = []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in pairwise(edges):
        pieces += splitter.feed(data[begin:end])
    return pieces


@given(MESSAGES, st.lists(st.integers(0, 10_000), max_size=20), st.booleans())
def test_messages_are_whole_however_the_bytes_arrive(
    messages: list[tuple[bytes, int, bool]], cuts: list[int], client: bool
) -> None:
    """Fragmented or not, masked or not, with pings in between."""
    frames = FrameProtocol(client, [])
    sent, expected = REQUEST if client else ANSWER, []
    for payload, parts, ping_within in messages:
        size = -(-len(payload) // parts) or 1
        pieces = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
        message = b""
        for number, piece in enumerate(pieces):
            frame = bytes(frames.send_data(piece, fin=number == len(pieces) - 1))
            message += frame
            sent += frame
            if ping_within and number == 0 and len(pieces) > 1:
                ping = bytes(frames.ping(b"alive"))
                sent += ping
                expected.append(Piece(ping))
        expected.append(Piece(message, message=True))
    goodbye = bytes(frames.close(1000))
    found = split(sent + goodbye, cuts)

    assert found == [Piece(REQUEST if client else ANSWER), *expected, Piece(goodbye, close=True)]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00 a TLS hello",
        b"*1\r\n$4\r\nPING\r\n",
        b"POST /call HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n" + bytes(1000),
        b"HTTP/1.1 201 Created\r\n\r\n{}",
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /again HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_websocket_goes_through_at_once(data: bytes) -> None:
    splitter = Splitter()
    out = b""
    for number in range(len(data)):
        out += b"".join(piece.data for piece in splitter.feed(data[number : number + 1]))
        assert not data.startswith(b"P") or len(out) == number + 1

    assert out == data


def test_a_message_without_bounds_goes_through_as_it_comes() -> None:
    splitter = Splitter()
    list(splitter.feed(REQUEST))
    endless = b"\x82\x7f" + struct.pack(">Q", 1 << 40) + bytes(100)

    assert [piece.data for piece in splitter.feed(endless)] == [endless]
    assert [piece.data for piece in splitter.feed(b"more")] == [b"more"]


def test_at_the_end_the_rest_is_not_lost() -> None:
    splitter = Splitter()
    frame = bytes(FrameProtocol(False, []).send_data(b"unfinished", fin=True))
    list(splitter.feed(ANSWER))

    assert list(splitter.feed(frame[:-3])) == []
    assert splitter.rest() == frame[:-3]
