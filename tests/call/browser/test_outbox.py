"""What waits for a browser's connections: how much, in which order, what an interruption leaves, and what was sent."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from relay.call.browser.outbox import AUDIO_WAITING_MAX, TURNS_KNOWN, WAITING_MAX, BrowserOutbox
from relay.errors import LegLost
from relay.media.frames import WIDEBAND
from relay.net.outbox import Entry
from relay.wire.browser_down import AssistantAudio, Text

FRAME = WIDEBAND.silent_frame


@pytest.fixture
def outbox() -> BrowserOutbox:
    return BrowserOutbox(WIDEBAND)


async def say(outbox: BrowserOutbox, turn: int, frames: int) -> None:
    for _ in range(frames):
        await outbox.put(Entry(FRAME, turn=turn))


def taken(outbox: BrowserOutbox) -> list[int | str]:
    """Everything that no connection has taken yet: the turn of audio, the words of text."""
    messages, gap = outbox.read(outbox.last, 1000)
    assert gap is None
    return [one.turn if isinstance(one, AssistantAudio) else one.body.decode() for _, one in messages]


async def test_audio_is_numbered_and_says_its_turn_and_its_place(outbox: BrowserOutbox) -> None:
    await say(outbox, 1, 2)
    await say(outbox, 2, 1)
    messages, _ = outbox.read(0, 10)

    assert messages == [
        (1, AssistantAudio(1, 0, FRAME)),
        (2, AssistantAudio(1, 20, FRAME)),
        (3, AssistantAudio(2, 40, FRAME)),
    ]


async def test_what_was_taken_before_can_be_taken_again(outbox: BrowserOutbox) -> None:
    await say(outbox, 1, 3)
    before = outbox.read(0, 10)

    assert outbox.read(0, 10) == before
    assert outbox.read(2, 10)[0] == before[0][2:]


async def test_playback_waits_while_no_connection_takes_anything(
    outbox: BrowserOutbox, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(60) as limit:
        await say(outbox, 1, 1000)
    assert limit.cancelled_caught

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, outbox, 1, 5)
        await trio.sleep(1)
        assert taken(outbox) == [1] * AUDIO_WAITING_MAX
    assert taken(outbox) == [1] * 5


async def test_text_finds_room_where_audio_has_none(outbox: BrowserOutbox) -> None:
    """More than may wait in all: the oldest are numbered unread, and can still be had."""
    await say(outbox, 1, AUDIO_WAITING_MAX)
    texts = [str(number) for number in range(WAITING_MAX)]
    for text in texts:
        outbox.tell(Text(text.encode()))
    messages, gap = outbox.read(0, 1000)

    assert (len(messages), gap) == (AUDIO_WAITING_MAX + WAITING_MAX, None)
    assert [one.body.decode() for _, one in messages if isinstance(one, Text)] == texts


async def test_an_interruption_drops_what_no_connection_took_and_comes_first(outbox: BrowserOutbox) -> None:
    await say(outbox, 1, 3)
    assert taken(outbox) == [1, 1, 1]
    await say(outbox, 2, 5)
    outbox.tell(Text(b"told"))
    outbox.flush_and_put([Entry("interrupt"), Entry("", turn=3)])
    await say(outbox, 3, 1)

    assert taken(outbox) == ["interrupt", "told", 3]


async def test_an_interruption_makes_room_for_the_next_turn(outbox: BrowserOutbox, autojump_clock: MockClock) -> None:
    await say(outbox, 1, AUDIO_WAITING_MAX)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, outbox, 2, 1)
        await trio.testing.wait_all_tasks_blocked()
        outbox.flush_and_put([Entry("interrupt")])
        await trio.testing.wait_all_tasks_blocked()
        assert taken(outbox) == ["interrupt", 2]


async def test_an_empty_text_is_nothing_to_send(outbox: BrowserOutbox) -> None:
    await outbox.put(Entry("", turn=1))

    assert (taken(outbox), outbox.last) == ([], 0)


async def test_what_was_played_of_a_turn_is_a_place_in_all_that_was_sent(outbox: BrowserOutbox) -> None:
    """Positions count from the last one that was noted: what a flush dropped is not among them."""
    await say(outbox, 1, 10)
    await say(outbox, 2, 10)
    outbox.note_position(1000)
    await say(outbox, 3, 2)

    assert [outbox.position_of(turn, 60) for turn in (1, 2, 3, 9)] == [60, 260, 1060, None]
    assert outbox.turn == 3


async def test_only_the_last_turns_are_known(outbox: BrowserOutbox) -> None:
    assert outbox.turn == 0
    for turn in range(1, TURNS_KNOWN + 2):
        await say(outbox, turn, 1)

    assert outbox.position_of(1, 0) is None
    assert outbox.position_of(2, 0) == 20


async def test_a_message_counts_as_sent_once_when_a_connection_has_written_it(
    outbox: BrowserOutbox, autojump_clock: MockClock
) -> None:
    sent: list[float] = []
    for _ in range(2):
        await outbox.put(Entry(FRAME, turn=1, on_sent=sent.append))
    outbox.read(0, 2)
    assert sent == []

    await trio.sleep(5)
    outbox.written(1)
    outbox.written(1)
    assert sent == [trio.current_time()]
    for through in (2, 1, 2):
        outbox.written(through)
    assert len(sent) == 2


async def returns(wait: Callable[[], Awaitable[None]], act: Callable[[], object]) -> list[bool]:
    """Whether the wait was over before this was done, and after."""
    over = trio.Event()

    async def waiting() -> None:
        await wait()
        over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting)
        await trio.testing.wait_all_tasks_blocked()
        found = [over.is_set()]
        act()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return [*found, over.is_set()]


async def test_a_connection_waits_for_news_for_the_end_or_until_it_is_fenced(outbox: BrowserOutbox) -> None:
    fenced = trio.Event()

    def fence() -> None:
        fenced.set()
        outbox.wake()

    assert await returns(lambda: outbox.wait_after(0, fenced), lambda: outbox.tell(Text(b"told"))) == [False, True]
    assert await returns(lambda: outbox.wait_after(0, fenced), lambda: None) == [True, True]
    outbox.read(0, 1)
    assert await returns(lambda: outbox.wait_after(1, fenced), outbox.wake) == [False, False]
    assert await returns(lambda: outbox.wait_after(1, fenced), fence) == [False, True]
    assert await returns(lambda: outbox.wait_after(1, trio.Event()), outbox.close) == [False, True]


async def test_more_audio_is_waited_for_but_no_text(outbox: BrowserOutbox) -> None:
    fenced = trio.Event()
    await say(outbox, 1, 1)

    assert await returns(lambda: outbox.wait_text_after(0, fenced), lambda: None) == [False, False]
    assert await returns(lambda: outbox.wait_text_after(0, fenced), lambda: outbox.tell(Text(b"told"))) == [False, True]
    outbox.read(0, 10)
    assert await returns(lambda: outbox.wait_text_after(0, fenced), lambda: None) == [True, True]


async def test_closed_it_takes_no_more_and_gives_what_it_has(outbox: BrowserOutbox) -> None:
    await say(outbox, 1, AUDIO_WAITING_MAX)
    async with trio.open_nursery() as nursery:

        async def put_one_more() -> None:
            with pytest.raises(LegLost):
                await outbox.put(Entry(FRAME, turn=1))

        nursery.start_soon(put_one_more)
        await trio.testing.wait_all_tasks_blocked()
        outbox.close()
    outbox.tell(Text(b"too late"))

    assert outbox.closed
    assert taken(outbox) == [1] * AUDIO_WAITING_MAX
    outbox.flush_and_put([Entry("too late")])
    assert not outbox.has_after(outbox.last)


def test_who_will_not_wait_queues_audio_only_while_there_is_room(outbox: BrowserOutbox) -> None:
    for _ in range(AUDIO_WAITING_MAX):
        assert outbox.put_now(Entry(FRAME, turn=1))

    assert not outbox.put_now(Entry(FRAME, turn=1))
    assert taken(outbox) == [1] * AUDIO_WAITING_MAX
    assert outbox.put_now(Entry(FRAME, turn=1))
    outbox.close()
    with pytest.raises(LegLost):
        outbox.put_now(Entry(FRAME, turn=1))
