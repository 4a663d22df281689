"""A browser's leg without network: order and counts under any loss, the time line, and what an interruption leaves."""

import struct
from collections import Counter
from typing import Any

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from relay.call.browser.leg import EVENTS_WAITING_MAX, BrowserLeg
from relay.call.browser.outbox import AUDIO_WAITING_MAX, BrowserOutbox
from relay.call.browser.uplink import BrowserUplink
from relay.call.caller.leg import CallerAudio, CallerGone, Dropped, Heard
from relay.errors import LegLost, RemoteProtocolError
from relay.media.frames import WIDEBAND, AudioFormat, Encoding
from relay.net.outbox import Entry
from relay.wire import browser_down
from relay.wire.browser import ClientAudio, ClientPlayed, ClientStart, ClientStop
from relay.wire.browser_down import AssistantAudio, Text

REORDER_MS = 80


def numbered(sequence: int, ms: int | None = None) -> ClientAudio:
    """20 ms whose samples are its number."""
    pcm = struct.pack("<h", sequence) * 320
    return ClientAudio(WIDEBAND, pcm, sequence, (sequence - 1) * 20 if ms is None else ms)


def number_of(audio: CallerAudio) -> int:
    values = np.frombuffer(audio.data, "<i2")
    assert len(set(values)) == 1
    return int(values[0])


class Taken:
    """An uplink with everything that came out of it."""

    def __init__(self, target: AudioFormat = WIDEBAND) -> None:
        self.codes: list[str] = []
        self.uplink = BrowserUplink(target, REORDER_MS, lambda code, what: self.codes.append(code))
        self.audio: list[CallerAudio] = []
        self.dropped: Counter[str] = Counter()

    def note(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, Dropped):
                self.dropped[event.cause] += 1
            else:
                self.audio.append(event)

    def take(self, audio: ClientAudio, now: float, *, resent: bool = False) -> None:
        while (deadline := self.uplink.deadline) is not None and deadline <= now:
            self.note(self.uplink.expire(deadline))
        self.note(self.uplink.take(audio, now, resent=resent))

    def rest(self) -> None:
        while (deadline := self.uplink.deadline) is not None:
            self.note(self.uplink.expire(deadline))


journey = st.lists(
    st.tuples(st.sampled_from(["once", "once", "once", "lost", "twice"]), st.floats(0, 0.2), st.floats(0, 0.2)),
    max_size=60,
)


@given(journey, st.booleans())
def test_whatever_the_network_does_the_order_is_right_and_every_message_is_accounted_for(
    fates: list[tuple[str, float, float]], resent: bool
) -> None:
    """Over either transport: each message that was sent is heard once in its place, or counted as what became of it."""
    arrivals = []
    for index, (fate, late_s, later_s) in enumerate(fates):
        sent_at = index * 0.02
        copies = {"once": [late_s], "lost": [], "twice": [late_s, later_s]}[fate]
        arrivals += [(sent_at + delay, index + 1) for delay in copies]
    taken = Taken()
    for at, sequence in sorted(arrivals):
        taken.take(numbered(sequence), at, resent=resent)
    taken.rest()

    heard = [number_of(audio) for audio in taken.audio]
    assert heard == sorted(set(heard))
    assert len(arrivals) == len(heard) + taken.dropped["late"] + taken.dropped["duplicate"]
    lost_for_good = len({sequence for _, sequence in arrivals}) - len(heard)
    assert taken.dropped["late"] == lost_for_good
    highest = max(heard, default=0)
    assert taken.uplink.statistics().missing == highest - len(heard)
    assert taken.uplink.next == highest + 1
    if resent:
        assert taken.codes == []


@given(st.permutations(range(1, 9)))
def test_messages_that_are_late_by_less_than_the_bound_are_all_put_in_order(order: list[int]) -> None:
    taken = Taken()
    for index, sequence in enumerate(order):
        taken.take(numbered(sequence), index * 0.005)
    taken.rest()

    assert [number_of(audio) for audio in taken.audio] == list(range(1, 9))
    assert not taken.dropped


def test_a_sequence_that_goes_back_is_told_once_a_second_over_a_socket_and_never_when_polling() -> None:
    taken = Taken()
    for now, sequence in [(0.0, 1), (0.02, 2), (0.04, 1), (0.5, 2), (1.2, 1)]:
        taken.take(numbered(sequence), now)
    assert taken.codes == ["SEQUENCE_BACKWARDS"] * 2
    assert taken.dropped == {"duplicate": 3}

    polled = Taken()
    for sequence in (1, 2, 1, 2):
        polled.take(numbered(sequence), 0.0, resent=True)
    assert polled.codes == []


def test_audio_without_a_number_goes_through_as_it_comes() -> None:
    taken = Taken()
    for index in range(3):
        taken.take(ClientAudio(WIDEBAND, b"\1\0" * 320), index * 0.02)

    assert [(audio.stamp_ms, audio.missing) for audio in taken.audio] == [(None, 0)] * 3


