"""A browser's leg without network: what the client says reaches the call, what it says wrong comes back to it."""

import struct
from weakref import ref

import numpy as np
import pytest
import trio

from relay.call.browser.leg import COMPLAINTS_BURST, COMPLAINTS_PER_S, EVENTS_WAITING_MAX, BrowserLeg
from relay.call.caller.leg import CallerAudio, CallerGone, Heard
from relay.errors import LegLost, RemoteProtocolError
from relay.media.frames import WIDEBAND
from relay.net.outbox import Entry
from relay.wire import browser_down
from relay.wire.browser import ClientAudio, ClientPlayed, ClientStart, ClientStop
from relay.wire.browser_down import Text
from tests.support.leaks import no_collector

REORDER_MS = 80


def numbered(sequence: int, ms: int | None = None) -> ClientAudio:
    """20 ms whose samples are its number."""
    pcm = struct.pack("<h", sequence) * 320
    return ClientAudio(WIDEBAND, pcm, sequence, (sequence - 1) * 20 if ms is None else ms)


def number_of(audio: CallerAudio) -> int:
    values = np.frombuffer(audio.data, "<i2")
    assert len(set(values)) == 1
    return int(values[0])


async def test_the_leg_gives_up_a_gap_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    leg = BrowserLeg(WIDEBAND, REORDER_MS)
    await leg.feed(numbered(1))
    assert isinstance(await leg.receive(), CallerAudio)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leg.feed, numbered(3))
        began_at = trio.current_time()
        event = await leg.receive()

    assert isinstance(event, CallerAudio)
    assert number_of(event) == 3
    assert trio.current_time() - began_at == pytest.approx(REORDER_MS / 1000, abs=0.001)


async def test_what_the_client_says_reaches_the_call(autojump_clock: trio.testing.MockClock) -> None:
    leg = BrowserLeg(WIDEBAND, REORDER_MS)
    leg.reject(RemoteProtocolError("what", "NOT_JSON"))
    await leg.feed(ClientStop())
    await leg.feed(ClientStart())

    with pytest.raises(RemoteProtocolError):
        await leg.receive()
    assert isinstance(await leg.receive(), CallerGone)
    with pytest.raises(RemoteProtocolError) as caught:
        await leg.receive()
    assert caught.value.code == "START_NOT_FIRST"
    messages, _ = leg.outbox.read(0, 10)
    assert [b"NOT_JSON" in one.body for _, one in messages if isinstance(one, Text)] == [True, False]


async def test_a_client_that_sends_more_than_the_call_takes_waits(autojump_clock: trio.testing.MockClock) -> None:
    leg = BrowserLeg(WIDEBAND, REORDER_MS)
    with trio.move_on_after(60) as limit:
        for sequence in range(1, 1000):
            await leg.feed(numbered(sequence))

    assert limit.cancelled_caught
    for _ in range(EVENTS_WAITING_MAX):
        await leg.receive()
    with trio.fail_after(1):
        await leg.feed(numbered(EVENTS_WAITING_MAX + 1))


async def test_a_closed_leg_gives_what_it_has_and_then_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    leg = BrowserLeg(WIDEBAND, REORDER_MS)
    await leg.feed(numbered(1))
    leg.close()
    await leg.feed(numbered(2))

    assert isinstance(await leg.receive(), CallerAudio)
    with pytest.raises(LegLost):
        await leg.receive()
    with pytest.raises(LegLost):
        await leg.outbox.put(Entry(b"\0\0", turn=1))


FRAME = bytes(640)


async def say(leg: BrowserLeg, turn: int, frames: int) -> None:
    for _ in range(frames):
        await leg.outbox.put(Entry(leg.audio(FRAME), turn=turn))


async def test_what_was_played_of_a_turn_is_a_position_in_all_that_was_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    leg = BrowserLeg(WIDEBAND, REORDER_MS)
    await say(leg, 1, 10)
    await say(leg, 2, 10)
    leg.outbox.flush_and_put([Entry(leg.clear()), Entry(leg.mark(3, 1000), turn=3)])
    await say(leg, 3, 2)
    for played in (ClientPlayed(1, 60), ClientPlayed(2, 60), ClientPlayed(3, 20), ClientPlayed(9, 1)):
        await leg.feed(played)

    assert [await leg.receive() for _ in range(3)] == [Heard(1, 60), Heard(2, 260), Heard(3, 1020)]


async def test_an_interruption_names_the_turn_that_the_client_may_have_audio_of() -> None:
    leg = BrowserLeg(WIDEBAND, REORDER_MS)
    await say(leg, 1, 1)
    await say(leg, 2, 1)

    assert leg.clear() == browser_down.interrupt(2).body.decode()


async def test_a_client_that_sends_nonsense_is_told_so_much_and_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    leg = BrowserLeg(WIDEBAND, REORDER_MS)
    for _ in range(2 * COMPLAINTS_BURST):
        leg.complain("NOT_JSON", "what")
    messages, _ = leg.outbox.read(0, 1000)
    assert len(messages) == pytest.approx(COMPLAINTS_BURST, abs=1)

    await trio.sleep(1)
    for _ in range(COMPLAINTS_BURST):
        leg.complain("NOT_JSON", "what")
    messages, _ = leg.outbox.read(leg.outbox.last, 1000)
    assert len(messages) == pytest.approx(COMPLAINTS_PER_S, abs=1)


async def test_bad_messages_that_the_call_has_not_taken_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    leg = BrowserLeg(WIDEBAND, REORDER_MS)
    for _ in range(2 * EVENTS_WAITING_MAX):
        leg.count(RemoteProtocolError("what", "NOT_JSON"))
    counted = 0
    with trio.move_on_after(1):
        while True:
            with pytest.raises(RemoteProtocolError):
                await leg.receive()
            counted += 1

    assert counted == EVENTS_WAITING_MAX


async def test_a_leg_whose_session_is_over_is_freed_without_the_garbage_collector() -> None:
    with no_collector():
        leg = BrowserLeg(WIDEBAND, REORDER_MS)
        leg.complain("TOO_FAST", "too fast")
        leg.close()
        freed = ref(leg)
        del leg

        assert freed() is None
