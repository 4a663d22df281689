"""The model's answers become decisions, and all are told whom they concern: the call, the replay log, listeners."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from relay.call.caller.speech_detection import JUDGED_WITHIN_MS, SpeechDetection
from relay.call.caller.vad_engine import Scored
from relay.call.report.events import CallerPaused, CallerSpoke, CallEvent
from relay.call.report.report import Report
from relay.config import VadConfig
from relay.logic.assistant.replay import ReplayLog
from relay.logic.assistant.sentences import Sentences
from relay.media.detector import WINDOW_MS, Confirmed, Decision, Ended, Likely, Rejected
from relay.media.features import level_dbfs
from relay.media.windows import Window
from relay.metrics import Metrics

CLOCK_OF_MEDIA_S = 500.0
"""The caller's audio began at this time of the clock."""
SPEECH, DOUBT, NOTHING = (8000, 0.99), (8000, 0.55), (0, 0.0)
"""The level of a window, and the model's answer."""


class Rig:
    """One window follows the other, and each is judged as soon as it is over. All of it is in the replay log."""

    def __init__(self, vad: VadConfig) -> None:
        self.told: list[CallEvent | tuple[Decision, float]] = []
        self.report = Report("the-call", Metrics())
        self.replay = ReplayLog(60_000)
        self.sentences = Sentences(self.replay, 4.0)
        self.detection = SpeechDetection(
            vad,
            self.replay,
            self.sentences,
            self.report,
            clock_time=lambda media_ms: CLOCK_OF_MEDIA_S + media_ms / 1000,
            caller_heard=lambda decision, at: self.told.append((decision, at)),
        )
        self.heard_ms = 0.0

    def judge(self, count: int, window: tuple[int, float], voice_bound: float = math.inf) -> None:
        level, probability = window
        for _ in range(count):
            self.heard_ms += WINDOW_MS
            while self.frames_logged * 20 + 20 <= self.heard_ms:
                self.replay.append(b"")
            samples = np.full(512, level, np.int16) * np.tile([1, -1], 256).astype(np.int16)
            self.detection.take(Scored(Window(samples, self.heard_ms), level_dbfs(samples), probability, voice_bound))

    @property
    def frames_logged(self) -> int:
        return self.replay.cursor + self.replay.unread_ms // 20

    def left_out_of_a_replay(self) -> int:
        """Frames that a replay of all of it leaves out."""
        while self.replay.read().frame is not None:
            pass
        self.replay.rewind()
        left_out = 0
        while True:
            frame, skipped = self.replay.read()
            left_out += skipped
            if frame is None:
                return left_out

    @property
    def decisions(self) -> list[str]:
        return [type(one[0]).__name__ for one in self.told if isinstance(one, tuple)]


@contextmanager
def open_rig(vad: VadConfig | None = None) -> Iterator[Rig]:
    rig = Rig(vad or VadConfig())
    with rig.report.listeners.listening(rig.told.append):
        yield rig


async def test_the_call_hears_of_speech_at_the_time_it_began_and_before_any_log_line(
    autojump_clock: MockClock,
) -> None:
    """An interruption must not wait for the log."""
    with open_rig() as rig:
        rig.judge(10, NOTHING)
        rig.judge(10, SPEECH)
        (likely, likely_at), (confirmed, confirmed_at), spoke = rig.told  # type: ignore[misc]

        assert isinstance(likely, Likely)
        assert isinstance(confirmed, Confirmed)
        assert confirmed.onset_ms == pytest.approx(10 * WINDOW_MS, abs=WINDOW_MS)
        assert likely_at == confirmed_at == CLOCK_OF_MEDIA_S + confirmed.onset_ms / 1000
        assert isinstance(spoke, CallerSpoke)
        assert (spoke.onset_ms, spoke.likely_ms) == (round(confirmed.onset_ms), round(confirmed.likely_ms))
        assert spoke.decided_ms == round(confirmed.decided_ms)
        assert spoke.level_dbfs == pytest.approx(-12.2, abs=0.1)
        assert spoke.over_floor_db > 10


@pytest.mark.parametrize(
    ("ignore_coughs", "decisions"), [(True, ["Likely", "Rejected"]), (False, ["Likely", "Confirmed"])]
)
async def test_what_the_cough_probe_doubts_pauses_and_cuts_only_where_coughs_are_not_ignored(
    autojump_clock: MockClock, *, ignore_coughs: bool, decisions: list[str]
) -> None:
    with open_rig(VadConfig(ignore_coughs=ignore_coughs)) as rig:
        rig.judge(10, NOTHING)
        rig.judge(10, SPEECH, voice_bound=-3.0)
        rig.judge(5, NOTHING)

        assert rig.decisions == decisions


async def test_the_end_of_speech_is_told_as_of_now_with_its_times(autojump_clock: MockClock) -> None:
    with open_rig() as rig:
        rig.judge(10, SPEECH)
        await trio.sleep(7)
        rig.judge(10, NOTHING)
        (ended, at), paused = rig.told[-2:]  # type: ignore[misc]

        assert isinstance(ended, Ended)
        assert at == trio.current_time()
        assert paused == CallerPaused(at_ms=round(10 * WINDOW_MS), decided_ms=round(18 * WINDOW_MS))


