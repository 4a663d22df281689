"""The intake turns the assistant's chunks into frames, and does with them what the fence rules."""

import math

import pytest
import trio
from trio.testing import MockClock

from relay.call.playback.interruptions import Interruption
from relay.call.report.interruption_events import FalseAlarm, InterruptionSettled
from relay.config import BargeInConfig
from relay.logic.assistant.conversation import Turn
from relay.logic.playback.fence import FenceRules, FenceState
from relay.media.frames import TELEPHONE, WIDEBAND
from tests.support.numbered import numbered
from tests.support.playback_parts import Parts, playback_parts

SILENCE = b"\xff" * 160
RULES = FenceRules()
NEW = 1000
"""The first frame of the turn after an interruption."""


def played(parts: Parts) -> bytes:
    """What the caller gets to hear of all that is queued, once a socket is attached."""
    parts.speaker.playout.attach(0.0)
    now, heard = trio.current_time() + 1000, b""
    while (taken := parts.speaker.playout.take(now)) is not None:
        heard += taken.frame.data
        now += 0.02
    return heard


def interrupt(parts: Parts, *, agreed: bool = False) -> None:
    """Cut what is queued, as the interrupter does."""
    now = trio.current_time()
    flushed_ms = parts.speaker.playout.left_ms(now)
    parts.dialogue.cut(parts.speaker.playout.unheard(now))
    turn = parts.fence.cut(now, confirmed=agreed)
    parts.fence.keep(parts.speaker.playout.cut(now).unheard)
    parts.interruptions.began(Interruption(turn, now, now, 0.0, flushed_ms, agreed, (turn + 1, 0)))


@pytest.mark.parametrize("sizes", [[160], [1], [3, 1000, 7], [159, 161]])
async def test_chunks_of_any_length_become_frames_of_the_caller(sizes: list[int], autojump_clock: MockClock) -> None:
    audio = numbered(0, 10)
    with playback_parts() as parts:
        start = count = 0
        while start < len(audio):
            parts.intake.push(audio[start : start + sizes[count % len(sizes)]])
            start, count = start + sizes[count % len(sizes)], count + 1

        assert parts.metric("relay_frames_total", leg="assistant", direction="down") == 10
        assert played(parts) == audio


async def test_whether_a_chunk_can_be_heard_is_said(autojump_clock: MockClock) -> None:
    with playback_parts() as parts:
        assert parts.intake.push(SILENCE * 2 + numbered(0, 1) + SILENCE)
        assert not parts.intake.push(SILENCE * 3)
        assert not parts.intake.push(b"")


async def test_the_rest_of_a_frame_waits_until_no_more_will_come(autojump_clock: MockClock) -> None:
    with playback_parts() as parts:
        parts.intake.push(numbered(0, 1) + numbered(1, 1)[:80])
        assert parts.queued == 1
        parts.intake.finish()
        parts.intake.finish()

        assert played(parts) == numbered(0, 1) + numbered(1, 1)[:80] + SILENCE[:80]


async def test_more_is_wanted_as_it_comes_while_the_fence_decides_by_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with playback_parts() as parts:
        monkeypatch.setattr(parts.speaker, "wanted_at", lambda: 7.0)
        parts.intake.push(numbered(0, 20))
        assert parts.intake.wanted_at() == 7.0
        interrupt(parts)
        assert parts.intake.wanted_at() == -math.inf
    with playback_parts(BargeInConfig(policy="both")) as parts:
        monkeypatch.setattr(parts.speaker, "wanted_at", lambda: 7.0)
        assert parts.intake.wanted_at() == -math.inf, "what it says of an interruption is to be known at once"


async def test_another_assistant_may_send_another_format(autojump_clock: MockClock) -> None:
    """What has half arrived in a format that stays belongs to the stream that goes on."""
    with playback_parts() as parts:
        parts.intake.push(numbered(0, 1)[:80])
        parts.intake.listen_to(TELEPHONE)
        parts.intake.push(numbered(0, 1)[80:])
        assert parts.queued == 1
        parts.intake.listen_to(WIDEBAND)
        parts.intake.push(WIDEBAND.silent_frame * 10)

        assert parts.queued == pytest.approx(11, abs=1)


async def test_a_lost_assistant_leaves_what_is_queued_and_no_half_frame(autojump_clock: MockClock) -> None:
    with playback_parts() as parts:
        parts.intake.push(numbered(0, 3) + numbered(3, 1)[:80])
        parts.intake.assistant_lost()
        parts.intake.push(numbered(4, 2))

        assert played(parts) == numbered(0, 3) + numbered(4, 2)


@pytest.mark.parametrize("agreed", [False, True])
async def test_an_interruption_is_over_with_the_assistant_and_the_next_one_is_heard_at_once(
    agreed: bool, autojump_clock: MockClock
) -> None:
    """Nothing that it says is the tail of what was cut, however soon it comes."""
    with playback_parts() as parts:
        parts.intake.push(numbered(0, 3))
        interrupt(parts, agreed=agreed)
        parts.intake.push(numbered(3, 5))
        parts.intake.assistant_lost()
        parts.intake.push(numbered(NEW, 5))

        assert played(parts) == numbered(NEW, 5)
        assert parts.told == [InterruptionSettled(1, by="expired", flushed_ms=60.0)]
        assert parts.dropped == {"stale": 3 + 5}


async def test_a_hole_because_the_assistant_was_lost_does_not_make_the_buffer_larger(autojump_clock: MockClock) -> None:
    with playback_parts() as parts:
        playout = parts.speaker.playout
        playout.attach(trio.current_time())
        parts.intake.push(numbered(0, 10))
        while (at := playout.next_send_at()) is not None:
            playout.take(at)
        await trio.sleep(0.4)
        parts.intake.assistant_lost()
        await trio.sleep(0.3)
        parts.intake.push(numbered(10, 5))

        assert playout.next_send_at() == pytest.approx(trio.current_time() + 0.2)


