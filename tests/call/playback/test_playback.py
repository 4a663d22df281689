"""Playback plays the assistant, the sound of an outage and the last words, and knows when all of it was heard."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from relay.call.playback.dialogue import Dialogue
from relay.call.playback.playback import COMFORT_QUEUED_MS, LAST_MARK_S, Playback, fence_rules
from relay.call.report.events import CallEvent
from relay.call.report.interruption_events import CallerSilenced, InterruptionSettled, PauseTakenBack
from relay.call.report.report import Report
from relay.config import BargeInConfig, Config
from relay.logic.assistant.conversation import Turn
from relay.logic.assistant.replay import ReplayLog
from relay.logic.assistant.sentences import Sentences
from relay.logic.playback.fence import FenceRules, FenceState
from relay.media.detector import Confirmed, Likely
from relay.media.frames import TELEPHONE, WIDEBAND, Audio
from relay.metrics import Metrics
from tests.support.caller_side import CallerSide, open_caller_side
from tests.support.callrig import config
from tests.support.numbered import numbered

COMFORT = numbered(900, 1)


class Rig:
    """Playback at work for a caller. `told` are the events of the call."""

    def __init__(self, settings: Config, earlier: Iterable[Turn]) -> None:
        self.report = Report("the-call", Metrics())
        self.told: list[CallEvent] = []
        self.dialogue = Dialogue(Sentences(ReplayLog(10_000), 4.0), earlier)
        self.playback = Playback(TELEPHONE, TELEPHONE, settings, self.dialogue, self.report)
        self.work = trio.CancelScope()
        self.side: CallerSide

    async def run(self) -> None:
        with self.work:
            await self.playback.run()

    @property
    def heard(self) -> bytes:
        return b"".join(self.side.audio_got)


@asynccontextmanager
async def open_rig(settings: Config | None = None, earlier: Iterable[Turn] = ()) -> AsyncIterator[Rig]:
    rig = Rig(settings or config(), earlier)
    with rig.report.listeners.listening(rig.told.append):
        async with open_caller_side(rig.playback.fence, capacity=100) as rig.side, trio.open_nursery() as nursery:
            nursery.start_soon(rig.run)
            rig.playback.speaker.attach(rig.side)
            yield rig
            nursery.cancel_scope.cancel()


async def played_out_after_s(rig: Rig) -> float:
    began_at = trio.current_time()
    await rig.playback.play_out()
    return trio.current_time() - began_at


async def test_a_pause_for_whose_end_less_time_is_left_than_before_ends_by_then(autojump_clock: MockClock) -> None:
    """A suspicion may pause for 700 ms; once it is sure, the assistant has 100 ms to agree."""
    async with open_rig(config(barge_in=BargeInConfig(min_words=1, agree_ms=100))) as rig:
        rig.playback.intake.push(numbered(0, 50))
        await trio.sleep(0.5)
        rig.playback.interrupter.caller_heard(Likely(0, 0), trio.current_time())
        await trio.sleep(0.05)
        rig.playback.interrupter.caller_heard(Confirmed(0, 0, 0), trio.current_time())
        await trio.sleep(1)

        assert rig.told == [PauseTakenBack(150)]


@pytest.mark.parametrize(
    ("earlier", "is_first"), [((), True), ((Turn("assistant", "Hello."), Turn("user", "Hi.")), False)]
)
async def test_in_a_call_that_another_process_began_nothing_is_the_first_message(
    earlier: tuple[Turn, ...], is_first: bool, autojump_clock: MockClock
) -> None:
    async with open_rig(config(barge_in=BargeInConfig(protect_first_message=True)), earlier) as rig:
        rig.playback.intake.push(numbered(0, 50))
        await trio.sleep(0.7)
        assert rig.playback.interrupter.assistant_activity().first_message is is_first
        rig.playback.interrupter.caller_heard(Likely(0, 0), trio.current_time())
        rig.playback.interrupter.caller_heard(Confirmed(0, 0, 0), trio.current_time())

        assert rig.playback.fence.state is (FenceState.OPEN if is_first else FenceState.HOLDING)


async def test_last_words_are_played_behind_all_else_in_the_callers_format(autojump_clock: MockClock) -> None:
    """They are the assistant's words: audible, though nobody sent them."""
    async with open_rig() as rig:
        rig.playback.intake.push(numbered(0, 5))
        tone = (8000 * np.sin(np.arange(3200) / 5)).astype("<i2").tobytes()
        rig.playback.say(Audio(WIDEBAND, tone))
        assert rig.playback.queued_ms == pytest.approx(300, abs=20)
        await trio.sleep(0.35)
        assert rig.playback.audible
        await trio.sleep(1)

        assert rig.heard.startswith(numbered(0, 5))
        assert len(rig.side.audio_got) == pytest.approx(15, abs=1)
        assert not rig.playback.audible