async def test_a_suspicion_that_is_taken_back_is_told_as_of_now_and_to_the_call_alone(
    autojump_clock: MockClock,
) -> None:
    with open_rig() as rig:
        rig.judge(10, NOTHING)
        rig.judge(1, DOUBT)
        await trio.sleep(7)
        rig.judge(5, NOTHING)
        (_, _), (rejected, at) = rig.told  # type: ignore[misc]

        assert isinstance(rejected, Rejected)
        assert at == trio.current_time()


async def test_the_caller_was_last_known_to_speak_at_the_last_window_before_the_end(autojump_clock: MockClock) -> None:
    with open_rig() as rig:
        began_at = trio.current_time()
        await trio.sleep(3)
        rig.judge(1, SPEECH)
        assert rig.detection.last_speech_at == began_at, "one window is a suspicion"
        rig.judge(9, SPEECH)
        assert rig.detection.last_speech_at == began_at + 3
        await trio.sleep(1)
        rig.judge(20, NOTHING)
        await trio.sleep(1)
        rig.judge(1, NOTHING)

        assert rig.detection.last_speech_at == began_at + 4


async def test_only_what_was_judged_in_time_and_is_quiet_may_be_left_out_of_a_replay(
    autojump_clock: MockClock,
) -> None:
    with open_rig() as rig:
        assert not rig.detection.may_be_speech(JUDGED_WITHIN_MS)
        assert rig.detection.may_be_speech(JUDGED_WITHIN_MS + 20), "the detector is behind"
        rig.judge(10, NOTHING)
        assert not rig.detection.may_be_speech(rig.heard_ms + JUDGED_WITHIN_MS)
        rig.judge(1, (8000, 0.0))
        assert rig.detection.may_be_speech(rig.heard_ms), "it is loud, whatever it is"
        rig.judge(1, NOTHING)
        assert not rig.detection.may_be_speech(rig.heard_ms)


async def test_while_the_detector_suspects_or_hears_speech_a_quiet_moment_is_no_pause(
    autojump_clock: MockClock,
) -> None:
    with open_rig() as rig:
        rig.judge(10, NOTHING)
        rig.judge(10, SPEECH)
        rig.judge(2, NOTHING)

        assert rig.detection.may_be_speech(rig.heard_ms)


async def test_what_the_detector_has_not_heard_yet_is_quiet_by_the_noise_it_knows(autojump_clock: MockClock) -> None:
    with open_rig() as rig:
        rig.judge(100, (300, 0.0))

        assert rig.detection.is_quiet(np.full(320, 300, np.int16))
        assert rig.detection.is_quiet(np.zeros(320, np.int16))
        assert not rig.detection.is_quiet(np.full(320, 3000, np.int16))


async def test_a_sentence_begins_with_certainty_and_ends_with_its_last_sound(autojump_clock: MockClock) -> None:
    with open_rig() as rig:
        rig.judge(10, NOTHING)
        rig.judge(1, SPEECH)
        seen = [(rig.sentences.unfinished, rig.sentences.running)]
        rig.judge(9, SPEECH)
        while rig.replay.read().frame is not None:
            pass
        seen.append((rig.sentences.unfinished, rig.sentences.running))
        rig.judge(10, NOTHING)
        seen.append((rig.sentences.unfinished, rig.sentences.running))

        assert seen == [(False, False), (True, True), (True, False)], "all of it was sent before its end was known"


@pytest.mark.parametrize(("windows", "left_out"), [(9, 0), (50, 80 - 15), (100, 160 - 15)])
async def test_what_was_judged_quiet_is_left_out_of_a_replay(
    windows: int, left_out: int, autojump_clock: MockClock
) -> None:
    """300 ms of it stay, in whole frames: of the frames that two windows share none is missed."""
    with open_rig() as rig:
        rig.judge(windows, NOTHING)

        assert rig.left_out_of_a_replay() == left_out


async def test_what_was_judged_a_pause_is_none_since_the_onset_of_a_suspicion(autojump_clock: MockClock) -> None:
    """The onset lies up to 256 ms back: the model has heard something since then, and nothing was loud."""
    with open_rig() as rig:
        rig.judge(50, NOTHING)
        rig.judge(10, (0, 0.3))
        rig.judge(1, (0, 0.55))
        pause_frames = (61 * 32 - 256) // 20

        assert rig.decisions == ["Likely"]
        assert rig.left_out_of_a_replay() == pause_frames - 15


async def test_speech_and_what_is_loud_stay_in_a_replay(autojump_clock: MockClock) -> None:
    with open_rig() as rig:
        rig.judge(10, NOTHING)
        rig.judge(30, SPEECH)
        rig.judge(30, (8000, 0.0))

        assert rig.left_out_of_a_replay() == 0


async def test_the_detector_is_as_configured(autojump_clock: MockClock) -> None:
    """A threshold over all answers hears nothing; more evidence takes longer; a longer hangover ends later."""
    with open_rig(VadConfig(threshold=0.9)) as rig:
        rig.judge(10, NOTHING)
        rig.judge(10, (8000, 0.89))
        assert rig.decisions == []
    with open_rig(VadConfig(onset_evidence=12)) as rig:
        rig.judge(10, NOTHING)
        rig.judge(4, SPEECH)
        assert rig.decisions == ["Likely"]
        rig.judge(1, SPEECH)
        assert rig.decisions == ["Likely", "Confirmed"]
    with open_rig(VadConfig(hangover_ms=1000)) as rig:
        rig.judge(10, SPEECH)
        rig.judge(31, NOTHING)
        assert rig.decisions[-1] == "Confirmed"
        rig.judge(1, NOTHING)
        assert rig.decisions[-1] == "Ended"
