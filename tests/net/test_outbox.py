"""Outbox: order, bound, flush and the one writer."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.errors import LegLost
from relay.net.outbox import Entry, Outbox
from relay.net.sockets import Found, PromptSocket, WantedAt
from tests.support.sockets import MemoryPeer, MemorySocket, memory_socket_pair

DEADLINE_S = 2.0


@dataclass
class CutThrough:
    """A fence: every turn below `turn` was cut."""

    turn: int = 0

    def is_stale(self, turn: int) -> bool:
        return turn < self.turn


def outbox_on(socket: PromptSocket, *, capacity: int = 4, current_turn: int = 0) -> Outbox:
    return Outbox(socket, capacity=capacity, fence=CutThrough(current_turn))


def media(turn: int, number: int = 0) -> Entry:
    return Entry(f"t{turn}.{number}", turn=turn)


class ShieldedSocket:
    """Sends as slowly as hypercorn does to a peer that stopped reading."""

    async def receive(self) -> str | bytes:
        return await trio.sleep_forever()

    async def receive_each(
        self, take: Callable[[str | bytes], Found | None], wanted_at: WantedAt | None = None
    ) -> Found:
        return await trio.sleep_forever()

    async def send(self, message: str | bytes) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)

    def send_now(self, *messages: str | bytes) -> bool:
        return False

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await trio.lowlevel.checkpoint()


CLEAR = Entry("clear")
MARK = Entry("control")


async def written(outbox: Outbox, peer: MemoryPeer) -> list[str | bytes]:
    outbox.close()
    await outbox.run(DEADLINE_S)
    return peer.seen


async def test_entries_leave_in_the_order_they_came() -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket, capacity=9)
    for number in range(9):
        await outbox.put(media(0, number))
    assert await written(outbox, peer) == [f"t0.{number}" for number in range(9)]


async def test_flush_removes_every_turn_keeps_control_and_puts_its_entries_first() -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket, capacity=5)
    for entry in (media(0, 1), MARK, media(0, 2), Entry("dtmf"), media(1, 1)):
        await outbox.put(entry)
    assert outbox.flush_and_put([CLEAR]) == [media(0, 1), media(0, 2), media(1, 1)]
    assert await written(outbox, peer) == ["clear", "control", "dtmf"]


async def test_flush_reaches_the_wire_right_after_the_entry_in_hand(autojump_clock: MockClock) -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket)
    peer.slow_down(1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run, DEADLINE_S)
        for number in range(4):
            await outbox.put(media(0, number))
        await trio.sleep(0.5)
        assert len(outbox.flush_and_put([CLEAR])) == 3
        outbox.close()
    assert peer.seen == ["t0.0", "clear"]


async def test_an_entry_that_became_stale_in_the_queue_is_dropped() -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket, current_turn=1)
    for entry in (media(0), media(1), MARK, media(0)):
        await outbox.put(entry)
    assert await written(outbox, peer) == ["t1.0", "control"]


async def test_staleness_is_asked_at_the_last_moment(autojump_clock: MockClock) -> None:
    socket, peer = memory_socket_pair()
    fence = CutThrough()
    outbox = Outbox(socket, capacity=4, fence=fence)
    peer.slow_down(1.0)
    await outbox.put(media(0, 1))
    await outbox.put(media(0, 2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run, DEADLINE_S)
        await trio.sleep(0.5)
        fence.turn = 1
        outbox.close()
    assert peer.seen == ["t0.1"]


async def test_put_waits_for_room_and_loses_nothing(autojump_clock: MockClock) -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket, capacity=2)
    peer.slow_down(0.1)

    async def put_all() -> None:
        for number in range(20):
            await outbox.put(media(0, number))
            assert len(outbox) <= 2
        outbox.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run, DEADLINE_S)
        nursery.start_soon(put_all)
    assert peer.seen == [f"t0.{number}" for number in range(20)]


async def test_several_waiting_puts_all_get_through(autojump_clock: MockClock) -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket, capacity=1)
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as putters:
            for number in range(10):
                putters.start_soon(outbox.put, media(0, number))
            await wait_all_tasks_blocked()
            assert len(outbox) == 1
            nursery.start_soon(outbox.run, DEADLINE_S)
        outbox.close()
    assert sorted(map(str, peer.seen)) == [f"t0.{number}" for number in range(10)]


async def test_a_flush_lets_waiting_puts_in() -> None:
    socket, _ = memory_socket_pair()
    outbox = outbox_on(socket, capacity=2)
    await outbox.put(media(0, 1))
    await outbox.put(media(0, 2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.put, media(1))
        await wait_all_tasks_blocked()
        outbox.flush_and_put([CLEAR])
    assert len(outbox) == 2


async def test_a_cancelled_put_queues_nothing() -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket, capacity=1)
    await outbox.put(MARK)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.put, media(0))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await written(outbox, peer) == ["control"]


async def test_a_stuck_send_ends_the_writer_at_the_deadline_and_frees_who_waits(autojump_clock: MockClock) -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket, capacity=1)
    peer.stop_reading()

    async def write() -> None:
        with pytest.raises(LegLost):
            await outbox.run(DEADLINE_S)

    async def put() -> None:
        await outbox.put(media(0))
        await outbox.put(media(0))
        with pytest.raises(LegLost):
            await outbox.put(media(0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        nursery.start_soon(put)
    assert trio.current_time() == pytest.approx(DEADLINE_S)
    with pytest.raises(LegLost):
        await outbox.put(MARK)


async def test_a_send_that_cannot_be_cancelled_counts_as_lost_when_it_returns_late(autojump_clock: MockClock) -> None:
    outbox, sent_at = outbox_on(ShieldedSocket()), list[float]()
    await outbox.put(Entry("control", on_sent=sent_at.append))
    outbox.close()
    with pytest.raises(LegLost):
        await outbox.run(DEADLINE_S)
    assert sent_at == []


async def test_a_lost_socket_ends_the_writer() -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket)
    peer.lose()
    await outbox.put(MARK)
    with pytest.raises(LegLost):
        await outbox.run(DEADLINE_S)


async def test_closing_wakes_an_idle_writer() -> None:
    socket, _ = memory_socket_pair()
    outbox = outbox_on(socket)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run, DEADLINE_S)
        await wait_all_tasks_blocked()
        outbox.close()


async def test_nothing_can_be_put_after_close_and_flush_still_empties() -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket)
    await outbox.put(media(0))
    outbox.close()
    with pytest.raises(LegLost):
        await outbox.put(MARK)
    assert outbox.flush_and_put([CLEAR]) == [media(0)]
    assert await written(outbox, peer) == []


async def test_on_sent_tells_when_the_message_was_written(autojump_clock: MockClock) -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket)
    times: list[float] = []
    peer.slow_down(0.25)
    await outbox.put(MARK)
    await outbox.put(Entry("clear", on_sent=times.append))
    await written(outbox, peer)
    assert times == [pytest.approx(0.5)]


STEPS = st.lists(st.sampled_from(["media", "control", "interrupt", "run"]), max_size=40)


@given(steps=STEPS)
def test_no_entry_of_a_turn_is_written_after_the_clear_that_ended_it(steps: list[str]) -> None:
    async def play() -> list[str | bytes]:
        socket, peer = memory_socket_pair()
        fence = CutThrough()
        outbox = Outbox(socket, capacity=100, fence=fence)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.run, DEADLINE_S)
            for number, step in enumerate(steps):
                if step == "media":
                    await outbox.put(media(fence.turn, number))
                elif step == "control":
                    await outbox.put(Entry(f"control {number}"))
                elif step == "interrupt":
                    fence.turn += 1
                    outbox.flush_and_put([Entry(f"clear {fence.turn - 1}")])
                else:
                    await trio.lowlevel.checkpoint()
            outbox.close()
        return peer.seen

    seen = [str(message) for message in trio.run(play, clock=MockClock(autojump_threshold=0))]
    for turn in range(steps.count("interrupt")):
        after = seen[seen.index(f"clear {turn}") + 1 :]
        assert not [message for message in after if message.startswith(f"t{turn}.")]
    assert [message for message in seen if message.startswith("control")] == [
        f"control {number}" for number, step in enumerate(steps) if step == "control"
    ]


async def test_an_idle_writer_is_not_waited_for() -> None:
    """A `clear` must not wait for a round of the scheduler: with many calls that is milliseconds."""
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket)
    written_at: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run, DEADLINE_S)
        await wait_all_tasks_blocked()
        await outbox.put(media(0))
        outbox.flush_and_put([Entry("clear", on_sent=written_at.append), media(1)])
        assert peer.seen == ["t0.0", "clear", "t1.0"]
        assert len(written_at) == 1
        outbox.close()


async def test_nothing_overtakes_what_the_writer_has_in_hand() -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run, DEADLINE_S)
        await wait_all_tasks_blocked()
        peer.stop_reading()
        await outbox.put(media(0, 1))
        await outbox.put(media(0, 2))
        await wait_all_tasks_blocked()
        outbox.flush_and_put([CLEAR])
        assert peer.seen == []
        peer.read_again()
        await wait_all_tasks_blocked()
        assert peer.seen == ["t0.1", "clear"]
        outbox.close()


async def test_a_stale_entry_is_dropped_also_where_the_writer_is_idle() -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket, current_turn=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run, DEADLINE_S)
        await wait_all_tasks_blocked()
        await outbox.put(media(0))
        await outbox.put(media(1))
        assert peer.seen == ["t1.0"]
        outbox.close()


async def test_nothing_is_written_before_the_writer_runs() -> None:
    """Or it would come before what the socket's owner still has to say."""
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket)
    await outbox.put(media(0))
    assert peer.seen == []
    assert await written(outbox, peer) == ["t0.0"]


