"""Readiness: of a crowd that can be read together a few are told in a step, and nobody is forgotten."""

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from relay.net.readiness import TOLD_PER_STEP, Readiness
from tests.support.streams import tcp_pair


@asynccontextmanager
async def readiness() -> AsyncIterator[Readiness]:
    with closing(Readiness()) as found:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found.run)
            yield found
            nursery.cancel_scope.cancel()


async def speak(peer: trio.SocketStream) -> None:
    await peer.send_all(b"GET")


async def close(peer: trio.SocketStream) -> None:
    peer.socket.close()


async def reset(peer: trio.SocketStream) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.socket.close()


Act = Callable[[trio.SocketStream], Awaitable[None]]


@pytest.mark.parametrize("act", [speak, close, reset])
@pytest.mark.parametrize("before", [True, False], ids=["before", "later"])
async def test_who_waits_is_told_when_the_peer_speaks_or_leaves_and_not_before(act: Act, *, before: bool) -> None:
    told = trio.Event()

    async def wait(ours: trio.SocketStream) -> None:
        await all_.wait(ours.socket)
        told.set()

    async with readiness() as all_, tcp_pair() as (ours, peer), trio.open_nursery() as nursery:
        if before:
            await act(peer)
        nursery.start_soon(wait, ours)
        if not before:
            await wait_all_tasks_blocked()
            assert not told.is_set()
            await act(peer)
        with trio.fail_after(5):
            await told.wait()


async def test_of_a_crowd_that_leaves_together_a_few_are_told_in_a_step() -> None:
    told, most = 0, 0

    async def wait(ours: trio.SocketStream) -> None:
        nonlocal told
        await all_.wait(ours.socket)
        told += 1

    async def step() -> None:
        nonlocal told, most
        while True:
            await trio.lowlevel.checkpoint()
            most, told = max(most, told), 0

    async with readiness() as all_, AsyncExitStack() as stack, trio.open_nursery() as nursery:
        pairs = [await stack.enter_async_context(tcp_pair()) for _ in range(10 * TOLD_PER_STEP)]
        with trio.fail_after(5):
            async with trio.open_nursery() as waiting:
                for ours, _ in pairs:
                    waiting.start_soon(wait, ours)
                await wait_all_tasks_blocked()
                for _, peer in pairs:
                    peer.socket.close()
                nursery.start_soon(step)
        nursery.cancel_scope.cancel()

    assert 1 <= most <= 2 * TOLD_PER_STEP  # trio runs the tasks of a step in any order


async def _close_when_all_wait(peer: socket.socket) -> None:
    await wait_all_tasks_blocked()
    peer.close()


async def test_who_was_cancelled_can_wait_again() -> None:
    async with readiness() as all_, tcp_pair() as (ours, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await all_.wait(ours.socket)
        assert scope.cancelled_caught
        await peer.send_all(b"more")
        for _ in range(2):
            with trio.fail_after(5):
                await all_.wait(ours.socket)


async def test_who_is_cancelled_and_told_in_one_step_is_woken_once() -> None:
    async def wait() -> None:
        with scope:
            await all_.wait(ours.socket)

    scope = trio.CancelScope()
    async with readiness() as all_, tcp_pair() as (ours, _), trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        scope.cancel()
        all_.forget(ours.socket)
    assert scope.cancelled_caught


async def test_who_waits_for_a_socket_that_is_to_be_closed_is_woken() -> None:
    async with readiness() as all_, tcp_pair() as (ours, _):
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(all_.wait, ours.socket)
                await wait_all_tasks_blocked()
                for _ in range(2):
                    all_.forget(ours.socket)


async def test_nobody_can_wait_for_a_socket_that_was_closed() -> None:
    async with readiness() as all_, tcp_pair() as (ours, _):
        ours.socket.close()
        with pytest.raises(trio.ClosedResourceError):
            await all_.wait(ours.socket)


async def test_a_later_connection_of_the_same_number_is_not_forgotten_with_the_one_before() -> None:
    async with readiness() as all_, tcp_pair() as (first, _):
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(all_.wait, first.socket)
                await wait_all_tasks_blocked()
                number = first.socket.fileno()
                all_.forget(first.socket)
                first.socket.close()
                here, there = socket.socketpair()
                with trio.socket.from_stdlib_socket(here) as later, there:
                    assert later.fileno() == number
                    nursery.start_soon(_close_when_all_wait, there)
                    await all_.wait(later)