async def test_a_comfort_sound_waits_only_so_much_and_cannot_be_interrupted(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        for _ in range(50):
            rig.playback.comfort(COMFORT)

        assert rig.playback.queued_ms == COMFORT_QUEUED_MS
        assert not rig.playback.audible
        assert rig.report.counts.totals()["frames_invented"] == {"reconnect": COMFORT_QUEUED_MS // 20}
        await trio.sleep(1)
        assert rig.heard == COMFORT * 15


async def test_a_comfort_sound_waits_for_no_place_behind_the_assistant(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.playback.intake.push(numbered(0, 20))
        rig.playback.comfort(COMFORT)
        await trio.sleep(1)

        assert rig.heard == numbered(0, 20)


async def test_a_comfort_sound_is_not_torn_by_the_silence_of_an_assistant_that_is_back(
    autojump_clock: MockClock,
) -> None:
    """It is back, and listens to what it has missed: its silence comes in real time, like the sound."""
    sound = [bytes([number]) * 160 for number in range(1, 41)]
    async with open_rig() as rig:
        for frame in sound:
            rig.playback.comfort(frame)
            rig.playback.intake.push(TELEPHONE.silent_frame)
            await trio.sleep(0.02)
        rig.playback.intake.push(TELEPHONE.silent_frame + numbered(0, 3) + TELEPHONE.silent_frame + numbered(3, 3))
        await trio.sleep(1)

        assert rig.heard == b"".join(sound) + numbered(0, 3) + TELEPHONE.silent_frame + numbered(3, 3)
        assert rig.report.counts.totals()["frames_dropped"] == {"trimmed": 41}


async def test_the_silence_of_an_assistant_is_played_again_when_the_comfort_sound_is_over(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.playback.comfort(COMFORT)
        await trio.sleep(0.04)
        rig.playback.intake.push(TELEPHONE.silent_frame * 20)
        await trio.sleep(1)

        assert rig.heard == COMFORT + TELEPHONE.silent_frame * 20


async def test_what_a_comfort_sound_has_left_waiting_is_taken_back_in_the_next_pause(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.playback.comfort_over()
        rig.playback.intake.push(numbered(0, 2) + TELEPHONE.silent_frame * 20 + numbered(2, 2))
        await trio.sleep(2)

        assert rig.report.counts.totals()["frames_dropped"] == {"trimmed": 5}


async def test_a_mark_says_what_was_heard_unless_its_turn_was_cut(autojump_clock: MockClock) -> None:
    """After a cut the caller's side sends back the marks of what it has forgotten."""
    async with open_rig() as rig:
        rig.playback.intake.push(numbered(0, 50))
        rig.dialogue.assistant_said("one two three four", final=True)
        await trio.sleep(0.55)
        assert rig.playback.turns() == (Turn("assistant", "one", interrupted=True),)
        rig.playback.heard(1, 440)
        assert rig.playback.turns() == (Turn("assistant", "one two", interrupted=True),)
        rig.playback.interrupter.assistant_interrupted()
        rig.playback.intake.assistant_started(1)
        rig.playback.intake.push(numbered(100, 20))
        await trio.sleep(1)
        lingers = []
        for turn in (1, 2):
            rig.playback.heard(turn, 10_000)
            lingers.append(rig.playback.speaker.playout.lingers)

        assert lingers == [True, False]


async def test_the_mark_behind_a_clear_proves_silence_and_is_no_position(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.playback.intake.push(numbered(0, 50))
        await trio.sleep(0.7)
        rig.playback.interrupter.assistant_interrupted()
        name = str(rig.side.peer.seen[-1])
        rig.playback.intake.assistant_started(1)
        rig.playback.intake.push(numbered(100, 20))
        await trio.sleep(0.4)
        left_ms = rig.playback.speaker.playout.left_ms(trio.current_time())
        turn, position_ms = map(int, name.removeprefix("mark ").split(":"))
        rig.playback.heard(turn, position_ms)

        assert rig.told[-1] == CallerSilenced(1, onset_to_silent_ms=400.0, clear_to_silent_ms=400.0)
        assert rig.playback.speaker.playout.left_ms(trio.current_time()) == left_ms < 400


@pytest.mark.parametrize("mark_after_s", [0.0, 0.3, None])
async def test_all_was_heard_when_it_was_played_and_its_marks_are_back_or_do_not_come(
    mark_after_s: float | None, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        rig.playback.intake.push(numbered(0, 50) + numbered(50, 1)[:80])

        async def mark() -> None:
            await trio.sleep(1.22 + (mark_after_s or 0.0))
            rig.playback.heard(1, 1020)

        async with trio.open_nursery() as nursery:
            if mark_after_s is not None:
                nursery.start_soon(mark)
            took_s = await played_out_after_s(rig)

        assert len(rig.side.audio_got) == 51, "with the rest of the last frame"
        assert took_s == pytest.approx(1.22 + (LAST_MARK_S if mark_after_s is None else mark_after_s), abs=0.03)


async def test_where_nothing_was_said_there_is_nothing_to_wait_for(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        assert await played_out_after_s(rig) == 0


async def test_what_the_fence_holds_may_still_be_played(autojump_clock: MockClock) -> None:
    """The assistant ends the call after an interruption that it never noticed: all it said is heard first."""
    async with open_rig() as rig:
        rig.playback.intake.push(numbered(0, 250))
        await trio.sleep(0.7)
        rig.playback.interrupter.caller_heard(Likely(0, 0), trio.current_time())
        rig.playback.fence.cut(trio.current_time(), confirmed=False)
        rig.playback.fence.keep(rig.playback.speaker.playout.cut(trio.current_time()).unheard)
        took_s = await played_out_after_s(rig)

        assert rig.playback.fence.state is FenceState.OPEN
        assert took_s > FenceRules().false_alarm_s + 4, "it had sent far ahead, so its silence said nothing"
        assert rig.heard.endswith(numbered(249, 1))


async def test_deadlines_are_kept_though_nothing_happens(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.playback.intake.push(numbered(0, 50))
        await trio.sleep(0.7)
        rig.playback.interrupter.caller_heard(Likely(0, 0), trio.current_time())
        await trio.sleep(0.69)
        assert rig.told == []
        await trio.sleep(0.02)
        assert rig.told == [PauseTakenBack(700)]
        rig.playback.interrupter.assistant_interrupted()
        await trio.sleep(FenceRules().false_alarm_s + 0.01)

        assert isinstance(rig.told[-1], InterruptionSettled)
        assert rig.told[-1].by == "expired"


async def test_an_interruption_that_nobody_took_back_before_the_end_holds(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.playback.intake.push(numbered(0, 50))
        await trio.sleep(0.7)
        rig.playback.interrupter.assistant_interrupted()
        await trio.sleep(0.1)
        rig.work.cancel()
        await trio.sleep(0.1)

        assert isinstance(rig.told[-1], InterruptionSettled)
        assert rig.told[-1].by == "end"


def test_the_fence_waits_as_long_as_is_configured() -> None:
    assert fence_rules(BargeInConfig(old_turn_ms=1500, false_alarm_ms=1800, pause_ms=700)) == FenceRules(1.5, 1.8, 0.7)
    assert fence_rules(BargeInConfig()) == FenceRules()