async def test_what_comes_after_an_interruption_is_held_until_a_new_turn_begins(autojump_clock: MockClock) -> None:
    """What was flushed, and what was held of the old turn, counts as dropped then."""
    with playback_parts() as parts:
        parts.intake.push(numbered(0, 20))
        interrupt(parts, agreed=True)
        await parts.speak(numbered(20, 15))
        assert (parts.queued, parts.told, parts.dropped) == (0, [], {})
        await trio.sleep(2)
        parts.intake.push(numbered(NEW, 5))

        assert parts.told == [InterruptionSettled(1, by="new_turn", flushed_ms=400)]
        assert parts.dropped == {"stale": 20 + 15}
        assert played(parts) == numbered(NEW, 5)


async def test_of_a_turn_that_was_cut_the_conversation_keeps_what_was_heard(autojump_clock: MockClock) -> None:
    with playback_parts() as parts:
        parts.intake.push(numbered(0, 20))
        parts.dialogue.assistant_said("one two three", final=True)
        interrupt(parts, agreed=True)
        await trio.sleep(2)
        parts.intake.push(numbered(NEW, 5))
        parts.dialogue.assistant_said("what else", final=True)

        assert parts.dialogue.turns(0) == (Turn("assistant", "what else"),)


async def test_after_a_false_alarm_what_was_cut_is_played_first_and_nothing_is_dropped(
    autojump_clock: MockClock,
) -> None:
    with playback_parts() as parts:
        parts.intake.push(numbered(0, 20))
        parts.dialogue.assistant_said("one two three", final=True)
        interrupt(parts)
        await parts.speak(numbered(20, 200))

        assert parts.told == [FalseAlarm(1, by="assistant")]
        assert parts.dropped == {}
        assert parts.dialogue.turns(0) == (Turn("assistant", "one two three"),)
        assert parts.dialogue.turns(110) == (Turn("assistant", "one", interrupted=True),), "half of it is heard so far"
        assert played(parts) == numbered(0, 220)


async def test_after_a_false_alarm_playback_goes_on_at_once(autojump_clock: MockClock) -> None:
    with playback_parts() as parts:
        parts.speaker.playout.attach(trio.current_time())
        parts.intake.push(numbered(0, 20))
        interrupt(parts)
        woken_at: list[float] = []

        async def wait() -> None:
            await parts.speaker.changed.wait()
            woken_at.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await parts.speak(numbered(20, 150))

        assert woken_at
        due_at = parts.speaker.playout.next_send_at()
        assert due_at is not None
        assert due_at == woken_at[0]


async def test_half_a_frame_of_the_old_turn_does_not_begin_the_next(autojump_clock: MockClock) -> None:
    """It fell silent with half a frame sent; what comes after the deadline begins anew."""
    with playback_parts() as parts:
        parts.intake.push(numbered(0, 20))
        interrupt(parts)
        parts.intake.push(numbered(20, 1) + numbered(21, 1)[:80])
        await trio.sleep(RULES.false_alarm_s)
        parts.intake.expire(trio.current_time())
        parts.intake.push(numbered(NEW, 2))

        assert parts.told == [InterruptionSettled(1, by="expired", flushed_ms=400)]
        assert played(parts) == numbered(NEW, 2)


async def test_before_its_deadline_and_while_open_nothing_expires(autojump_clock: MockClock) -> None:
    with playback_parts() as parts:
        parts.intake.push(numbered(0, 20))
        parts.intake.expire(trio.current_time() + 1000)
        assert parts.queued == 20
        interrupt(parts)
        parts.intake.expire(trio.current_time() + RULES.false_alarm_s - 0.001)

        assert parts.told == []
        parts.intake.expire(trio.current_time() + RULES.false_alarm_s)
        assert parts.told == [InterruptionSettled(1, by="expired", flushed_ms=400)]


async def test_an_announced_turn_begins_in_the_conversation_before_its_sound(autojump_clock: MockClock) -> None:
    """Text comes before the sound of it, and must not be taken for the turn before."""
    with playback_parts() as parts:
        await parts.speak(numbered(0, 10))
        parts.dialogue.assistant_said("first", final=True)
        parts.intake.assistant_started(1)
        parts.dialogue.assistant_said("second", final=True)

        assert parts.dialogue.turns(0) == (Turn("assistant", "first"),)


async def test_an_announcement_that_the_fence_does_not_believe_begins_no_turn(autojump_clock: MockClock) -> None:
    with playback_parts() as parts:
        parts.intake.assistant_started(1)
        parts.intake.push(numbered(0, 10))
        parts.dialogue.assistant_said("first", final=True)
        interrupt(parts)
        parts.intake.assistant_started(1)
        assert parts.fence.state is FenceState.HOLDING
        parts.intake.assistant_started(2)
        parts.dialogue.assistant_said("second", final=True)
        parts.intake.push(numbered(NEW, 10))

        assert parts.told == [InterruptionSettled(1, by="new_turn", flushed_ms=200)]
        assert parts.dialogue.turns(0) == (Turn("assistant", "second"),)


async def test_after_it_said_that_it_stopped_a_shorter_pause_begins_a_turn(autojump_clock: MockClock) -> None:
    with playback_parts() as parts:
        await parts.speak(numbered(0, 20))
        interrupt(parts)
        await parts.speak(numbered(20, 10))
        parts.intake.assistant_stopped()
        await trio.sleep(RULES.new_turn_pause_s)
        parts.intake.push(numbered(NEW, 5))

        assert played(parts) == numbered(NEW, 5)
