"""ServerStream: it is the library's until it is a WebSocket, and its last words are heard."""

import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.net import server_stream
from relay.net.hang_ups import HangUps
from relay.net.link.fragments import MessageBounds
from relay.net.readiness import Readiness
from relay.net.server_stream import LINGER_BYTES, READ_BYTES, ServerStream
from tests.support.raw_frames import BINARY, FIN, TEXT, raw_frame
from tests.support.streams import narrow_pair, read_all

BOUNDS = MessageBounds(1000, 1000)


@contextmanager
def stream_and_peer(readiness: Readiness | None = None) -> Iterator[tuple[ServerStream, trio.SocketStream]]:
    """Over TCP, with buffers of the kernel as small as it allows."""
    readiness = readiness or Readiness()
    with narrow_pair() as (ours, theirs), closing(HangUps()) as hang_ups, closing(readiness):
        yield ServerStream(ours, BOUNDS, hang_ups, readiness), theirs


async def test_once_it_is_a_websocket_the_bytes_are_the_links_and_the_librarys_go_nowhere() -> None:
    with stream_and_peer() as (stream, peer):
        await stream.send_all(b"HTTP/1.1 101\r\n\r\n")
        stream.open_link(raw_frame(FIN | TEXT, b"early", masked=True))
        assert stream.link is not None
        await peer.send_all(raw_frame(FIN | TEXT, b"later", masked=True))
        assert [await stream.link.receive(), await stream.link.receive()] == ["early", "later"]
        await stream.send_all(b"\x88\x02\x03\xf3")
        await stream.send_eof()
        assert stream.link.send_now("frame")
        await stream.part()
        assert await read_all(peer) == b"HTTP/1.1 101\r\n\r\n" + raw_frame(FIN | TEXT, b"frame", masked=False)


async def test_its_peer_is_a_stranger_until_it_is_admitted(autojump_clock: MockClock) -> None:
    told: list[str] = []
    with stream_and_peer() as (stream, _peer):
        stream.when_admitted(lambda: told.append("admitted"))
        stream.open_link(raw_frame(FIN | BINARY, masked=True) * 500)
        assert stream.link is not None
        for admitted in (False, True):
            began_s = trio.current_time()
            if admitted:
                stream.admit()
            for _ in range(100):
                await stream.link.receive()
            assert (trio.current_time() - began_s < 0.1) is admitted
    assert told == ["admitted"]


async def test_who_writes_while_the_end_is_said_is_told_of_no_bug() -> None:
    """Two that use one of trio's streams at a time are a bug; the library above does it when a peer leaves."""
    for _ in range(20):  # trio runs the two in any order
        with stream_and_peer() as (stream, _peer):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end, stream)
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(b"late")


async def end(stream: ServerStream) -> None:
    with suppress(trio.BusyResourceError):
        await stream.send_eof()


async def test_who_is_left_gets_what_was_said_last_although_it_sends_on() -> None:
    with stream_and_peer() as (stream, peer):
        await stream.send_all(b"goodbye")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send_all, bytes(100_000))
            nursery.start_soon(stream.part)
            await wait_all_tasks_blocked()
            assert await read_all(peer) == b"goodbye"
            await peer.aclose()


async def test_of_who_sends_on_without_end_only_so_much_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with stream_and_peer() as (stream, peer):
        read = 0
        receive_some = stream._stream.receive_some

        async def counted(max_bytes: int | None = None) -> bytes | bytearray:
            nonlocal read
            data = await receive_some(max_bytes)
            read += len(data)
            return data

        monkeypatch.setattr(stream._stream, "receive_some", counted)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pour, peer)
            await stream.part()
        assert LINGER_BYTES <= read <= LINGER_BYTES + READ_BYTES


async def pour(peer: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        while True:
            await peer.send_all(bytes(100_000))


async def test_who_says_nothing_more_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_stream, "LINGER_S", 0.05)
    with stream_and_peer() as (stream, _peer):
        await stream.part()
        assert stream.socket.fileno() == -1


async def test_the_librarys_close_wakes_its_reader_and_nothing_is_written_any_more() -> None:
    with stream_and_peer() as (stream, _peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_closed, stream)
            await wait_all_tasks_blocked()
            await stream.aclose()
        for use in (stream.send_all(b"late"), stream.receive_some(1)):
            with pytest.raises(trio.ClosedResourceError):
                await use
        await stream.aclose()


async def expect_closed(stream: ServerStream) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some(1)


@pytest.mark.parametrize(
    ("sent", "ends", "readable"),
    [
        (b"", "sending", False),
        (b"", "reset", False),
        (b"GET", "not", True),
        (b"GET", "sending", True),
        (b"GET", "reset", False),
    ],
)
async def test_it_says_whether_there_is_something_to_read_of_a_peer_that_can_be_answered(
    sent: bytes, ends: str, *, readable: bool
) -> None:
    """A peer that only ended its own side still waits for its answer."""
    readiness = Readiness()
    with stream_and_peer(readiness) as (stream, peer):
        await peer.send_all(sent)
        if ends == "sending":
            await peer.send_eof()
        if ends == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.socket.close()
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(readiness.run)
                assert await stream.wait_readable() == readable
                nursery.cancel_scope.cancel()
