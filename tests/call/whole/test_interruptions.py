"""Interruptions on a whole call: what the caller hears of the old turn, of the new one, and after a false alarm."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.call import calls
from relay.config import BargeInConfig
from relay.media.frames import FRAME_MS
from tests.support.callrig import MURMUR, SILENCE, TONE, Rig, open_rig
from tests.support.numbered import heard_frames, numbered, whole_and_in_order

NEW = 2000
"""The first frame of the turn after an interruption; the turn that was cut begins at 0."""
SPEAKS_AT_S = 2.0


async def interrupt(rig: Rig, *, sentence: int = 700, frames: int = 15) -> None:
    """The assistant speaks, and after 2 s the caller does."""
    await rig.begin()
    rig.assistant.say(numbered(0, sentence))
    await trio.sleep(SPEAKS_AT_S)
    rig.phone.say(TONE * frames)


def clears(rig: Rig) -> int:
    rig.phone.heard()
    return len(rig.phone.player.clears)


def holds_the_fence(rig: Rig) -> None:
    """What is true of every call, whatever happened in it."""
    assert rig.phone.player.warnings == []
    assert rig.metric("relay_frames_stale_total") == 0


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("phase", range(20))
async def test_nothing_of_the_old_turn_is_heard_after_the_clear(
    phase: int, many: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every offset of the caller's frames, and of the detector's windows, to the assistant's frames.

    With many calls five frames leave at once.
    """
    if many:
        monkeypatch.setattr(calls, "MANY_CALLS", 1)
    async with open_rig() as rig:
        await rig.begin(phase_s=phase / 1000)
        rig.assistant.say(numbered(0, 700))
        await trio.sleep(SPEAKS_AT_S + phase * 0.02)
        rig.phone.say(TONE * 15)
        await trio.sleep(2.1)
        rig.assistant.stop()
        await trio.sleep(1)
        rig.assistant.say(numbered(NEW, 50))
        await trio.sleep(3)

        assert clears(rig) == 1
        assert any((line.kind, line.n_bytes) == ("media", 800) for line in rig.phone.player.log) == many
        assert whole_and_in_order(rig.phone.heard_after_clear(), NEW, 50)
        assert [rig.call.fence.is_stale(turn) for turn in (1, 2)] == [True, False]
        holds_the_fence(rig)