def test_the_headers_time_is_passed_on_as_it_is_and_no_hole_is_made_of_it() -> None:
    taken = Taken()
    stamps = [0, 21, 39, 61, 500, 520, 520, 520]
    for index, ms in enumerate(stamps):
        taken.take(numbered(index + 1, ms), index * 0.02)

    assert [(audio.stamp_ms, audio.missing) for audio in taken.audio] == [(ms, 0) for ms in stamps]


def test_messages_that_never_came_are_missing_before_the_next() -> None:
    taken = Taken()
    for sequence in (1, 2, 6, 7):
        taken.take(numbered(sequence), sequence * 0.02)
    taken.rest()

    assert [audio.missing for audio in taken.audio] == [0, 0, 3, 0]


def test_any_format_comes_out_in_the_calls_own() -> None:
    source = AudioFormat(Encoding.PCM_F32LE, 48_000, 2)
    taken = Taken()
    for sequence in range(1, 51):
        taken.take(ClientAudio(source, np.full(1920, 0.5, "<f4").tobytes(), sequence, (sequence - 1) * 20), 0.0)

    samples = np.frombuffer(b"".join(audio.data for audio in taken.audio), "<i2")
    assert 16_000 - 40 <= len(samples) <= 16_000
    assert set(samples[200:]) == {16384}


def test_a_format_that_changes_in_the_middle_is_followed() -> None:
    taken = Taken()
    for index, rate_hz in enumerate([16_000, 48_000, 8_000, 16_000]):
        audio_format = AudioFormat(Encoding.PCM_S16LE, rate_hz)
        taken.take(ClientAudio(audio_format, bytes(rate_hz // 50 * 2), index + 1, index * 20), index * 0.02)

    assert [len(audio.data) for audio in taken.audio] == [
        640,
        pytest.approx(640, abs=64),
        pytest.approx(640, abs=64),
        640,
    ]
    assert taken.codes == []


def test_a_wrong_rate_is_told_once_for_each_declared_format() -> None:
    taken = Taken()
    for sequence in range(1, 201):
        data = b"\0\0" * 960
        taken.take(ClientAudio(WIDEBAND, data, sequence, (sequence - 1) * 20), sequence * 0.02)

    assert taken.codes == ["WRONG_RATE"]


def test_a_backlog_may_come_at_once_and_a_flood_is_dropped() -> None:
    taken = Taken()
    for sequence in range(1, 501):
        taken.take(numbered(sequence), 0.0, resent=True)
    assert taken.codes == []

    for sequence in range(501, 3001):
        taken.take(numbered(sequence), 0.0, resent=True)
    assert set(taken.codes) == {"TOO_FAST"}
    assert taken.dropped["overflow"] == 3000 - 1500


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


def taken_by_a_connection(outbox: BrowserOutbox) -> list[tuple[str, int]]:
    messages, gap = outbox.read(outbox.last, 1000)
    assert gap is None
    return [("audio", one.turn) if isinstance(one, AssistantAudio) else (one.body.decode(), 0) for _, one in messages]


async def test_an_interruption_drops_what_no_connection_took_and_comes_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    leg = BrowserLeg(WIDEBAND, REORDER_MS)
    await say(leg, 1, 3)
    assert taken_by_a_connection(leg.outbox) == [("audio", 1)] * 3
    await say(leg, 2, 5)
    leg.outbox.tell(browser_down.speech("user", started=True))

    leg.outbox.flush_and_put([Entry(leg.clear()), Entry(leg.mark(3, 160), turn=3)])
    await say(leg, 3, 1)

    assert taken_by_a_connection(leg.outbox) == [
        (browser_down.interrupt(2).body.decode(), 0),
        (browser_down.speech("user", started=True).body.decode(), 0),
        ("audio", 3),
    ]


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


async def test_playback_stops_while_no_connection_takes_anything(autojump_clock: trio.testing.MockClock) -> None:
    leg = BrowserLeg(WIDEBAND, REORDER_MS)
    with trio.move_on_after(60) as limit:
        await say(leg, 1, 1000)
    assert limit.cancelled_caught

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, leg, 1, 5)
        await trio.sleep(1)
        assert len(taken_by_a_connection(leg.outbox)) == AUDIO_WAITING_MAX
    assert len(taken_by_a_connection(leg.outbox)) == 5


async def test_a_message_counts_as_sent_when_a_connection_has_written_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    leg = BrowserLeg(WIDEBAND, REORDER_MS)
    sent: list[float] = []
    await leg.outbox.put(Entry(leg.audio(FRAME), turn=1, on_sent=sent.append))
    await leg.outbox.put(Entry(leg.audio(FRAME), turn=1, on_sent=sent.append))
    leg.outbox.read(0, 2)
    assert sent == []

    await trio.sleep(5)
    leg.outbox.written(1)
    leg.outbox.written(1)
    assert sent == [trio.current_time()]
    leg.outbox.written(2)
    assert len(sent) == 2
