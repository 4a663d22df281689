"""SharedReader: sockets read together give what they give by themselves, on a tick, and none of them harms another."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.net.link import shared_reader as module
from relay.net.link.prompt_stream import PromptStream
from relay.net.link.shared_reader import Seat, SharedReader, notify_closing, shared_reader, tick_s
from tests.support.peers import reset
from tests.support.streams import narrow_pair, socket_pair, tcp_pair

TICK_S = 0.005


def at_once(_: int) -> float:
    return 0.0


def on_a_tick(_: int) -> float:
    return TICK_S


def never(_: int) -> None:
    return None


WAYS = {"by itself": never, "at once": at_once, "on a tick": on_a_tick}


@asynccontextmanager
async def running(reader: SharedReader) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        await wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


@pytest.fixture(params=WAYS)
async def read(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    with shared_reader(WAYS[request.param]) as reader:
        async with running(reader):
            yield


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[PromptStream, trio.SocketStream]]:
    async with tcp_pair() as (near, far):
        stream = PromptStream(near)
        with stream.read_together():
            yield stream, far


async def test_bytes_come_in_order_and_then_the_end(read: None) -> None:
    sent = bytes(range(256)) * 4_000
    async with connected() as (stream, far), trio.open_nursery() as nursery:

        async def send() -> None:
            await far.send_all(sent)
            await far.send_eof()

        nursery.start_soon(send)
        with trio.fail_after(5):
            received = b"".join([bytes(part) async for part in stream])
            assert await stream.receive_some() == b"", "the end stays"
    assert received == sent


async def test_no_more_is_taken_than_was_asked_for(read: None) -> None:
    async with connected() as (stream, far):
        await far.send_all(b"123")
        with trio.fail_after(5):
            assert [await stream.receive_some(2), await stream.receive_some()] == [b"12", b"3"]


async def test_the_peer_may_be_sent_to_when_it_has_ended_its_side(read: None) -> None:
    async with connected() as (stream, far):
        await far.send_eof()
        assert await stream.receive_some() == b""
        assert stream.write_now(b"still")
        assert await far.receive_some() == b"still"


async def test_a_cancelled_receive_has_taken_nothing(read: None) -> None:
    async with connected() as (stream, far):
        for cancelled_while in ("waiting", "bytes are there"):
            with trio.CancelScope() as scope:
                if cancelled_while == "waiting":
                    scope.deadline = trio.current_time() + 0.02
                else:
                    await far.send_all(b"kept")
                    scope.cancel()
                await stream.receive_some()
            assert scope.cancelled_caught
        with trio.fail_after(5):
            assert await stream.receive_some() == b"kept"


async def test_a_reset_is_a_broken_connection(read: None) -> None:
    async with connected() as (stream, far), trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        reset(far)
        with trio.fail_after(5):
            await far.aclose()


@pytest.mark.parametrize("way", ["the stream", "notice", "no longer read"])
async def test_who_receives_is_told_that_the_socket_is_closed_here(way: str, read: None) -> None:
    async with tcp_pair() as (near, _far), trio.open_nursery() as nursery:
        stream = PromptStream(near)
        reading = ExitStack()
        reading.enter_context(stream.read_together())

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        if way == "the stream":
            await stream.aclose()
        else:
            if way == "no longer read":
                reading.close()
            notify_closing(near.socket)
        nursery.cancel_scope.deadline = trio.current_time() + 5
    assert not nursery.cancel_scope.cancelled_caught
    reading.close()


async def test_a_closed_socket_gives_nothing(read: None) -> None:
    async with connected() as (stream, _far):
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError), trio.fail_after(5):
            await stream.receive_some()


async def test_two_tasks_do_not_receive_from_one_socket(read: None) -> None:
    async with connected() as (stream, far), trio.open_nursery() as nursery:
        nursery.start_soon(stream.receive_some)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await stream.receive_some()
        await far.send_all(b"on")


async def never_alone(_: int | None) -> bytes:
    raise AssertionError("the socket is read by itself")


def seat_of(stream: trio.SocketStream, reader: SharedReader) -> Seat:
    return reader.seat(stream.socket.fileno(), stream.receive_some)


class Poisoned(SharedReader):
    """Fails to read one socket in a way that nobody foresaw."""

    poisoned = -1

    def read(self, descriptor: int) -> bytes:
        if descriptor == self.poisoned:
            raise MemoryError
        return super().read(descriptor)


async def test_whatever_goes_wrong_with_one_socket_ends_that_one_only() -> None:
    reader = Poisoned(at_once)
    (bad, bad_far), (good, good_far) = socket_pair(), socket_pair()
    heard: list[bytes | bytearray] = []

    async def fail(seat: Seat) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await seat.receive()

    async def hear(seat: Seat) -> None:
        heard.append(await seat.receive())
        heard.append(await seat.receive())

    async with bad, bad_far, good, good_far, running(reader):
        reader.poisoned = bad.socket.fileno()
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail, seat_of(bad, reader))
                nursery.start_soon(hear, seat_of(good, reader))
                await wait_all_tasks_blocked()
                await bad_far.send_all(b"x")
                await good_far.send_all(b"1")
                await wait_all_tasks_blocked()
                await good_far.send_all(b"2")
    assert heard == [b"1", b"2"]


class Delivered:
    """Takes what is delivered, until `wanted` bytes are there or the end. `by` are the tasks that brought it."""

    def __init__(self, wanted: int) -> None:
        self.data = b""
        self.by: set[trio.lowlevel.Task] = set()
        self._wanted = wanted

    def take(self, data: bytes) -> bool:
        self.data += data
        self.by.add(trio.lowlevel.current_task())
        return bool(data) and len(self.data) < self._wanted


async def test_what_is_delivered_comes_in_order_from_the_reader_until_it_is_enough_or_the_end() -> None:
    with shared_reader(at_once) as reader:
        async with running(reader), connected() as (stream, far), trio.open_nursery() as nursery:
            first, second = Delivered(6), Delivered(100)
            for delivered in (first, second):
                nursery.start_soon(stream.deliver, delivered.take)
                await wait_all_tasks_blocked()
                for part in (b"12", b"34", b"56"):
                    await far.send_all(part)
                    await wait_all_tasks_blocked()
                if delivered is first:
                    assert not nursery.child_tasks, "that was enough"
            await far.send_eof()
            await wait_all_tasks_blocked()
            assert not nursery.child_tasks
    assert first.data == second.data == b"123456"
    (reading,) = first.by | second.by
    assert SharedReader.run.__qualname__ in reading.name


async def test_an_error_in_what_takes_is_raised_where_it_is_waited_for_and_harms_no_other() -> None:
    with shared_reader(at_once) as reader:
        async with running(reader), connected() as (bad, bad_far), connected() as (good, good_far):
            heard = Delivered(2)

            def refuse(_: bytes) -> bool:
                raise KeyError

            async def fail() -> None:
                with pytest.raises(KeyError):
                    await bad.deliver(refuse)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                nursery.start_soon(good.deliver, heard.take)
                await wait_all_tasks_blocked()
                await bad_far.send_all(b"x")
                await good_far.send_all(b"1")
                await wait_all_tasks_blocked()
                await good_far.send_all(b"2")
                nursery.cancel_scope.deadline = trio.current_time() + 5
            await bad_far.send_all(b"y")
            assert await bad.receive_some() == b"y"
    assert heard.data == b"12"


@pytest.mark.parametrize("ends", ["cancelled", "the reader has ended", "closed here"])
async def test_what_comes_after_a_delivery_has_ended_is_there_for_the_next(ends: str) -> None:
    delivered, closed = Delivered(100), False
    with shared_reader(at_once) as reader:
        async with connected() as (stream, far):
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    nonlocal closed
                    try:
                        await stream.deliver(delivered.take)
                    except trio.ClosedResourceError:
                        closed = True

                async with running(reader):
                    nursery.start_soon(receive)
                    await wait_all_tasks_blocked()
                    await far.send_all(b"1")
                    await wait_all_tasks_blocked()
                    if ends == "cancelled":
                        nursery.cancel_scope.cancel()
                    elif ends == "closed here":
                        await stream.aclose()
            if ends != "closed here":
                await far.send_all(b"2")
                with trio.fail_after(5):
                    assert await stream.receive_some() == b"2"
    assert delivered.data == b"1"
    assert closed == (ends == "closed here")


async def test_a_descriptor_that_is_used_again_is_read_for_its_new_owner() -> None:
    """Also when the old one was closed without notice, and is given up only then."""
    reader = SharedReader(at_once)
    old, old_far = socket_pair()
    async with old_far, running(reader):
        number = old.socket.fileno()
        left_behind = seat_of(old, reader)
        with trio.move_on_after(0):
            await left_behind.receive()  # so it is in the epoll
        old.socket.close()
        here, there = socket.socketpair()
        with here, there:
            near = here if here.fileno() == number else there
            far = there if near is here else here
            assert near.fileno() == number
            near.setblocking(False)
            seat = reader.seat(number, never_alone)
            left_behind.leave()
            far.send(b"mine")
            with trio.fail_after(5):
                assert await seat.receive() == b"mine"
            with pytest.raises(trio.ClosedResourceError):
                await left_behind.receive()


async def test_while_nobody_receives_the_peer_is_held_up_and_the_reader_rests() -> None:
    with shared_reader(at_once) as reader, narrow_pair() as (near, far):
        stream = PromptStream(near)
        async with running(reader):
            with stream.read_together():
                with trio.move_on_after(0.05) as held_up:
                    await far.send_all(b"first")
                    assert await stream.receive_some() == b"first"
                    await far.send_all(bytes(4_000_000))
                assert held_up.cancelled_caught
                with trio.fail_after(2):
                    await wait_all_tasks_blocked()


async def test_on_a_tick_all_are_read_in_one_step_and_no_sooner(mock_clock: MockClock) -> None:
    count = 30
    reader = SharedReader(on_a_tick)
    pairs = [socket_pair() for _ in range(count)]
    received = 0

    async def receive(seat: Seat) -> None:
        nonlocal received
        while True:
            await seat.receive()
            received += 1

    async with running(reader), trio.open_nursery() as nursery:
        for near, _ in pairs:
            nursery.start_soon(receive, seat_of(near, reader))
        await wait_all_tasks_blocked()
        await pairs[0][1].send_all(b"x")
        await wait_all_tasks_blocked()
        assert received == 1, "after a rest there is nothing to wait for"
        for _, far in pairs:
            await far.send_all(b"x")
        await wait_all_tasks_blocked()
        assert received == 1
        mock_clock.jump(TICK_S)
        await wait_all_tasks_blocked()
        assert received == 1 + count
        nursery.cancel_scope.cancel()
    for near, far in pairs:
        await near.aclose()
        await far.aclose()


@pytest.mark.parametrize("handed_on", [False, True], ids=["while all wait", "while bytes are handed on"])
async def test_when_the_reader_has_ended_the_sockets_are_read_on_and_nothing_is_missing(*, handed_on: bool) -> None:
    with shared_reader(at_once) as reader:
        async with connected() as (stream, far), trio.open_nursery() as receiving:
            received: list[bytes] = []

            async def receive() -> None:
                while data := await stream.receive_some():
                    received.append(bytes(data))

            async with running(reader):
                await wait_all_tasks_blocked()
                receiving.start_soon(receive)
                await wait_all_tasks_blocked()
                await far.send_all(b"1")
                await wait_all_tasks_blocked()
                if handed_on:
                    os.write(far.socket.fileno(), b"2")
                    reader.read_ready()
            await far.send_all(b"3" if handed_on else b"23")
            await far.send_eof()
            receiving.cancel_scope.deadline = trio.current_time() + 5
    assert b"".join(received) == b"123"


async def test_with_few_sockets_each_is_read_by_itself_and_with_many_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICKS_S", ((2, TICK_S),))
    reader = SharedReader(tick_s)
    (one, one_far), (two, two_far) = socket_pair(), socket_pair()
    async with one, one_far, two, two_far, running(reader):
        await wait_all_tasks_blocked()
        first = seat_of(one, reader)
        shared = [first.is_shared]
        second = seat_of(two, reader)
        shared.append(first.is_shared)
        second.leave()
        shared.append(first.is_shared)
    assert shared == [False, True, False]
    reader.close()


@pytest.mark.parametrize(
    ("sockets", "expected"),
    [(0, None), (19, None), (20, 0.0), (41, 0.0), (42, 0.0025), (79, 0.0025), (80, 0.01), (1000, 0.01)],
)
def test_the_tick_grows_with_the_sockets(sockets: int, expected: float | None) -> None:
    assert tick_s(sockets) == expected
