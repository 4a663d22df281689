"""RequestReader: a head at a time, a few lines of a body, and one connection after the other."""

from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.net.request_reader import HEAD_READ_BYTES, LINES_PER_TURN, LINES_UNJUDGED, READ_BYTES, RequestReader
from relay.net.turns import LINES_BURST_S, LINES_PER_S, Turns

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNK = b"40\r\n" + b"x" * 64 + b"\r\n"


class Source:
    """A stream that has these parts, and ends."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)
        self.asked_bytes: list[int | None] = []

    async def wait_readable(self) -> bool:
        await trio.lowlevel.checkpoint()
        return bool(self.parts)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        self.asked_bytes.append(max_bytes)
        return self.parts.pop(0) if self.parts else b""


async def all_of(reader: RequestReader, *, in_body: bool) -> list[bytes]:
    pieces = []
    while piece := await reader.receive(in_body=in_body):
        pieces.append(piece)
    return pieces


async def flood(turns: Turns, pieces: list[bytes]) -> None:
    """Send small chunks without end; `pieces` are what is read of them."""
    reader = RequestReader(Source(*[CHUNK * 10_000] * 10), turns)
    while piece := await reader.receive(in_body=True):
        pieces.append(piece)


@pytest.mark.parametrize("behind", [HEAD, CHUNK * 9, b"\r\n", b"x" * 70_000], ids=["head", "chunks", "line", "bytes"])
async def test_a_head_is_handed_on_with_nothing_behind_it_however_it_was_cut(behind: bytes) -> None:
    sent = HEAD + behind
    for cut in range(len(HEAD) + 2):
        reader = RequestReader(Source(*(part for part in (sent[:cut], sent[cut:]) if part)), Turns())

        head = b""
        while len(head) < len(HEAD):
            head += await reader.receive(in_body=False)

        assert head == HEAD
        assert b"".join([reader.take_rest(), *await all_of(reader, in_body=True)]) == behind


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"x"]), max_size=60), st.data())
def test_no_byte_is_lost_or_doubled_or_put_elsewhere(parts: list[bytes], data: st.DataObject) -> None:
    async def read() -> list[bytes]:
        reader = RequestReader(Source(*parts), Turns())
        pieces = []
        while piece := await reader.receive(in_body=data.draw(st.booleans())):
            pieces.append(piece)
        return pieces

    assert b"".join(trio.run(read, clock=MockClock(autojump_threshold=0))) == b"".join(parts)


@pytest.mark.parametrize("cut", range(1, len(CHUNK) + 1))
async def test_of_a_body_a_few_lines_are_handed_on_in_a_turn(cut: int, autojump_clock: MockClock) -> None:
    sent = CHUNK * 100
    pieces = await all_of(RequestReader(Source(sent[:cut], sent[cut:]), Turns()), in_body=True)

    assert b"".join(pieces) == sent
    assert max(piece.count(b"\n") for piece in pieces) <= LINES_PER_TURN
    assert len(pieces) <= 200 // LINES_PER_TURN + 2


TINY = b"1\r\nx\r\n"


@pytest.mark.parametrize("behind_a_head", [False, True])
@pytest.mark.parametrize("read", [len(TINY), 1000])
async def test_a_body_of_tiny_lines_is_given_up(read: int, behind_a_head: bool, autojump_clock: MockClock) -> None:
    sent = TINY * 10_000
    parts = [sent[at : at + read] for at in range(0, len(sent), read)]
    if behind_a_head:
        parts = [HEAD + sent]
    reader = RequestReader(Source(*parts), Turns())
    if behind_a_head:
        assert await reader.receive(in_body=False) == HEAD

    pieces = await all_of(reader, in_body=True)

    assert sum(piece.count(b"\n") for piece in pieces) <= LINES_UNJUDGED


async def test_each_body_is_judged_for_itself(autojump_clock: MockClock) -> None:
    body = TINY * (LINES_UNJUDGED // 2)
    reader = RequestReader(Source(*[HEAD, body] * 3, HEAD), Turns())
    for _ in range(3):
        assert await reader.receive(in_body=False) == HEAD
        read = b""
        while len(read) < len(body):
            read += await reader.receive(in_body=True)
        assert read == body
    assert await reader.receive(in_body=False) == HEAD


async def test_a_body_without_lines_is_handed_on_as_it_comes(autojump_clock: MockClock) -> None:
    began_at = trio.current_time()
    parts = [bytes(65_536)] * 200

    assert await all_of(RequestReader(Source(*parts), Turns()), in_body=True) == parts
    assert trio.current_time() == began_at


async def test_the_lines_of_all_bodies_together_have_a_rate(autojump_clock: MockClock) -> None:
    turns, began_at = Turns(), trio.current_time()
    pieces: list[bytes] = []
    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(flood, turns, pieces)

    lines = sum(piece.count(b"\n") for piece in pieces)
    expected = (trio.current_time() - began_at + LINES_BURST_S) * LINES_PER_S
    assert expected * 0.9 <= lines <= expected + 50 * LINES_PER_TURN


async def test_a_body_with_a_length_does_not_wait_for_those_in_chunks(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    turns, began_at = Turns(), trio.current_time()
    for _ in range(300):
        nursery.start_soon(flood, turns, [])
    await wait_all_tasks_blocked()

    assert await all_of(RequestReader(Source(bytes(1000)), turns), in_body=True) == [bytes(1000)]
    assert trio.current_time() == began_at
    nursery.cancel_scope.cancel()


async def test_of_many_connections_that_have_something_one_is_read_in_a_step() -> None:
    turns, read, most = Turns(), 0, 0

    async def connection() -> None:
        nonlocal read
        await RequestReader(Source(HEAD), turns).receive(in_body=False)
        read += 1

    async def step() -> None:
        nonlocal read, most
        while True:
            await trio.lowlevel.checkpoint()
            most, read = max(most, read), 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(step)
        async with trio.open_nursery() as connections:
            for _ in range(300):
                connections.start_soon(connection)
        nursery.cancel_scope.cancel()

    assert 1 <= most <= 2


async def test_little_is_read_of_who_sends_heads_and_more_of_a_body() -> None:
    source = Source(HEAD, b"body")
    reader = RequestReader(source, Turns())

    assert [await reader.receive(in_body=False), await reader.receive(in_body=True)] == [HEAD, b"body"]
    assert source.asked_bytes == [HEAD_READ_BYTES, READ_BYTES]


async def test_who_is_cancelled_in_its_turn_has_taken_nothing_and_holds_nobody_up() -> None:
    turns = Turns()
    reader = RequestReader(Source(HEAD * 2), turns)
    with trio.CancelScope() as scope:
        scope.cancel()
        await turns.wait("")
    assert await reader.receive(in_body=False) == HEAD
    with trio.CancelScope() as scope:
        scope.cancel()
        await reader.receive(in_body=False)

    assert await reader.receive(in_body=False) == HEAD


async def test_a_connection_that_is_over_waits_for_no_turn() -> None:
    turns = Turns()
    async with trio.open_nursery() as nursery:
        for _ in range(300):
            nursery.start_soon(partial(RequestReader(Source(HEAD), turns).receive, in_body=False))
        await trio.lowlevel.checkpoint()
        over = trio.Event()

        async def end() -> None:
            assert await RequestReader(Source(), turns).receive(in_body=False) == b""
            over.set()

        nursery.start_soon(end)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        assert over.is_set()
        nursery.cancel_scope.cancel()