@pytest.mark.parametrize("late_s", [0.1, 0.5, 1.0, 1.9])
@pytest.mark.parametrize("says", ["nothing", "user-interrupted", "all"])
async def test_an_old_turn_that_runs_on_is_not_heard_with_or_without_messages(
    says: str, late_s: float, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        await interrupt(rig)
        await trio.sleep(0.3)
        if says != "nothing":
            rig.assistant.interrupted()
        if says == "all":
            rig.assistant.speech("started", "user", turn=1)
            rig.assistant.speech("stopped", turn=0)
            rig.assistant.transcript("stop")
        await trio.sleep(late_s - 0.3 if late_s > 0.3 else 0)
        rig.assistant.stop()
        await trio.sleep(4)

        assert clears(rig) == 1
        assert heard_frames(rig.phone.heard_after_clear()) == []
        assert rig.event("call.started")["call_id"] == rig.event("bargein.flushed")["call_id"] == rig.call.id
        holds_the_fence(rig)


async def test_a_new_turn_is_heard_from_its_first_byte_when_the_assistant_announces_it(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        await interrupt(rig)
        await trio.sleep(0.4)
        rig.assistant.interrupted()
        await trio.sleep(0.2)
        rig.assistant.stop()
        await trio.sleep(0.4)
        rig.assistant.speech("started", turn=1)
        rig.assistant.say(numbered(NEW, 50))
        await trio.sleep(0.5)
        announced = rig.phone.heard_after_clear()
        await trio.sleep(2)

        assert heard_frames(announced)[0] == (NEW, 80)
        assert whole_and_in_order(rig.phone.heard_after_clear(), NEW, 50)
        holds_the_fence(rig)


async def test_after_a_false_alarm_the_whole_sentence_is_heard_and_soon(autojump_clock: MockClock) -> None:
    """The assistant never agrees: it goes on, so it was not meant."""
    async with open_rig() as rig:
        await interrupt(rig, sentence=350)
        await trio.sleep(11)
        clear_s = rig.phone.player.clears[0].at_s
        resumed = next(line.at_s for line in rig.phone.player.log if line.kind == "media" and line.at_s > clear_s)

        assert clears(rig) == 1
        assert whole_and_in_order(rig.phone.heard(), 0, 350, repeated_frames=1)
        assert resumed - clear_s <= 2.5
        assert rig.event("bargein.false")["turn"] == rig.event("bargein.flushed")["turn"]
        assert rig.call.summary()["interruptions_false"] == 1
        assert rig.call.summary()["interruptions_confirmed"] == 0
        assert rig.metric("relay_frames_dropped_total", cause="stale") == 0
        holds_the_fence(rig)


async def test_when_the_assistant_notices_first_its_word_flushes(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await interrupt(rig, frames=0)
        rig.assistant.interrupted()
        await trio.sleep(0.05)
        flushed = clears(rig)
        await trio.sleep(1.5)
        rig.assistant.stop()
        await trio.sleep(3)

        assert flushed == 1
        assert heard_frames(rig.phone.heard_after_clear()) == []
        assert rig.event("bargein.flushed")["by"] == "assistant"
        assert rig.metric("relay_bargein_seconds_count") == 0, "nobody knows when the caller began"
        holds_the_fence(rig)


@pytest.mark.parametrize("by", ["assistant", "caller", "both"])
async def test_five_interruptions_within_500_ms_are_one_flush(by: str, autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await interrupt(rig, frames=0)
        for _ in range(5):
            if by != "assistant":
                rig.phone.say(TONE * 4)
            if by != "caller":
                rig.assistant.interrupted()
            await trio.sleep(0.1)
        await trio.sleep(1)

        assert clears(rig) == 1
        assert len(rig.events("bargein.flushed")) == 1
        assert heard_frames(rig.phone.heard_after_clear()) == []


@pytest.mark.parametrize(("after_s", "count"), [(0.2, 1), (0.4, 2)])
async def test_within_the_debounce_time_a_new_turn_is_not_cut(
    after_s: float, count: int, autojump_clock: MockClock
) -> None:
    async with open_rig(barge_in=BargeInConfig(debounce_ms=300)) as rig:
        await interrupt(rig, frames=0)
        rig.assistant.interrupted()
        rig.assistant.stop()
        await trio.sleep(0.1)
        rig.assistant.speech("started", turn=1)
        rig.assistant.say(numbered(NEW, 100))
        await trio.sleep(after_s - 0.1)
        rig.assistant.interrupted()
        await trio.sleep(1)

        assert clears(rig) == count


async def test_a_protected_first_message_is_heard_whole_and_the_next_is_not_protected(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(barge_in=BargeInConfig(protect_first_message=True)) as rig:
        await interrupt(rig, sentence=200)
        await trio.sleep(0.5)
        rig.assistant.interrupted()
        await trio.sleep(4)
        first = rig.phone.heard()
        rig.assistant.say(numbered(NEW, 200))
        await trio.sleep(1)
        protected = clears(rig)
        rig.phone.say(TONE * 15)
        await trio.sleep(1)

        assert whole_and_in_order(first, 0, 200)
        assert protected == 0
        assert clears(rig) == 1


async def test_when_interrupting_is_off_nothing_interrupts(autojump_clock: MockClock) -> None:
    async with open_rig(barge_in=BargeInConfig(enabled=False)) as rig:
        await interrupt(rig, sentence=200)
        await trio.sleep(0.5)
        rig.assistant.interrupted()
        await trio.sleep(4)

        assert clears(rig) == 0
        assert whole_and_in_order(rig.phone.heard(), 0, 200)


@pytest.mark.parametrize(
    ("keys", "says", "count"),
    [
        ({"policy": "local"}, None, 1),
        ({"policy": "assistant"}, None, 0),
        ({"policy": "assistant"}, "user-interrupted", 1),
        ({"policy": "both"}, None, 0),
        ({"policy": "both"}, "user-interrupted", 1),
        ({"min_words": 2}, None, 0),
        ({"min_words": 2}, "wait", 0),
        ({"min_words": 2}, "wait a moment", 1),
        ({"min_words": 2}, "user-interrupted", 1),
    ],
)
async def test_who_decides_is_configured(
    keys: dict[str, Any], says: str | None, count: int, autojump_clock: MockClock
) -> None:
    """Who may not cut loses nothing: the whole sentence is heard. The onset is known whoever decides."""
    async with open_rig(barge_in=BargeInConfig(**keys)) as rig:
        await interrupt(rig, sentence=300)
        await trio.sleep(0.4)
        if says == "user-interrupted":
            rig.assistant.interrupted()
        elif says:
            rig.assistant.transcript(says)
        await trio.sleep(0.1)
        flushed = clears(rig)
        if count:
            rig.assistant.stop()
        await trio.sleep(8)

        assert flushed == clears(rig) == count
        if count == 0:
            assert whole_and_in_order(rig.phone.heard(), 0, 300)
        else:
            line = rig.event("bargein.flushed")
            assert line["by"] == ("assistant" if says == "user-interrupted" else "caller")
            assert 0 < line["onset_to_clear_ms"] < 500
            assert rig.metric("relay_bargein_seconds_count") == 1


@pytest.mark.parametrize("phase", range(0, 20, 3))
async def test_a_cough_takes_nothing_from_the_sentence(phase: int, autojump_clock: MockClock) -> None:
    """It pauses; how long is told. Not a byte is lost or repeated, and nothing is cleared."""
    async with open_rig() as rig:
        await rig.begin(phase_s=phase / 1000)
        rig.assistant.say(numbered(0, 250))
        await trio.sleep(SPEAKS_AT_S + phase * 0.02)
        rig.phone.say(MURMUR * 10)
        await trio.sleep(6)

        assert clears(rig) == 0
        assert whole_and_in_order(rig.phone.heard(), 0, 250)
        assert 50 <= rig.event("bargein.resumed")["paused_ms"] <= 700
        assert rig.call.summary()["interruptions_resumed"] == 1
        holds_the_fence(rig)


async def test_a_pause_with_an_empty_queue_ends_in_time(autojump_clock: MockClock) -> None:
    """All that is left plays at the caller's side, and nothing comes that would wake anybody."""
    async with open_rig(barge_in=BargeInConfig(policy="both")) as rig:
        await rig.begin()
        rig.assistant.silent_when_quiet = True
        rig.assistant.say(numbered(0, 100))
        await trio.sleep(2.1)
        rig.phone.say(TONE * 15)
        await trio.sleep(2)
        resumed = len(rig.events("bargein.resumed"))
        rig.assistant.say(numbered(NEW, 50))
        await trio.sleep(3)

        assert resumed == 1
        assert whole_and_in_order(rig.phone.heard()[3 * 8000 :], NEW, 50)


async def test_clear_is_sent_when_only_the_callers_side_still_holds_audio(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.silent_when_quiet = True
        rig.assistant.say(numbered(0, 50))
        while rig.call.queued_ms or not rig.phone.player.queued_ms:  # noqa: ASYNC110 - the test looks for the moment
            await trio.sleep(0.005)
        rig.assistant.interrupted()
        await trio.sleep(0.5)

        assert clears(rig) == 1
        assert rig.phone.player.clears[0].cleared_ms > 0
        assert heard_frames(rig.phone.heard_after_clear()) == []


@pytest.mark.parametrize("marks_come", [True, False])
async def test_clear_is_sent_while_marks_stay_away_though_all_should_be_played(
    *, marks_come: bool, autojump_clock: MockClock
) -> None:
    """By the marks the caller's side may hold audio. It is no interruption: what comes next is not held back."""
    async with open_rig() as rig:
        await rig.begin()
        rig.phone.mark_delay_s = lambda: 0.0 if marks_come and trio.current_time() < 2 else 1000.0
        rig.assistant.say(numbered(0, 100))
        await trio.sleep(4)
        rig.phone.say(TONE * 15)
        await trio.sleep(0.4)
        rig.assistant.say(numbered(NEW, 100))
        await trio.sleep(4)

        assert clears(rig) == 1
        assert [line["turn"] for line in rig.events("bargein.cleared")] == [1]
        assert rig.events("bargein.flushed") == rig.events("bargein.resumed") == []
        assert whole_and_in_order(rig.phone.heard()[: 4 * 8000], 0, 100)
        assert whole_and_in_order(rig.phone.heard()[4 * 8000 :], NEW, 100)
        assert [rig.call.fence.is_stale(turn) for turn in (1, 2)] == [True, False]
        holds_the_fence(rig)


async def test_clear_is_sent_once_for_what_lingers(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.phone.mark_delay_s = lambda: 1000.0
        rig.assistant.say(numbered(0, 100))
        await trio.sleep(4)
        for _ in range(3):
            rig.phone.say(TONE * 15)
            await trio.sleep(2)

        assert clears(rig) == 1


async def test_a_protected_first_message_that_lingers_is_not_cleared(autojump_clock: MockClock) -> None:
    async with open_rig(barge_in=BargeInConfig(protect_first_message=True)) as rig:
        await rig.begin()
        rig.phone.mark_delay_s = lambda: 1000.0
        rig.assistant.say(numbered(0, 100))
        await trio.sleep(4)
        rig.phone.say(TONE * 15)
        await trio.sleep(2)

        assert clears(rig) == 0


async def test_speech_while_the_assistant_is_silent_sends_nothing(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.phone.say(TONE * 50)
        await trio.sleep(2)

        assert clears(rig) == 0
        assert rig.events("bargein.flushed") == rig.events("bargein.resumed") == []


async def test_marks_that_come_back_because_of_the_clear_do_not_count_as_heard(autojump_clock: MockClock) -> None:
    """A false alarm plays again from where the caller really was."""
    async with open_rig() as rig:
        await interrupt(rig, sentence=350)
        while not rig.phone.player.clears:  # noqa: ASYNC110 - the test looks for the moment
            await trio.sleep(0.005)
        cleared_marks = rig.phone.player.clears[0].marks
        await trio.sleep(9)

        assert whole_and_in_order(rig.phone.heard(), 0, 350, repeated_frames=1)
        assert cleared_marks >= 0


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("delay_ms", [0, 30])
@pytest.mark.parametrize("speaks_after_s", [0.9, 2.0, 3.33])
async def test_the_log_says_what_was_heard_of_the_turn_that_was_cut(
    speaks_after_s: float, delay_ms: int, many: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within 40 ms of what the caller's side played; also in a second turn, after another interruption."""
    if many:
        monkeypatch.setattr(calls, "MANY_CALLS", 1)
    async with open_rig() as rig:
        await rig.begin()
        rig.phone.mark_delay_s = lambda: delay_ms / 1000
        for turn in range(2):
            await trio.sleep(3)
            rig.assistant.speech("started", turn=turn)
            rig.assistant.say(numbered(turn * NEW, 400))
            await trio.sleep(speaks_after_s)
            rig.phone.say(TONE * 15)
            await trio.sleep(0.4)
            rig.assistant.interrupted()
            rig.assistant.stop()
        await trio.sleep(3)
        heard_ms = [
            sum(pairs for number, pairs in heard_frames(rig.phone.heard()) if (number >= NEW) == turn) / 4
            for turn in (False, True)
        ]

        assert [line["heard_ms"] for line in rig.events("bargein.flushed")] == pytest.approx(heard_ms, abs=40)


async def test_each_interruption_is_proven(autojump_clock: MockClock) -> None:
    """Onset in the caller's audio, decision, `clear` on the wire, silence by the mark behind it."""
    async with open_rig() as rig:
        await interrupt(rig)
        rig.phone.mark_delay_s = lambda: 0.05
        await trio.sleep(1)
        line, silent = rig.event("bargein.flushed"), rig.event("bargein.silent")
        clear_ms = (rig.phone.player.clears[0].at_s - rig.phone.player.started_s) * 1000
        onset_came_ms = rig.event("speech.started")["onset_ms"] - FRAME_MS  # the phone sends a frame as it begins

        assert line["onset_to_clear_ms"] == pytest.approx(clear_ms - onset_came_ms, abs=1)
        assert line["decide_to_clear_ms"] == 0
        assert silent["clear_to_silent_ms"] == pytest.approx(50)
        assert silent["onset_to_silent_ms"] == pytest.approx(line["onset_to_clear_ms"] + 50)
        assert silent["turn"] == line["turn"] == 1
        assert rig.metric("relay_bargein_seconds_sum") == pytest.approx(line["onset_to_clear_ms"] / 1000)


async def test_an_interruption_that_nobody_took_back_before_the_end_counts_as_confirmed(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        await interrupt(rig)
        await trio.sleep(0.5)
        rig.phone.stop()
        await rig.until_over()
        ended = rig.event("call.ended")

        assert ended["interruptions_confirmed"] == 1
        assert ended["frames_dropped"]["stale"] >= 10


async def test_a_stuck_writer_gets_no_old_frame_through_after_the_clear(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 300))
        await trio.sleep(1.9)
        rig.phone.peer.stop_reading()
        await trio.sleep(0.1)
        rig.phone.say(TONE * 15)
        await trio.sleep(1)
        rig.phone.peer.read_again()
        await trio.sleep(0.5)

        assert clears(rig) == 1
        assert heard_frames(rig.phone.heard_after_clear()) == []
        assert rig.event("bargein.flushed")["decide_to_clear_ms"] > 500
        holds_the_fence(rig)


async def test_an_assistant_that_sends_faster_than_is_played_costs_the_oldest_limit_only(
    autojump_clock: MockClock,
) -> None:
    """The queue is bounded, and what did not fit is counted."""
    async with open_rig() as rig:
        await rig.begin()
        for first in range(0, 3900, 100):
            rig.assistant.send(numbered(first, 100))
        await trio.sleep(1)

        assert rig.call.queued_ms <= 60_000
        assert rig.call.summary()["frames_dropped"] == {"overflow": pytest.approx(3900 - 3000, abs=20)}
        assert rig.metric("relay_playout_buffer_seconds") == rig.call.queued_ms / 1000 > 50


async def test_a_hole_in_the_assistants_speech_is_counted_and_told(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.silent_when_quiet = True
        rig.assistant.say(numbered(0, 50))
        await trio.sleep(1.5)
        rig.assistant.say(numbered(50, 50))
        await trio.sleep(2)

        assert rig.event("playout.hole")["hole_ms"] == pytest.approx(500, abs=210)
        assert rig.metric("relay_playout_holes_total") == 1
        assert rig.metric("relay_frames_invented_total", cause="underrun")


async def test_the_end_of_an_interruption_is_silence_to_the_sample(autojump_clock: MockClock) -> None:
    """With resampling too: nothing of the old turn is left in a filter."""
    async with open_rig() as rig:
        await interrupt(rig)
        await trio.sleep(0.4)
        rig.assistant.stop()
        await trio.sleep(3)

        assert set(rig.phone.heard_after_clear()) <= set(SILENCE)


async def test_half_a_frame_of_the_old_turn_does_not_begin_the_next(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.silent_when_quiet = True
        rig.assistant.say(numbered(0, 100) + numbered(100, 1)[:80])
        await trio.sleep(1.98)
        rig.phone.say(TONE * 15)
        await trio.sleep(4)
        rig.assistant.send(numbered(NEW, 20))
        await trio.sleep(2)

        assert heard_frames(rig.phone.heard_after_clear())[0] == (NEW, 80)


@pytest.mark.parametrize("spoke", ["before the assistant did", "and stopped long ago"])
async def test_speech_that_did_not_interrupt_is_no_onset(spoke: str, autojump_clock: MockClock) -> None:
    async with open_rig(barge_in=BargeInConfig(policy="assistant")) as rig:
        await rig.begin()
        if spoke == "before the assistant did":
            rig.phone.say(TONE * 150)
            await trio.sleep(1)
        rig.assistant.say(numbered(0, 300))
        await trio.sleep(1)
        if spoke == "and stopped long ago":
            rig.phone.say(TONE * 15)
            await trio.sleep(2)
        rig.assistant.interrupted()
        await trio.sleep(0.5)

        assert rig.event("bargein.flushed")["onset_to_clear_ms"] == 0
        assert rig.metric("relay_bargein_seconds_count") == 0


async def test_the_last_word_is_marked(autojump_clock: MockClock) -> None:
    """So that what was heard is known exactly when all was."""
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.silent_when_quiet = True
        await trio.sleep(1)
        rig.assistant.say(numbered(0, 33))
        await trio.sleep(2)
        sent = sum(line.n_bytes for line in rig.phone.player.log if line.kind == "media")
        marks = [line.detail for line in rig.phone.player.log if line.kind == "mark-returned"]

        assert marks[-1].endswith(f":{sent // 8}")
