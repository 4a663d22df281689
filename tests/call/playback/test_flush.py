"""A flush takes all that was not heard, whoever found out that the caller interrupts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from relay.call.report.interruption_events import FalseAlarm, Interrupted, InterruptionSettled
from relay.logic.playback.fence import FenceState
from tests.support.caller_side import CallerSide, open_caller_side
from tests.support.numbered import numbered
from tests.support.playback_parts import Parts, playback_parts

NEW = 2000


@asynccontextmanager
async def open_rig() -> AsyncIterator[tuple[Parts, CallerSide]]:
    """Half a second of the assistant was heard, and as much waits."""
    with playback_parts() as parts:
        async with open_caller_side(parts.fence, capacity=100) as side, trio.open_nursery() as nursery:
            nursery.start_soon(parts.speaker.run)
            parts.speaker.attach(side)
            parts.intake.push(numbered(0, 50))
            await trio.sleep(0.701)
            yield parts, side
            nursery.cancel_scope.cancel()


async def test_a_cut_leaves_nothing_queued_and_its_clear_is_on_the_wire(autojump_clock: MockClock) -> None:
    async with open_rig() as (parts, side):
        before = len(side.peer.seen)
        parts.flush.cut(trio.current_time(), onset_at=None, agreed=True)

        assert side.peer.seen[before:] == ["clear", "mark 2:620"]
        assert (parts.queued, parts.fence.state) == (0, FenceState.CONFIRMED)


async def test_what_was_heard_last_is_kept_for_an_agreement(autojump_clock: MockClock) -> None:
    """400 ms before the cut, and then all that was not heard."""
    async with open_rig() as (parts, side):
        parts.flush.cut(trio.current_time(), onset_at=None, agreed=False)
        heard = len(side.audio_got)
        parts.intake.take_back(trio.current_time())
        await trio.sleep(2)

        assert b"".join(side.audio_got[heard:]) == numbered(5, 45)
        assert parts.told[-1] == FalseAlarm(1, by="agreement")


async def test_of_a_turn_that_was_not_heard_yet_an_agreement_brings_back_no_word_of_the_one_before(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as (parts, side):
        await trio.sleep(3)
        parts.intake.push(numbered(NEW, 50))
        parts.flush.cut(trio.current_time(), onset_at=None, agreed=False)
        heard = len(side.audio_got)
        parts.intake.take_back(trio.current_time())
        await trio.sleep(2)

        assert b"".join(side.audio_got[heard:]) == numbered(NEW, 50)


@pytest.mark.parametrize("between_s", [0.0, 0.1, 0.5])
async def test_an_agreement_soon_after_another_goes_back_no_further(
    between_s: float, autojump_clock: MockClock
) -> None:
    """What plays again, and was not heard again before the second cut, plays once more, and not twice."""
    async with open_rig() as (parts, side):
        parts.flush.cut(trio.current_time(), onset_at=None, agreed=False)
        parts.intake.take_back(trio.current_time())
        await trio.sleep(between_s)
        parts.flush.cut(trio.current_time(), onset_at=None, agreed=False)
        parts.intake.take_back(trio.current_time())
        await trio.sleep(2)
        arrived = [message for _, message in side.arrived]
        behind_clear = arrived[-arrived[::-1].index("clear") :]
        again = b"".join(message for message in behind_clear if isinstance(message, bytes))

        assert again in numbered(0, 50)
        assert again.endswith(numbered(49, 1))
        assert len(again) >= 160 * (20 + 5)


async def test_a_new_turn_after_an_agreement_flushes_what_plays_again_before_it_is_queued(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as (parts, side):
        parts.flush.cut(trio.current_time(), onset_at=None, agreed=False)
        parts.intake.take_back(trio.current_time())
        await trio.sleep(0.21)
        before = len(side.arrived)
        parts.intake.assistant_started(None)
        parts.intake.assistant_started(None)
        await trio.sleep(0.7)
        parts.intake.push(numbered(NEW, 10))
        await trio.sleep(1)
        after = [message for _, message in side.arrived][before:]

        assert after[0] == "clear"
        assert b"".join(message for message in after if isinstance(message, bytes)) == numbered(NEW, 10)
        told = [event for event in parts.told if not isinstance(event, FalseAlarm)]
        assert [type(event) for event in told] == [Interrupted, Interrupted, InterruptionSettled]
        assert parts.metric("relay_frames_stale_total") == 0
