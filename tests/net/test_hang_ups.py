"""HangUps: who waits learns that its peer has left, whatever it has not read."""

import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from relay.net.hang_ups import TOLD_PER_STEP, HangUps
from tests.support.streams import tcp_pair

RESET_AT_CLOSE = struct.pack("ii", 1, 0)


@asynccontextmanager
async def watching() -> AsyncIterator[HangUps]:
    """Hang-ups that are looked for."""
    with closing(HangUps()) as hang_ups:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang_ups.run)
            yield hang_ups
            nursery.cancel_scope.cancel()


def close(peer: trio.SocketStream) -> None:
    peer.socket.close()


def reset(peer: trio.SocketStream) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    peer.socket.close()


def end_its_side(peer: trio.SocketStream) -> None:
    peer.socket.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("leave", [close, reset, end_its_side])
@pytest.mark.parametrize("unread", [b"", b"GET / HTTP/1.1"])
@pytest.mark.parametrize("before", [True, False], ids=["left before", "leaves later"])
async def test_a_peer_that_leaves_is_noticed_at_once_whatever_is_unread(
    leave: Callable[[trio.SocketStream], None], unread: bytes, *, before: bool
) -> None:
    async with watching() as hang_ups, tcp_pair() as (ours, peer), trio.open_nursery() as nursery:
        if unread:
            await peer.send_all(unread)
        if before:
            leave(peer)
        with trio.fail_after(5), hang_ups.watch(ours.socket) as scope:
            if not before:
                nursery.start_soon(_leave_when_all_wait, leave, peer)
            await trio.Event().wait()
        assert scope.cancelled_caught


async def _leave_when_all_wait(leave: Callable[[trio.SocketStream], None], peer: trio.SocketStream) -> None:
    await wait_all_tasks_blocked()
    leave(peer)


async def test_a_peer_that_stays_is_left_alone_and_a_connection_can_be_watched_again() -> None:
    async with watching() as hang_ups, tcp_pair() as (ours, peer):
        for _ in range(2):
            with hang_ups.watch(ours.socket) as scope:
                await peer.send_all(b"more")
                await wait_all_tasks_blocked()
            assert not scope.cancel_called
        peer.socket.close()
        with trio.fail_after(5), hang_ups.watch(ours.socket):
            await trio.Event().wait()


async def test_only_who_left_is_told() -> None:
    async with watching() as hang_ups, tcp_pair() as (ours, peer), tcp_pair() as (others, _other):
        with hang_ups.watch(others.socket) as stays, trio.fail_after(5), hang_ups.watch(ours.socket) as leaves:
            peer.socket.close()
            await trio.Event().wait()
        assert (leaves.cancelled_caught, stays.cancel_called) == (True, False)


async def test_of_a_crowd_that_leaves_together_a_few_are_told_in_a_step() -> None:
    told, most = 0, 0

    async def watch(ours: trio.SocketStream) -> None:
        nonlocal told
        with hang_ups.watch(ours.socket):
            await trio.Event().wait()
        told += 1

    async def step() -> None:
        nonlocal told, most
        while True:
            await trio.lowlevel.checkpoint()
            most, told = max(most, told), 0

    async with watching() as hang_ups, AsyncExitStack() as stack, trio.open_nursery() as nursery:
        pairs = [await stack.enter_async_context(tcp_pair()) for _ in range(10 * TOLD_PER_STEP)]
        with trio.fail_after(5):
            async with trio.open_nursery() as watchers:
                for ours, _ in pairs:
                    watchers.start_soon(watch, ours)
                await wait_all_tasks_blocked()
                for _, peer in pairs:
                    peer.socket.close()
                nursery.start_soon(step)
        nursery.cancel_scope.cancel()

    assert 1 <= most <= 2 * TOLD_PER_STEP  # trio runs the tasks of a step in any order


async def test_a_connection_that_is_closed_here_is_not_waited_for() -> None:
    async with watching() as hang_ups, tcp_pair() as (ours, _peer):
        ours.socket.close()
        with trio.fail_after(5), hang_ups.watch(ours.socket):
            await trio.Event().wait()


async def test_a_later_connection_of_the_same_number_is_not_forgotten_with_the_one_before() -> None:
    over = trio.Event()

    async def watch(first: trio.SocketStream) -> None:
        with hang_ups.watch(first.socket):
            await over.wait()

    async with watching() as hang_ups, tcp_pair() as (first, _), trio.open_nursery() as nursery:
        nursery.start_soon(watch, first)
        await wait_all_tasks_blocked()
        number = first.socket.fileno()
        first.socket.close()
        here, there = socket.socketpair()
        with trio.socket.from_stdlib_socket(here) as later, there:
            assert later.fileno() == number
            with trio.fail_after(5), hang_ups.watch(later):
                over.set()
                await wait_all_tasks_blocked()
                there.close()
                await trio.Event().wait()
