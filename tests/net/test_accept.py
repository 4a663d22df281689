"""What happens to new connections, and to the log, when descriptors run out."""

import errno
import gc
import logging
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.net.accept import LOOK_AGAIN_S, SAY_AGAIN_S, accept_connections

LIMIT = 200
RESERVE = 50


@asynccontextmanager
async def accepting() -> AsyncIterator[int]:
    """The port of a server that answers each connection with a byte, and holds it until the peer closes it."""

    async def answer(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):  # the peer has had enough of waiting
            await stream.send_all(b"!")
            await stream.receive_some()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(accept_connections, listener, answer, nursery)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def is_served(stream: trio.SocketStream, within_s: float) -> bool:
    with trio.move_on_after(within_s):
        return await stream.receive_some() == b"!"
    return False


@contextmanager
def limited(descriptors: int = LIMIT) -> Iterator[None]:
    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, former)


@contextmanager
def left_free(number: int) -> Iterator[ExitStack]:
    """So many descriptors under the limit are free. What earlier tests left behind is closed now, and not meanwhile."""
    gc.collect()
    with ExitStack() as stack:
        held = []
        while True:
            try:
                held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        kept, given_back = held[: len(held) - number], held[len(held) - number :]
        for descriptor in given_back:
            os.close(descriptor)
        for descriptor in kept:
            stack.callback(os.close, descriptor)
        yield stack


async def test_connections_wait_while_only_the_reserve_is_left_and_are_served_when_there_is_room() -> None:
    async with accepting() as port:
        with limited():
            with left_free(RESERVE):
                async with await trio.open_tcp_stream("127.0.0.1", port) as early:
                    assert not await is_served(early, 0.5)
                    with open(os.devnull, "rb"):  # noqa: ASYNC230, PTH123 - a running call has room
                        pass
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                assert await is_served(stream, 20)


async def test_no_more_connections_are_taken_than_leave_the_reserve_free() -> None:
    async with accepting() as port:
        with limited(), left_free(RESERVE + 10):
            streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(20)]
            served = [await is_served(stream, 0.3) for stream in streams]
            for stream in streams:
                await stream.aclose()

    assert 0 < sum(served) < 20
    assert served == sorted(served, reverse=True)


class FailingListener:
    """Its `accept` fails with this error number; then it waits."""

    def __init__(self, number: int, times: int) -> None:
        self.socket = trio.socket.socket()
        self.number = number
        self.times = times

    async def accept(self) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        if self.times == 0:
            await trio.sleep_forever()
        self.times -= 1
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_a_kernel_without_room_is_said_once_a_minute_and_asked_on(
    number: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    listener: Any = FailingListener(number, times=round(2.5 * SAY_AGAIN_S / LOOK_AGAIN_S))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept_connections, listener, trio.aclose_forcefully, nursery)
        await trio.sleep(3 * SAY_AGAIN_S)
        nursery.cancel_scope.cancel()
    listener.socket.close()

    assert listener.times == 0
    assert [(record.levelno, record.msg) for record in caplog.records] == [(logging.WARNING, "accept.paused")] * 3
    assert [record.exc_info for record in caplog.records] == [None] * 3


async def test_a_listener_that_cannot_be_used_is_an_error() -> None:
    listener: Any = FailingListener(errno.EINVAL, times=1)
    with pytest.raises(ExceptionGroup) as raised:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_connections, listener, trio.aclose_forcefully, nursery)
    listener.socket.close()

    assert [type(error) for error in raised.value.exceptions] == [OSError]


async def test_a_process_without_any_descriptor_left_does_not_end() -> None:
    async with accepting() as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        assert await is_served(stream, 20)
        await stream.aclose()
        with limited(), left_free(0):
            await trio.sleep(3 * LOOK_AGAIN_S)
        async with await trio.open_tcp_stream("127.0.0.1", port) as later:
            assert await is_served(later, 20)
