"""The interrupter pauses, cuts and clears what the caller hears, each in one synchronous step."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from relay.call.report.events import CallEvent
from relay.call.report.interruption_events import (
    FalseAlarm,
    Interrupted,
    InterruptionSettled,
    LingeringCleared,
    PauseTakenBack,
)
from relay.config import BargeInConfig
from relay.logic.assistant.conversation import Turn
from relay.logic.playback.barge_in import PAUSE_MAX_S
from relay.logic.playback.fence import FenceState
from relay.logic.playback.frame import PlayFrame
from relay.media.detector import Confirmed, Decision, Ended, Likely, Rejected
from tests.support.caller_side import CallerSide, NoFence, open_caller_side
from tests.support.numbered import numbered
from tests.support.playback_parts import Parts, playback_parts

LIKELY, CONFIRMED, REJECTED, ENDED = Likely(0, 0), Confirmed(0, 0, 0), Rejected(0, 0), Ended(0, 0)
"""Their times are of the caller's audio, which means nothing here."""
NEW = 2000
"""The first frame of a turn that follows."""
ONSET_S = 0.1
"""How long ago the speech began on which the detector decides."""


@asynccontextmanager
async def open_rig(
    barge_in: BargeInConfig | None = None, *, capacity: int = 100, lag_s: float = 0.0, fenced: bool = True
) -> AsyncIterator[tuple[Parts, CallerSide]]:
    """The assistant has spoken for half a second to a caller who hears it, and as much waits to be played."""
    with playback_parts(barge_in) as parts:
        outbox_fence = parts.fence if fenced else NoFence()
        async with open_caller_side(outbox_fence, capacity=capacity) as side, trio.open_nursery() as nursery:
            nursery.start_soon(parts.speaker.run)
            parts.speaker.attach(side)
            parts.intake.push(numbered(0, 50))
            await trio.sleep(0.701)
            side.peer.slow_down(lag_s)
            yield parts, side
            nursery.cancel_scope.cancel()


def hear(parts: Parts, *decisions: Decision) -> None:
    for decision in decisions:
        parts.interrupter.caller_heard(decision, trio.current_time() - ONSET_S)


def interrupted(parts: Parts) -> Interrupted:
    (event,) = [event for event in parts.told if isinstance(event, Interrupted)]
    return event


async def test_a_suspicion_pauses_and_when_it_is_taken_back_nothing_is_lost(autojump_clock: MockClock) -> None:
    async with open_rig() as (parts, side):
        hear(parts, LIKELY)
        before = len(side.audio_got)
        await trio.sleep(0.3)
        assert len(side.audio_got) == before
        hear(parts, REJECTED)
        await trio.sleep(2)

        assert parts.told == [PauseTakenBack(300)]
        assert b"".join(side.audio_got) == numbered(0, 50)
        assert "clear" not in side.control_got


