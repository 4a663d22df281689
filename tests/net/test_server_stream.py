"""ServerStream: what is written from a plain function and by a task lies one behind the other, whole."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from relay.net import server_stream
from relay.net.frame_bounds import FrameBounds
from relay.net.link.pace import OF_A_CALL
from relay.net.server_stream import LINGER_BYTES, READ_BYTES, ServerStream
from tests.support.streams import narrow_pair, read_all

BLOCK = 3_000


@contextmanager
def stream_and_peer() -> Iterator[tuple[ServerStream, trio.SocketStream]]:
    """Over TCP, with buffers of the kernel as small as it allows."""
    with narrow_pair() as (ours, theirs):
        yield ServerStream(ours, FrameBounds(1000, OF_A_CALL)), theirs


async def read_exactly(peer: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        got = await peer.receive_some(count - len(data))
        assert got, "ended early"
        data += got
    return data


async def test_it_is_on_the_wire_when_the_call_returns() -> None:
    with stream_and_peer() as (stream, peer):
        assert stream.write_now(b"clear")
        assert await peer.receive_some(100) == b"clear"


async def test_writes_from_both_sides_arrive_whole_and_in_the_order_they_were_taken() -> None:
    """The peer reads slowly, so that the kernel takes some writes in part, refuses others, and tasks wait."""
    taken: list[bytes] = []
    with stream_and_peer() as (stream, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write_rest)
            refused = 0
            for number in range(60):
                block = bytes([number]) * BLOCK
                if stream.write_now(block):
                    taken.append(block)
                else:
                    refused += 1
                    nursery.start_soon(stream.send_all, block)
                    taken.append(block)
                    await wait_all_tasks_blocked()
                    assert not stream.write_now(b"too early"), "a task is waiting to write"
                    got = await read_exactly(peer, sum(map(len, taken)))
                    assert got == b"".join(taken)
                    taken.clear()
                    await wait_all_tasks_blocked()
            assert refused > 0
            nursery.cancel_scope.cancel()


async def test_what_the_kernel_left_over_is_written_without_another_write() -> None:
    with stream_and_peer() as (stream, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write_rest)
            block = b"x" * 4_000_000
            assert stream.write_now(block)
            assert not stream.write_now(b"between"), "the rest of the block comes first"
            assert await read_exactly(peer, len(block)) == block
            await wait_all_tasks_blocked()
            assert stream.write_now(b"after")
            assert await read_exactly(peer, 5) == b"after"
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("gone", ["closed here", "reset by the peer"])
async def test_a_connection_that_is_gone_takes_nothing_and_raises_nothing(gone: str) -> None:
    with stream_and_peer() as (stream, peer):
        if gone == "closed here":
            stream.abort()
        else:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.socket.close()
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some(1)
        assert not stream.write_now(b"late")


async def test_losing_the_connection_ends_the_wait_for_the_rest() -> None:
    with stream_and_peer() as (stream, _peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write_rest)
            assert stream.write_now(b"x" * 4_000_000)
            await wait_all_tasks_blocked()
            stream.abort()


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
        assert not stream.write_now(b"late")
        for use in (stream.send_all(b"late"), stream.receive_some(1)):
            with pytest.raises(trio.ClosedResourceError):
                await use
        await stream.aclose()


async def expect_closed(stream: ServerStream) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some(1)
