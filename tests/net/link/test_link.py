"""Link: one task reads at a time and one writes, frames lie behind each other whole, and every wait has its end."""

import math
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.errors import LegClosed, LegLost
from relay.net.link.fragments import MessageBounds
from relay.net.link.link import CLOSE_LIMIT_S, JOINED_MAX, MESSAGES_AT_ONCE, SILENT_LIMIT_S, STAND_BY_S, Link
from relay.net.link.pace import OF_A_CALL, OF_A_STRANGER, OF_AN_ASSISTANT, SURPLUS_OF_CALLS, FramePace, FrameRates
from relay.net.link.protocol import Goodbye, Pong, Side, WebSocketProtocol
from relay.net.link.shared_reader import SharedReader
from tests.support.certificates import make_certificate
from tests.support.raw_frames import BINARY, FIN, PING, PONG, TEXT, close_frame, raw_frame
from tests.support.streams import narrow_pair, secured_pair

BOUNDS = MessageBounds(text_max_bytes=2**23, binary_max_bytes=2**23)
UNREAD_MAX = 16
T, B = FIN | TEXT, FIN | BINARY


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def client_frame(first: int, payload: bytes = b"") -> bytes:
    return raw_frame(first, payload, masked=True)


@asynccontextmanager
async def linked(
    rates: FrameRates = OF_AN_ASSISTANT, *, prompt: bool = True
) -> AsyncIterator[tuple[Link, trio.SocketStream]]:
    """The server's side of a WebSocket over TCP with small buffers, and the stream at its other end."""
    with narrow_pair() as (near, far):
        protocol = WebSocketProtocol(Side.SERVER, BOUNDS, rates)
        stream = near if prompt else trio.StapledStream(near, near)
        link = Link(stream, protocol, "peer", unread_max=UNREAD_MAX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            yield link, far
            nursery.cancel_scope.cancel()


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks but one, and the reader that serves all links."""

    def __init__(self, mine: trio.lowlevel.Task) -> None:
        self.mine = mine
        self.others = 0

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        self.others += task is not self.mine and SharedReader.run.__qualname__ not in task.name


class Ear:
    """Reads the frames at the other end with the protocol of a client."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._protocol = WebSocketProtocol(Side.CLIENT, BOUNDS, OF_AN_ASSISTANT)

    async def next(self) -> Any:
        while True:
            event = self._protocol.next_event(trio.current_time())
            if event is not None:
                return event
            if self._protocol.is_hungry:
                data = await self._stream.receive_some()
                if not data:
                    return None
                self._protocol.feed(data)


async def test_a_message_wakes_the_task_that_receives_it_and_no_other(read_either_way: str) -> None:
    async with linked() as (link, far):
        await far.send_all(client_frame(T, b"first"))
        assert await link.receive() == "first"
        steps = Steps(trio.lowlevel.current_task())
        trio.lowlevel.add_instrument(steps)
        for _ in range(20):
            await far.send_all(client_frame(B, bytes(160)))
            assert await link.receive() == bytes(160)
            assert link.send_now(b"answer")
        trio.lowlevel.remove_instrument(steps)
    assert steps.others <= 2, "what stands by may have looked once"


class Messages:
    """Keeps messages until `last` comes, and says what task each was given by, and in which context."""

    def __init__(self, last: str | bytes) -> None:
        self.all: list[str | bytes] = []
        self.tasks: list[trio.lowlevel.Task] = []
        self.whose: set[str] = set()
        self._last = last

    def take(self, message: str | bytes) -> str | None:
        self.all.append(message)
        self.tasks.append(trio.lowlevel.current_task())
        self.whose.add(WHOSE.get())
        return "found" if message == self._last else None


WHOSE = ContextVar("whose", default="")


async def test_each_message_is_taken_in_order_and_in_the_context_of_who_waits_until_something_is_found(
    read_either_way: str,
) -> None:
    said: list[str | bytes] = [*map(str, range(20)), bytes(300), "last"]
    taken = Messages("last")
    async with linked() as (link, far), trio.open_nursery() as nursery:

        async def receive() -> None:
            WHOSE.set("mine")
            assert await link.receive_each(taken.take) == "found"

        nursery.start_soon(receive)
        for message in said:
            payload = message.encode() if isinstance(message, str) else message
            await far.send_all(client_frame(T if isinstance(message, str) else B, payload))
            await wait_all_tasks_blocked()
        assert not nursery.child_tasks
        await far.send_all(client_frame(T, b"behind"))
        assert await link.receive() == "behind"
    assert taken.all == said
    assert taken.whose == {"mine"}


async def test_a_message_that_is_taken_wakes_no_task_while_sockets_are_read_together(
    read_either_way: str,
) -> None:
    taken = Messages("last")
    async with linked() as (link, far), trio.open_nursery() as nursery:
        nursery.start_soon(link.receive_each, taken.take)
        await far.send_all(client_frame(T, b"first"))
        await wait_all_tasks_blocked()
        steps = Steps(trio.lowlevel.current_task())
        trio.lowlevel.add_instrument(steps)
        for _ in range(20):
            await far.send_all(client_frame(B, bytes(160)))
            await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
        nursery.cancel_scope.cancel()
    assert len(taken.all) == 21
    assert (steps.others <= 2) == (read_either_way == "together")


async def test_a_backlog_leaves_others_their_turn_and_is_taken_faster_than_one_message_a_turn(
    read_either_way: str,
) -> None:
    taken, turns = Messages("last"), 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with linked() as (link, far), trio.open_nursery() as nursery:
        await far.send_all(client_frame(T, b"first"))
        async with trio.open_nursery() as receiving:
            receiving.start_soon(link.receive_each, taken.take)
            await wait_all_tasks_blocked()
            nursery.start_soon(others)
            count = 10 * MESSAGES_AT_ONCE
            await far.send_all(client_frame(T, b"on") * count + client_frame(T, b"last"))
            turns_before = turns
        assert count // MESSAGES_AT_ONCE <= turns - turns_before <= count // 2
        nursery.cancel_scope.cancel()
    assert taken.all == ["first", *["on"] * count, "last"]


async def test_while_messages_are_taken_pings_are_answered_pongs_noticed_and_the_goodbye_told(
    read_either_way: str,
) -> None:
    taken = Messages("last")
    async with linked() as (link, far), trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(LegClosed):
                await link.receive_each(taken.take)

        nursery.start_soon(receive)
        await far.send_all(client_frame(T, b"first"))
        await wait_all_tasks_blocked()
        ear = Ear(far)
        with trio.fail_after(5):
            await far.send_all(client_frame(FIN | PING, b"?") + client_frame(T, b"second"))
            assert await ear.next() == Pong(b"?")
            async with trio.open_nursery() as pinging:
                pinging.start_soon(link.ping, 5)
                await wait_all_tasks_blocked()
                await far.send_all(client_frame(FIN | PONG, (1).to_bytes(8, "big")))
            await far.send_all(client_frame(T, b"third") + close_frame(1001, masked=True))
        nursery.cancel_scope.deadline = trio.current_time() + 5
    assert taken.all == ["first", "second", "third"]


async def test_behind_a_delivery_nobody_else_reads_for_as_long_as_behind_a_receive(
    mock_clock: MockClock, read_either_way: str
) -> None:
    taken = Messages("enough")
    async with linked() as (link, far), trio.open_nursery() as nursery:
        nursery.start_soon(link.receive_each, taken.take)
        for said in (b"first", b"second"):
            await far.send_all(client_frame(T, said))
            await wait_all_tasks_blocked()
            mock_clock.jump(2 * STAND_BY_S)
            await wait_all_tasks_blocked()
        await far.send_all(client_frame(T, b"enough"))
        await wait_all_tasks_blocked()
        assert taken.all == ["first", "second", "enough"]
        await far.send_all(client_frame(T, b"unread"))
        await wait_all_tasks_blocked()
        assert not link._unread
        mock_clock.jump(2 * STAND_BY_S)
        await wait_all_tasks_blocked()
        assert list(link._unread) == ["unread"]


@pytest.mark.parametrize("is_stream", [True, False], ids=["parts of a stream", "messages"])
async def test_parts_of_a_stream_that_came_together_are_given_as_one(read_either_way: str, *, is_stream: bool) -> None:
    taken = Messages("last")
    async with linked() as (link, far), trio.open_nursery() as nursery:
        nursery.start_soon(link.receive_each, taken.take, (lambda: -math.inf) if is_stream else None)
        await far.send_all(client_frame(T, b"first"))
        await wait_all_tasks_blocked()
        parts = [bytes([n]) * 3 for n in range(JOINED_MAX + 2)]
        whole = b"".join(client_frame(B, part) for part in parts)
        half = client_frame(B, b"half")
        await far.send_all(whole + client_frame(T, b"text") + client_frame(B, b"ab") + half[:7])
        await wait_all_tasks_blocked()
        await far.send_all(half[7:] + client_frame(T, b"last"))
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks
    assert b"".join(message for message in taken.all if isinstance(message, bytes)) == b"".join(parts) + b"abhalf"
    sizes = [len(message) for message in taken.all]
    assert sizes == [5, *([3] * len(parts)), 4, 2, 4, 4] or is_stream
    assert max(sizes) == (3 * JOINED_MAX if is_stream else 5)


@pytest.mark.parametrize("way", ["part", "close", "lost", "error", "cancelled"])
async def test_taking_messages_ends_as_receiving_does(way: str, read_either_way: str) -> None:
    taken = Messages("last")

    def take(message: str | bytes) -> str | None:
        if message == "fail":
            raise KeyError
        return taken.take(message)

    async with linked() as (link, far), trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises({"error": KeyError, "cancelled": trio.Cancelled}.get(way, LegLost)) as ended:
                await link.receive_each(take)
            if way == "cancelled":
                raise ended.value

        nursery.start_soon(receive)
        for message in (b"first", b"second"):
            await far.send_all(client_frame(T, message))
            await wait_all_tasks_blocked()
        with trio.fail_after(5):
            match way:
                case "part" | "close":
                    nursery.start_soon(link.part if way == "part" else link.close)
                    await wait_all_tasks_blocked()
                    await far.send_all(client_frame(T, b"too late") + close_frame(1000, masked=True))
                case "lost":
                    await far.aclose()
                case "error":
                    await far.send_all(client_frame(T, b"fail") + client_frame(T, b"kept"))
                case _:
                    nursery.cancel_scope.cancel()
                    await far.send_all(client_frame(T, b"kept"))
        nursery.cancel_scope.deadline = trio.current_time() + 5
        if way == "error":
            await wait_all_tasks_blocked()
            assert await link.receive() == "kept"
    assert taken.all == ["first", "second"]


async def test_who_is_cancelled_by_a_message_takes_no_other(read_either_way: str) -> None:
    taken: list[str | bytes] = []
    async with linked() as (link, far), trio.open_nursery() as nursery:

        def take(message: str | bytes) -> None:
            taken.append(message)
            if message == "cancel":
                nursery.cancel_scope.cancel()

        nursery.start_soon(link.receive_each, take)
        await far.send_all(client_frame(T, b"first"))
        await wait_all_tasks_blocked()
        await far.send_all(client_frame(T, b"cancel") + client_frame(T, b"kept"))
        await trio.sleep(5)
    assert taken == ["first", "cancel"]


async def test_while_messages_are_taken_a_stranger_that_floods_is_read_slowly_all_the_same(
    autojump_clock: MockClock, read_either_way: str
) -> None:
    taken = Messages("last")
    async with linked(OF_A_STRANGER) as (link, far), trio.open_nursery() as nursery:
        nursery.start_soon(link.receive_each, taken.take)
        await far.send_all(client_frame(T, b"first"))
        await wait_all_tasks_blocked()
        await far.send_all(client_frame(T, b"on") * 300)
        await trio.sleep(1)
        rate = OF_A_STRANGER.frames_per_s
        assert rate <= len(taken.all) <= rate * (1 + OF_A_STRANGER.burst_s) + 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("cancelled", ["the one that reads", "the one that waits for it"])
async def test_of_two_that_wait_one_reads_and_the_other_goes_on_when_it_is_cancelled(
    cancelled: str, read_either_way: str
) -> None:
    received: list[str | bytes] = []

    async def receive(link: Link) -> None:
        received.append(await link.receive())

    async with linked() as (link, far), trio.open_nursery() as nursery:
        first, second = trio.CancelScope(), trio.CancelScope()

        async def ping() -> None:
            with second:
                await link.ping(5)

        async def first_receive() -> None:
            with first:
                await receive(link)

        nursery.start_soon(first_receive)
        await wait_all_tasks_blocked()
        nursery.start_soon(ping)
        await wait_all_tasks_blocked()
        (first if cancelled == "the one that reads" else second).cancel()
        await wait_all_tasks_blocked()
        await far.send_all(client_frame(T, b"heard") + client_frame(FIN | PONG, (1).to_bytes(8, "big")))
        with trio.fail_after(5):
            if cancelled == "the one that reads":
                await receive(link)
    assert received == ["heard"]


async def test_what_comes_while_a_pong_is_waited_for_is_kept_and_only_so_much_of_it(read_either_way: str) -> None:
    async with linked() as (link, far), trio.open_nursery() as nursery:
        for number in range(2 * UNREAD_MAX):
            await far.send_all(client_frame(T, b"%d" % number))
        await far.send_all(client_frame(FIN | PONG, (1).to_bytes(8, "big")))
        nursery.start_soon(link.ping, 5)
        await wait_all_tasks_blocked()
        assert len(link._unread) == UNREAD_MAX
        with trio.fail_after(5):
            assert [await link.receive() for _ in range(2 * UNREAD_MAX)] == [str(n) for n in range(2 * UNREAD_MAX)]


async def test_nobody_that_receives_is_needed_for_pings_to_be_answered_and_endings_to_be_seen(
    read_either_way: str,
) -> None:
    async with linked() as (link, far):
        ear = Ear(far)
        await far.send_all(client_frame(T, b"unread") + client_frame(FIN | PING, b"?"))
        with trio.fail_after(5 * STAND_BY_S):
            assert await ear.next() == Pong(b"?")
        await far.send_all(close_frame(1001, masked=True))
        with trio.fail_after(5 * STAND_BY_S):
            assert await ear.next() == Goodbye(1001)
        assert await link.receive() == "unread"
        with pytest.raises(LegClosed):
            await link.receive()
        assert link.closed
        assert not link.send_now("late")


@pytest.mark.parametrize("prompt", [True, False], ids=["prompt", "by a task"])
async def test_a_peer_that_pings_and_reads_nothing_is_heard_on_and_the_latest_ping_answered(
    read_either_way: str, *, prompt: bool
) -> None:
    """Who receives waits for no write. The answer follows what was begun before."""
    async with linked(prompt=prompt) as (link, far), trio.open_nursery() as nursery:
        nursery.start_soon(link.send, bytes(4_000_000))
        await wait_all_tasks_blocked()
        for number in range(10):
            await far.send_all(client_frame(FIN | PING, b"%d" % number) + client_frame(T, b"on"))
            with trio.fail_after(5):
                assert await link.receive() == "on"
        ear = Ear(far)
        with trio.fail_after(20):
            assert await ear.next() == bytes(4_000_000)
            assert await ear.next() == Pong(b"9")


async def test_messages_sent_in_every_way_lie_behind_each_other_whole_at_a_peer_that_reads_slowly(
    read_either_way: str,
) -> None:
    """Some leave at once, some in part, and others wait."""
    texts = [f"{number} " + "x" * 30_000 for number in range(100)]
    ways = {True: 0, False: 0}

    async def talk(link: Link) -> None:
        for number, text in enumerate(texts):
            at_once = number % 3 != 0 and link.send_now(text)
            ways[at_once] += 1
            if not at_once:
                await link.send(text)

    async with linked() as (link, far), trio.open_nursery() as nursery:
        nursery.start_soon(talk, link)
        ear = Ear(far)
        with trio.fail_after(30):
            assert [await ear.next() for _ in texts] == texts
    assert min(ways.values()) > 0


async def test_what_the_kernel_left_of_a_message_is_written_before_the_next(read_either_way: str) -> None:
    async with linked() as (link, far):
        assert link.send_now(bytes(4_000_000))
        assert not link.send_now("between"), "the rest comes first"
        ear = Ear(far)
        assert await ear.next() == bytes(4_000_000)
        await wait_all_tasks_blocked()
        assert link.send_now("after")
        assert await ear.next() == "after"


async def test_closing_ends_a_send_and_a_receive_that_hang_and_takes_no_longer_than_its_limit(
    read_either_way: str,
) -> None:
    ended: list[str] = []

    async def send(link: Link) -> None:
        for _ in range(2):  # what the kernel leaves of the first is kept
            with suppress(LegLost):
                await link.send(bytes(4_000_000))
        with pytest.raises(LegLost):
            await link.send("late")
        ended.append("send")

    async def receive(link: Link) -> None:
        with pytest.raises(LegLost):
            await link.receive()
        ended.append("receive")

    async with linked() as (link, _), trio.open_nursery() as nursery:
        nursery.start_soon(send, link)
        nursery.start_soon(receive, link)
        await wait_all_tasks_blocked()
        with trio.fail_after(3 * CLOSE_LIMIT_S):
            await link.close()
    assert sorted(ended) == ["receive", "send"]
    assert not link.said_all


async def test_who_breaks_the_protocol_is_told_and_nothing_follows(read_either_way: str) -> None:
    async with linked() as (link, far):
        await far.send_all(client_frame(T, b"last") + client_frame(0xC1, b"x") + client_frame(T, b"never heard"))
        assert await link.receive() == "last"
        for _ in range(2):
            with pytest.raises(LegLost, match="1002") as lost:
                await link.receive()
            assert lost.value.close_code == 1002
        with pytest.raises(LegLost):
            await link.send("late")
        await link.close()
        assert link.said_all
        event = await Ear(far).next()
        assert isinstance(event, Goodbye)
        assert event.code == 1002


async def test_a_goodbye_is_answered_once_and_no_message_lies_behind(read_either_way: str) -> None:
    async with linked() as (link, far):
        assert link.send_now("before")
        await far.send_all(close_frame(4000, b"bye", masked=True))
        for _ in range(2):
            with pytest.raises(LegClosed, match="4000 bye"):
                await link.receive()
        assert not link.send_now("late")
        with pytest.raises(LegLost):
            await link.send("late")
        await link.close(1000)
        ear = Ear(far)
        assert [await ear.next(), await ear.next()] == ["before", Goodbye(4000)]


async def test_run_ends_with_the_link_when_its_answer_is_written(read_either_way: str) -> None:
    with narrow_pair() as (near, far):
        link = Link(near, WebSocketProtocol(Side.SERVER, BOUNDS, OF_AN_ASSISTANT), "peer", unread_max=UNREAD_MAX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            await far.send_all(close_frame(1000, masked=True))
        assert await Ear(far).next() == Goodbye(1000)


async def test_a_stranger_that_floods_is_read_slowly_until_it_is_admitted(read_either_way: str) -> None:
    received = 0
    done = trio.Event()

    async def receive(link: Link) -> None:
        nonlocal received
        while received < 1000:
            await link.receive()
            received += 1
        done.set()

    async with linked(OF_A_STRANGER) as (link, far), trio.open_nursery() as nursery:
        nursery.start_soon(far.send_all, client_frame(B) * 1000)
        nursery.start_soon(receive, link)
        await trio.sleep(0.1)
        assert received < 50
        link.change_rates(OF_A_CALL, FramePace(SURPLUS_OF_CALLS))
        with trio.fail_after(2):
            await done.wait()


async def test_no_pong_in_time_is_the_loss_of_the_link(autojump_clock: MockClock, read_either_way: str) -> None:
    near, _far = trio.testing.memory_stream_pair()
    link = Link(near, WebSocketProtocol(Side.CLIENT, BOUNDS, OF_AN_ASSISTANT), "peer", unread_max=UNREAD_MAX)
    with pytest.raises(LegLost, match="no pong in 2 s"):
        await link.run_keepalive(10, 2)
    assert trio.current_time() == pytest.approx(12)


async def test_who_waits_for_the_answer_to_a_goodbye_keeps_nobody_busy(read_either_way: str) -> None:
    async with linked() as (link, _), trio.open_nursery() as nursery:
        nursery.start_soon(link.part)
        steps = Steps(trio.lowlevel.current_task())
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(STAND_BY_S + 0.2)
        trio.lowlevel.remove_instrument(steps)
        nursery.cancel_scope.cancel()
    assert steps.others < 10


async def test_a_flood_behind_a_goodbye_is_given_up_at_once(read_either_way: str) -> None:
    """Read at the pace of a stranger for as long as an answer may take, hundreds of them would hold up calls."""

    async def flood(far: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await far.send_all(client_frame(T) * 100_000)

    async with linked(OF_A_STRANGER) as (link, far), trio.open_nursery() as nursery:
        nursery.start_soon(flood, far)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await link.close(1008)
        assert trio.current_time() - began < CLOSE_LIMIT_S / 2
        nursery.cancel_scope.cancel()
    assert link.closed


async def send_on_and_on(link: Link) -> None:
    while True:
        await link.send("late")


async def test_what_a_peer_said_before_it_left_is_read_also_when_a_send_fails_first(read_either_way: str) -> None:
    async with linked() as (link, far):
        assert link.send_now("what it will not read, so that its end is a reset")
        await far.send_all(client_frame(T, b"last words") + close_frame(1011, b"why", masked=True))
        await far.aclose()
        with pytest.raises(LegLost):
            await send_on_and_on(link)
        assert link.closed
        with trio.fail_after(2):
            assert await link.receive() == "last words"
            with pytest.raises(LegClosed, match="1011 why"):
                await link.receive()


async def test_a_peer_that_left_behind_a_flood_is_given_up_soon_though_its_flood_is_read_slowly(
    read_either_way: str,
) -> None:
    """4000 empty fragments: at the pace of a call they take a minute."""
    async with linked(OF_A_CALL) as (link, far):
        await far.send_all(client_frame(TEXT) + client_frame(0) * 4000)
        assert link.send_now("what it will not read, so that its end is a reset")
        await far.aclose()
        with pytest.raises(LegLost):
            await send_on_and_on(link)
        with trio.fail_after(SILENT_LIMIT_S + 1), pytest.raises(LegLost, match="connection lost"):
            await link.receive()


async def test_so_is_one_to_whom_nothing_is_sent(read_either_way: str) -> None:
    """Nothing comes of them, and its end is behind them."""
    async with linked(OF_A_CALL) as (link, far):
        await far.send_all(client_frame(TEXT) + client_frame(0) * 4000)
        await far.aclose()
        with trio.fail_after(SILENT_LIMIT_S + 1), pytest.raises(LegLost, match="connection lost"):
            await link.receive()


async def test_the_loss_is_seen_where_a_send_failed_and_nobody_receives(read_either_way: str) -> None:
    with narrow_pair() as (near, far):
        link = Link(near, WebSocketProtocol(Side.SERVER, BOUNDS, OF_AN_ASSISTANT), "peer", unread_max=UNREAD_MAX)
        with trio.fail_after(5 * STAND_BY_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.run)
                assert link.send_now("unread")
                await far.aclose()
                with pytest.raises(LegLost):
                    await send_on_and_on(link)


@pytest.mark.parametrize("payload", [b"\xff" * 8, (2).to_bytes(8, "big"), b"", b"heartbeat"], ids=repr)
async def test_a_pong_that_nobody_asked_for_answers_no_ping(payload: bytes, read_either_way: str) -> None:
    async with linked() as (link, far):
        await far.send_all(client_frame(FIN | PONG, payload))
        with pytest.raises(LegLost, match="no pong"):
            await link.ping(0.05)


async def test_a_ping_that_tls_cannot_answer_any_more_is_the_loss_of_the_link(
    certificate: tuple[Path, Path], read_either_way: str
) -> None:
    """The server's last words are an alert of TLS, behind a ping."""
    async with secured_pair(certificate) as (client, server):
        link = Link(client, WebSocketProtocol(Side.CLIENT, BOUNDS, OF_AN_ASSISTANT), "peer", unread_max=UNREAD_MAX)
        await server.send_all(raw_frame(FIN | PING, masked=False))
        server._incoming.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(ssl.SSLError):
            server._ssl_object.read()
        await server.transport_stream.send_all(server._outgoing.read())
        with trio.fail_after(5), pytest.raises(LegLost, match="connection lost"):
            await link.receive()


async def test_a_stream_that_is_closed_takes_nothing_even_when_its_descriptor_is_used_again(
    read_either_way: str,
) -> None:
    with narrow_pair() as (near, _far):
        link = Link(near, WebSocketProtocol(Side.CLIENT, BOUNDS, OF_AN_ASSISTANT), "peer", unread_max=UNREAD_MAX)
        number = near.socket.fileno()
        await near.aclose()
        here, there = socket.socketpair()
        with here, there:
            assert number in {here.fileno(), there.fileno()}
            assert not link.send_now("x")