async def test_who_will_not_wait_queues_only_what_there_is_room_for() -> None:
    socket, peer = memory_socket_pair()
    outbox = outbox_on(socket, capacity=2)

    assert [outbox.put_now(media(0, number)) for number in range(3)] == [True, True, False]
    assert await written(outbox, peer) == ["t0.0", "t0.1"]
    with pytest.raises(LegLost):
        outbox.put_now(MARK)


class CountingSocket(MemorySocket):
    """Says what it was given in each write."""

    def __init__(self, peer: MemoryPeer) -> None:
        super().__init__(peer, trio.open_memory_channel[str | bytes](0)[1])
        self.writes: list[tuple[str | bytes, ...]] = []

    def send_now(self, *messages: str | bytes) -> bool:
        self.writes.append(messages)
        return super().send_now(*messages)


async def test_what_is_put_together_is_written_together_or_not_queued_at_all() -> None:
    peer = MemoryPeer()
    socket = CountingSocket(peer)
    outbox = outbox_on(socket, capacity=3, current_turn=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run, DEADLINE_S)
        await wait_all_tasks_blocked()
        assert outbox.put_now(media(2), MARK)
        assert outbox.put_now(media(1), media(2, 1)), "what is stale is left out"
        outbox.flush_and_put([CLEAR, MARK])
        assert socket.writes == [("t2.0", "control"), ("t2.1",), ("clear", "control")]
        assert peer.seen == ["t2.0", "control", "t2.1", "clear", "control"]
        peer.stop_reading()
        assert outbox.put_now(media(2, 2))
        await wait_all_tasks_blocked()
        assert outbox.put_now(media(2, 3), MARK)
        assert not outbox.put_now(media(2, 4), MARK)
        peer.read_again()
        outbox.close()
    assert peer.seen[5:] == ["t2.2", "t2.3", "control"]