async def test_certainty_flushes_everything_and_its_clear_is_on_the_wire_before_any_other_task_runs(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as (parts, side):
        before = len(side.peer.seen)
        hear(parts, LIKELY, CONFIRMED)

        assert side.peer.seen[before:] == ["clear", "mark 2:620"]
        assert parts.queued == 0
        assert parts.fence.state is FenceState.HOLDING
        assert parts.fence.is_stale(1)
        assert parts.told == [
            Interrupted(
                turn=1, by="caller", onset_to_clear_ms=100.0, decide_to_clear_ms=0.0, flushed_ms=499.0, heard_ms=501.0
            )
        ]
        await trio.sleep(1)
        assert side.peer.seen[before:] == ["clear", "mark 2:620"]
        parts.interruptions.settled(None)
        settled = parts.told[-1]
        assert isinstance(settled, InterruptionSettled)
        assert settled.flushed_ms == pytest.approx(499)


async def test_of_a_sentence_that_is_cut_the_conversation_has_what_was_heard(autojump_clock: MockClock) -> None:
    async with open_rig() as (parts, _):
        parts.dialogue.assistant_said("one two three four", final=True)
        hear(parts, CONFIRMED)

        assert parts.dialogue.turns(0) == (Turn("assistant", "one two", interrupted=True),)


async def test_a_frame_that_waits_for_room_is_not_sent_behind_the_clear(autojump_clock: MockClock) -> None:
    """Nor is it if the outbox would let it pass."""
    async with open_rig(capacity=1, fenced=False) as (parts, side):
        side.peer.stop_reading()
        await trio.sleep(0.2)
        hear(parts, CONFIRMED)
        side.peer.read_again()
        await trio.sleep(1)

        at = [message for _, message in side.arrived].index("clear")
        assert [message for _, message in side.arrived][at:] == ["clear", "mark 2:680"]


async def test_the_assistants_word_cuts_and_is_its_agreement(autojump_clock: MockClock) -> None:
    """However often it says so, and whatever our detector finds out after it."""
    async with open_rig() as (parts, side):
        parts.interrupter.assistant_interrupted()
        parts.interrupter.assistant_interrupted()
        hear(parts, LIKELY, CONFIRMED)

        assert interrupted(parts).by == "assistant"
        assert side.peer.seen.count("clear") == 1
        assert parts.fence.state is FenceState.CONFIRMED


async def test_speech_that_was_over_when_its_pause_was_is_not_the_onset_of_a_later_interruption(
    autojump_clock: MockClock,
) -> None:
    """It was too short for words, and the assistant talked on."""
    async with open_rig(BargeInConfig(min_words=1)) as (parts, _):
        hear(parts, LIKELY, CONFIRMED, ENDED)
        await trio.sleep(1)
        parts.interrupter.expire(trio.current_time())
        await parts.speak(numbered(50, 100))
        parts.interrupter.assistant_interrupted()

        assert interrupted(parts).onset_to_clear_ms == 0
        assert parts.metric("relay_bargein_seconds_count") == 0


async def test_the_assistants_word_after_our_cut_is_its_agreement(autojump_clock: MockClock) -> None:
    async with open_rig() as (parts, side):
        hear(parts, CONFIRMED)
        parts.interrupter.assistant_interrupted()

        assert parts.fence.state is FenceState.CONFIRMED
        assert interrupted(parts).by == "caller"
        assert interrupted(parts).onset_to_clear_ms == pytest.approx(100)
        assert side.peer.seen.count("clear") == 1


async def test_until_the_fence_has_opened_no_other_interruption_begins(autojump_clock: MockClock) -> None:
    """Though something may be heard meanwhile: the last words of a call are ours."""
    async with open_rig() as (parts, side):
        hear(parts, CONFIRMED)
        await trio.sleep(1)
        parts.speaker.add([PlayFrame(parts.fence.turn, numbered(0, 1), audible=True)] * 50, trio.current_time())
        hear(parts, LIKELY, CONFIRMED)

        assert side.peer.seen.count("clear") == 1


@pytest.mark.parametrize("protect", [True, False])
async def test_the_first_message_is_protected_if_that_is_configured(protect: bool, autojump_clock: MockClock) -> None:
    async with open_rig(BargeInConfig(protect_first_message=protect)) as (parts, side):
        if protect:
            parts.interrupter.assistant_interrupted()
            hear(parts, LIKELY, CONFIRMED)
            assert "clear" not in side.peer.seen
            await trio.sleep(3)
            parts.intake.push(numbered(100, 50))
            await trio.sleep(0.701)
            assert parts.fence.turn == 2
        hear(parts, LIKELY, CONFIRMED)

        assert side.peer.seen.count("clear") == 1


async def test_with_words_asked_for_certainty_waits_for_so_many(autojump_clock: MockClock) -> None:
    async with open_rig(BargeInConfig(min_words=2)) as (parts, side):
        hear(parts, LIKELY, CONFIRMED)
        parts.interrupter.caller_words("wait")
        await trio.sleep(0.1)
        assert "clear" not in side.peer.seen
        parts.interrupter.caller_words("wait please")

        assert side.peer.seen.count("clear") == 1
        assert interrupted(parts).onset_to_clear_ms == pytest.approx(200), "from the onset, whoever decides"


async def test_a_pause_that_nobody_decides_about_ends_at_its_deadline(autojump_clock: MockClock) -> None:
    async with open_rig() as (parts, side):
        hear(parts, LIKELY)
        deadline = parts.interrupter.deadline
        assert deadline == trio.current_time() + PAUSE_MAX_S
        parts.interrupter.expire(deadline - 0.001)
        assert parts.told == []
        await trio.sleep_until(deadline)
        parts.interrupter.expire(deadline)
        await trio.sleep(2)

        assert parts.told == [PauseTakenBack(700)]
        assert parts.interrupter.deadline is None
        assert b"".join(side.audio_got) == numbered(0, 50)


@pytest.mark.parametrize(
    "before", [(), (LIKELY, REJECTED), (LIKELY, CONFIRMED, ENDED)], ids=["silence", "a cough", "speech in time"]
)
async def test_where_the_caller_did_not_interrupt_by_speaking_no_onset_is_told(
    before: tuple[Decision, ...], autojump_clock: MockClock
) -> None:
    """The assistant says that it was interrupted, and our detector knows only of speech that was over before."""
    async with open_rig(BargeInConfig(policy="assistant")) as (parts, _):
        hear(parts, *before)
        await trio.sleep(0.1)
        parts.interrupter.assistant_interrupted()

        assert interrupted(parts).onset_to_clear_ms == 0.0
        assert parts.metric("relay_bargein_seconds_count") == 0


async def test_speech_that_began_while_the_assistant_was_silent_is_no_onset(autojump_clock: MockClock) -> None:
    async with open_rig(BargeInConfig(policy="assistant")) as (parts, _):
        await trio.sleep(3)
        hear(parts, LIKELY, CONFIRMED)
        parts.intake.push(numbered(100, 50))
        await trio.sleep(0.5)
        parts.interrupter.assistant_interrupted()

        assert interrupted(parts).onset_to_clear_ms == 0.0


async def test_speech_before_the_assistants_word_is_the_onset(autojump_clock: MockClock) -> None:
    async with open_rig(BargeInConfig(policy="assistant")) as (parts, _):
        hear(parts, LIKELY, CONFIRMED)
        await trio.sleep(0.2)
        parts.interrupter.assistant_interrupted()

        assert interrupted(parts).onset_to_clear_ms == pytest.approx(300)


async def test_what_lingers_is_cleared_and_what_comes_next_is_played(autojump_clock: MockClock) -> None:
    """By the clock all was played, but no mark has come back. It is no interruption."""
    async with open_rig() as (parts, side):
        await trio.sleep(2)
        hear(parts, CONFIRMED)
        await trio.sleep(0.1)
        told: list[CallEvent] = list(parts.told)
        parts.intake.push(numbered(100, 10))
        await trio.sleep(1)

        assert told == [LingeringCleared(1, decide_to_clear_ms=0.0)]
        assert side.control_got[-2:] == ["mark 2:1000", "mark 2:1200"]
        assert side.control_got.count("clear") == 1
        assert b"".join(side.audio_got) == numbered(0, 50) + numbered(100, 10)
        assert parts.fence.is_stale(1)
        assert not parts.fence.is_stale(2)


async def test_when_all_was_played_and_marked_a_caller_who_speaks_changes_nothing(autojump_clock: MockClock) -> None:
    async with open_rig() as (parts, side):
        await trio.sleep(2)
        parts.speaker.playout.mark_heard(1000, trio.current_time())
        hear(parts, LIKELY, CONFIRMED)

        assert "clear" not in side.peer.seen
        assert parts.told == []


async def test_the_time_until_the_clear_left_is_told(autojump_clock: MockClock) -> None:
    """A socket that takes half a second for each message has one in hand."""
    async with open_rig(lag_s=0.5) as (parts, _):
        await trio.sleep(0.1)
        hear(parts, CONFIRMED)
        await trio.sleep(2)

        assert 400 <= interrupted(parts).decide_to_clear_ms <= 1000


SAID_MS = 400
"""The length of an "uh-huh", of whose end the detector learns 256 ms later."""


async def say_something_short(parts: Parts, words: str | None = "Uh-huh.") -> None:
    """The detector notices it at its beginning, the assistant in the middle. Returns when its end is known."""
    hear(parts, LIKELY, CONFIRMED)
    await trio.sleep(SAID_MS / 1000 - ONSET_S)
    if words is not None:
        parts.interrupter.caller_words(words)
    await trio.sleep(0.256)
    hear(parts, Ended(SAID_MS, SAID_MS + 256))


def expire(parts: Parts) -> None:
    parts.interrupter.expire(trio.current_time())


async def test_an_agreement_is_taken_back_half_a_second_after_its_end(autojump_clock: MockClock) -> None:
    """It plays from 400 ms before the cut on, so that the word that was cut is heard whole."""
    async with open_rig() as (parts, side):
        await say_something_short(parts)
        before = len(side.audio_got)
        assert parts.interrupter.deadline == pytest.approx(trio.current_time() + 0.5 - 0.256)
        expire(parts)
        assert [type(event) for event in parts.told] == [Interrupted]
        await trio.sleep(0.5 - 0.256)
        expire(parts)
        await trio.sleep(1)

        assert parts.told[-1] == FalseAlarm(1, by="agreement")
        assert parts.fence.state is FenceState.RETURNED
        assert b"".join(side.audio_got[before:]) == numbered(5, 45)
        assert parts.interrupter.deadline is None


async def test_how_far_it_goes_back_is_configured(autojump_clock: MockClock) -> None:
    async with open_rig(BargeInConfig(agreement_back_ms=0)) as (parts, side):
        await say_something_short(parts)
        before = len(side.audio_got)
        await trio.sleep(0.3)
        expire(parts)
        await trio.sleep(1)

        assert b"".join(side.audio_got[before:]) == numbered(25, 25)


@pytest.mark.parametrize(
    ("barge_in", "words"),
    [
        (BargeInConfig(), "stop"),
        (BargeInConfig(), None),
        (BargeInConfig(agreement="silence"), "no"),
        (BargeInConfig(agreement="off"), "uh-huh"),
        (BargeInConfig(agreement_words=("genau",)), "uh-huh"),
        (BargeInConfig(agreement_max_ms=300), "uh-huh"),
    ],
)
async def test_what_may_be_an_interruption_is_not_taken_back(
    barge_in: BargeInConfig, words: str | None, autojump_clock: MockClock
) -> None:
    async with open_rig(barge_in) as (parts, _):
        await say_something_short(parts, words)
        for _ in range(20):
            await trio.sleep(0.1)
            expire(parts)

        assert parts.fence.state is FenceState.HOLDING
        assert [type(event) for event in parts.told] == [Interrupted]


async def test_once_the_assistant_has_agreed_no_words_take_it_back(autojump_clock: MockClock) -> None:
    async with open_rig() as (parts, _):
        await say_something_short(parts)
        parts.interrupter.assistant_interrupted()
        await trio.sleep(0.5)
        expire(parts)
        parts.interrupter.caller_words("uh-huh")

        assert parts.fence.state is FenceState.CONFIRMED
        assert parts.interrupter.deadline is None


@pytest.mark.parametrize("says", ["that it was interrupted", "other words"])
async def test_what_was_taken_back_is_cut_again_when_the_assistant_says_otherwise(
    says: str, autojump_clock: MockClock
) -> None:
    """Whatever the debounce: what was cut before plays again by then."""
    async with open_rig(BargeInConfig(debounce_ms=2000)) as (parts, side):
        await say_something_short(parts)
        await trio.sleep(0.3)
        expire(parts)
        await trio.sleep(0.2)
        before = len(side.arrived)
        if says == "other words":
            parts.interrupter.caller_words("uh-huh stop")
        else:
            parts.interrupter.assistant_interrupted()
        await trio.sleep(1)

        assert [
            message for _, message in side.arrived[before:] if message == "clear" or isinstance(message, bytes)
        ] == ["clear"]
        assert parts.fence.state is (FenceState.HOLDING if says == "other words" else FenceState.CONFIRMED)
        assert [event.turn for event in parts.told if isinstance(event, Interrupted)] == [1, 2]


async def test_a_new_turn_instead_of_what_was_taken_back_waits_while_the_caller_may_be_speaking(
    autojump_clock: MockClock,
) -> None:
    """As any audio does."""
    async with open_rig() as (parts, side):
        await say_something_short(parts)
        await trio.sleep(0.3)
        expire(parts)
        await trio.sleep(0.2)
        hear(parts, LIKELY)
        parts.intake.assistant_started(None)
        parts.intake.assistant_started(None)
        before = len(side.audio_got)
        parts.intake.push(numbered(NEW, 10))
        await trio.sleep(0.4)
        assert len(side.audio_got) == before
        hear(parts, REJECTED)
        await trio.sleep(1)

        assert b"".join(side.audio_got[before:]) == numbered(NEW, 10)


async def test_once_all_of_it_was_heard_other_words_cut_nothing(autojump_clock: MockClock) -> None:
    async with open_rig() as (parts, side):
        await say_something_short(parts)
        await trio.sleep(0.3)
        expire(parts)
        await trio.sleep(1.2)
        parts.interrupter.caller_words("stop")

        assert side.control_got.count("clear") == 1
        assert parts.fence.is_open


@pytest.mark.parametrize("barge_in", [BargeInConfig(policy="both"), BargeInConfig(min_words=1)])
async def test_where_the_detector_only_pauses_an_agreement_ends_the_pause(
    barge_in: BargeInConfig, autojump_clock: MockClock
) -> None:
    async with open_rig(barge_in) as (parts, side):
        await say_something_short(parts)
        await trio.sleep(0.5 - 0.256)
        expire(parts)
        await trio.sleep(1)

        assert parts.told == [PauseTakenBack(800)]
        assert b"".join(side.audio_got) == numbered(0, 50)
        assert "clear" not in side.control_got
