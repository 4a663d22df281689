"""The caller's sockets one after the other: which one is read, what is waited for, and when the caller is lost."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from relay.call.caller.analysis import NewStream
from relay.call.caller.leg import CallerAudio, CallerEvent, CallerGone, CallerLeg, Dropped, TooManyMalformed
from relay.call.caller_line import MALFORMED_BURST, MALFORMED_PER_S, CallerLine
from relay.call.playback.speaker import Speaker
from relay.call.report.events import (
    BadCallerMessage,
    CallerAttached,
    CallerLost,
    CallerNotBack,
    CallerReattached,
    CallEvent,
)
from relay.errors import LegClosed, LegLost, MessageUnsupported, RemoteProtocolError
from relay.logic.caller.reattach import ReattachRules
from relay.logic.caller.reorder import ReorderStatistics
from relay.metrics import Metrics
from relay.net.sockets import Found
from tests.support.assistant_parts import RecordingReport

GRACE_S = 10.0
RULES = ReattachRules(max_attempts=2, window_s=60.0, grace_s=GRACE_S)


class Leg:
    """A socket of the caller, driven by the test."""

    def __init__(self, missing: int = 0, reordered: int = 0) -> None:
        self._put, self._events = trio.open_memory_channel[CallerEvent | Exception | None](100)
        self._statistics = ReorderStatistics(missing=missing, reordered=reordered)

    def order(self) -> ReorderStatistics:
        return self._statistics

    def say(self, *events: CallerEvent | Exception | None) -> None:
        for event in events:
            self._put.send_nowait(event)

    async def receive_each(self, take: Callable[[CallerEvent], Found | None]) -> Found:
        while True:
            event = await self._events.receive()
            if isinstance(event, Exception):
                raise event
            found = None if event is None else take(event)
            if found is not None:
                return found


@dataclass
class Playing:
    """In the place of the speaker: which socket is played to, and what comes back from one that is lost."""

    leg: Any = None
    taken_back_ms: float = 0.0

    def attach(self, leg: CallerLeg) -> None:
        self.leg = leg

    def detach(self, leg: CallerLeg) -> float:
        self.leg = None if self.leg is leg else self.leg
        return self.taken_back_ms


@dataclass
class Rig:
    line: CallerLine
    playing: Playing
    report: RecordingReport
    frames: trio.MemoryReceiveChannel[CallerAudio | NewStream]
    nursery: trio.Nursery
    taken: list[CallerEvent] = field(default_factory=list)
    over: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        await self.line.run(self.taken.append)
        self.over.set()

    async def attach(self, leg: Leg) -> trio.CancelScope:
        """Lend a socket; cancelling the scope is its endpoint giving it up."""
        return await self.nursery.start(self._lend, leg)  # type: ignore[no-any-return]

    async def _lend(self, leg: Leg, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope, self.line.lend(cast("CallerLeg", leg)) as given_back:
            task_status.started(scope)
            await given_back.wait()

    def passed_on(self) -> list[CallerAudio | NewStream]:
        found = []
        try:
            while True:
                found.append(self.frames.receive_nowait())
        except trio.WouldBlock:
            return found

    def told(self, kind: type[CallEvent]) -> list[CallEvent]:
        return [event for event in self.report.told if isinstance(event, kind)]


@asynccontextmanager
async def line(*, room: int = 100, ages_s: tuple[float, ...] = ()) -> AsyncIterator[Rig]:
    put, frames = trio.open_memory_channel[CallerAudio | NewStream](room)
    report, playing = RecordingReport(Metrics()), Playing()
    made = CallerLine(put, lambda _: False, cast("Speaker", playing), RULES, report, ages_s=ages_s)
    async with trio.open_nursery() as nursery:
        rig = Rig(made, playing, report, frames, nursery)
        nursery.start_soon(rig.run)
        yield rig
        nursery.cancel_scope.cancel()


def audio(number: int) -> CallerAudio:
    return CallerAudio(number * 20, bytes([number]) * 160, 0.0)


async def quiet() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_audio_goes_on_in_order_and_all_else_to_the_call() -> None:
    async with line() as rig:
        leg = Leg()
        await rig.attach(leg)
        leg.say(audio(0), Dropped("late"), None, audio(1), CallerGone())
        await quiet()

        assert rig.passed_on() == [audio(0), audio(1)]
        assert rig.taken == [Dropped("late"), CallerGone()]
        assert len(rig.told(CallerAttached)) == 1


async def test_a_socket_that_was_lost_before_anybody_looked_is_waited_for_no_longer_than_any_other(
    autojump_clock: MockClock,
) -> None:
    async with line() as rig:
        with rig.line.lend(cast("CallerLeg", Leg())):
            pass
        lost_at = trio.current_time()
        with trio.fail_after(60):
            await rig.over.wait()

        assert trio.current_time() - lost_at == GRACE_S
        assert len(rig.told(CallerLost)) == len(rig.told(CallerNotBack)) == 1


async def test_audio_waits_where_there_is_no_room(autojump_clock: MockClock) -> None:
    async with line(room=1) as rig:
        leg = Leg()
        await rig.attach(leg)
        leg.say(*(audio(number) for number in range(5)), CallerGone())
        await quiet()
        assert rig.taken == []

        assert [await rig.frames.receive() for _ in range(5)] == [audio(number) for number in range(5)]
        await quiet()
        assert rig.taken == [CallerGone()]


async def test_a_bad_message_is_counted_and_the_socket_goes_on() -> None:
    async with line() as rig:
        leg = Leg()
        await rig.attach(leg)
        leg.say(*[RemoteProtocolError("what", "NOT_JSON")] * 3, audio(0))
        await quiet()

        assert rig.report.counts.totals()["protocol_errors"] == {"caller.NOT_JSON": 3}
        assert len(rig.told(BadCallerMessage)) == 1
        assert rig.passed_on() == [audio(0)]


MALFORMED = RemoteProtocolError("what", "NOT_JSON")


async def test_malformed_messages_are_too_many_beyond_a_burst_and_a_rate(autojump_clock: MockClock) -> None:
    async with line() as rig:
        leg = Leg()
        await rig.attach(leg)
        leg.say(*[MALFORMED] * MALFORMED_BURST)
        await quiet()
        for _ in range(100):
            await trio.sleep(1 / MALFORMED_PER_S + 0.001)
            leg.say(MALFORMED)
        await quiet()
        assert rig.taken == []

        leg.say(MALFORMED)
        await quiet()
        assert rig.taken == [TooManyMalformed()]


async def test_another_socket_of_the_caller_has_no_more_malformed_messages_than_the_first() -> None:
    async with line() as rig:
        for _ in range(2):
            leg = Leg()
            await rig.attach(leg)
            leg.say(*[MALFORMED] * (MALFORMED_BURST // 2 + 5))
            await quiet()

        assert TooManyMalformed() in rig.taken


async def test_messages_of_a_later_version_of_the_protocol_are_never_too_many() -> None:
    async with line() as rig:
        leg = Leg()
        await rig.attach(leg)
        for _ in range(10):
            leg.say(*[MessageUnsupported("what", "UNKNOWN_EVENT")] * MALFORMED_BURST)
            await quiet()

        assert rig.taken == []
        assert rig.report.counts.totals()["protocol_errors"] == {"caller.UNKNOWN_EVENT": 10 * MALFORMED_BURST}


@pytest.mark.parametrize("error", [LegLost("reset"), LegClosed(1000)])
async def test_a_caller_whose_socket_is_lost_is_waited_for_and_then_lost(
    error: Exception, autojump_clock: MockClock
) -> None:
    async with line() as rig:
        leg = Leg()
        await rig.attach(leg)
        await trio.sleep(1)
        leg.say(error)
        await quiet()
        lost_at = trio.current_time()
        assert (rig.line.leg, rig.playing.leg) == (None, None)
        await rig.over.wait()

        assert trio.current_time() - lost_at == pytest.approx(GRACE_S)
        assert rig.told(CallerLost) == [CallerLost(str(error))]
        assert len(rig.told(CallerNotBack)) == 1


async def test_a_caller_who_never_came_is_not_given_up_here(autojump_clock: MockClock) -> None:
    async with line() as rig:
        await trio.sleep(100 * GRACE_S)

        assert not rig.over.is_set()


async def test_the_next_socket_goes_on_and_its_audio_begins_a_new_stream(autojump_clock: MockClock) -> None:
    async with line() as rig:
        first, second = Leg(), Leg()
        await rig.attach(first)
        first.say(audio(0))
        await quiet()
        rig.playing.taken_back_ms = 140.0
        first.say(LegLost("reset"))
        await trio.sleep(GRACE_S - 1)
        await rig.attach(second)
        second.say(audio(1))
        await quiet()
        await trio.sleep(2 * GRACE_S)

        passed = rig.passed_on()
        assert [type(item) for item in passed] == [CallerAudio, NewStream, CallerAudio]
        assert rig.playing.leg is second
        assert rig.told(CallerReattached) == [CallerReattached(9000.0, replayed_ms=140)]
        assert not rig.over.is_set()


async def test_a_newer_socket_takes_the_place_of_one_that_still_stands_at_once() -> None:
    async with line() as rig:
        first, second = Leg(), Leg()
        await rig.attach(first)
        await quiet()
        with rig.line.lend(cast("CallerLeg", second)) as given_back:
            first.say(CallerGone(), audio(9))
            second.say(audio(1))
            await quiet()

            assert rig.taken == []
            assert [item for item in rig.passed_on() if isinstance(item, CallerAudio)] == [audio(1)]
            assert rig.playing.leg is second
            assert not given_back.is_set()
            assert len(rig.told(CallerLost)) == 1


async def test_the_end_of_a_socket_that_was_replaced_in_the_same_moment_is_no_loss_of_the_newer_one() -> None:
    async with line() as rig:
        first, second = Leg(), cast("CallerLeg", Leg())
        await rig.attach(first)
        await quiet()
        first.say(LegLost("reset"))
        with rig.line.lend(second):
            await quiet()

            assert rig.playing.leg is second
            assert rig.line.leg is not None
            assert rig.told(CallerLost) == [CallerLost("another stream of the caller took its place")]


async def test_a_socket_that_is_lost_is_given_back(autojump_clock: MockClock) -> None:
    async with line() as rig:
        leg = Leg()
        with rig.line.lend(cast("CallerLeg", leg)) as given_back:
            await quiet()
            assert not given_back.is_set()
            leg.say(LegLost("reset"))
            await quiet()
            assert given_back.is_set()


async def test_a_socket_that_its_endpoint_gives_up_is_lost(autojump_clock: MockClock) -> None:
    async with line() as rig:
        scope = await rig.attach(Leg())
        await quiet()
        scope.cancel()
        await quiet()

        assert rig.line.leg is None
        assert rig.told(CallerLost) == [CallerLost("its endpoint gave it up")]


async def test_an_attempt_to_come_back_prolongs_the_wait_and_only_so_many_are_granted(
    autojump_clock: MockClock,
) -> None:
    async with line() as rig:
        leg = Leg()
        await rig.attach(leg)
        leg.say(LegLost("reset"))
        await trio.sleep(GRACE_S - 1)
        assert rig.line.grant()
        assert rig.line.attempt_ages_s() == (0.0,)
        await trio.sleep(GRACE_S - 1)
        assert not rig.over.is_set()
        assert rig.line.grant()
        assert not rig.line.grant()
        assert len(rig.told(CallerNotBack)) == 1


async def test_attempts_that_another_process_granted_count() -> None:
    async with line(ages_s=(50.0, 10.0)) as rig:
        assert rig.line.attempt_ages_s() == pytest.approx((50.0, 10.0), abs=0.1)
        assert not rig.line.grant()


async def test_the_numbers_of_all_sockets_are_added_up() -> None:
    async with line() as rig:
        first = Leg(missing=3, reordered=2)
        await rig.attach(first)
        await quiet()
        first.say(LegLost("reset"))
        await quiet()
        await rig.attach(Leg(missing=10, reordered=20))

        assert (rig.line.messages_missing, rig.line.messages_reordered) == (13, 22)


async def test_a_call_that_is_over_gives_every_socket_back_at_once_and_grants_nothing() -> None:
    async with line() as rig:
        with rig.line.lend(cast("CallerLeg", Leg())) as given_back:
            rig.line.close()
            assert given_back.is_set()
        assert rig.playing.leg is None
        with rig.line.lend(cast("CallerLeg", Leg())) as given_back:
            assert given_back.is_set()

        assert not rig.line.grant()
        assert rig.told(CallerNotBack) == []
