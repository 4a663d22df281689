"""Turns the model's answers into decisions about the caller's speech, and tells all whom they concern.

Times of the caller's audio are milliseconds since the call began, silence that was put in included; they are numbers of
20 ms frames in the replay log at the same time.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from relay.call.caller.vad_engine import Scored
from relay.call.report.events import CallerPaused, CallerSpoke
from relay.call.report.report import Report
from relay.config import VadConfig
from relay.logic.assistant.replay import ReplayLog
from relay.logic.assistant.sentences import Sentences
from relay.media.detector import (
    WINDOW_MS,
    Confirmed,
    Decision,
    Detector,
    DetectorSettings,
    Ended,
    Likely,
    Rejected,
    State,
)
from relay.media.features import SILENCE_DBFS, level_dbfs
from relay.media.frames import FRAME_MS
from relay.wakeup import current_time

JUDGED_WITHIN_MS = 160
"""What is heard so long after the last that was judged may be speech."""
LOUD_DB = 6.0
"""Over the noise: what is quieter, and no speech, may be left out of a replay."""

CallerHeard = Callable[[Decision, float], None]
"""Told every decision, with the time on the clock at which the speech began."""


class SpeechDetection:
    """One per call. `clock_time` says when the sample at a time of the caller's audio reached us."""

    def __init__(
        self,
        vad: VadConfig,
        replay: ReplayLog,
        sentences: Sentences,
        report: Report,
        *,
        clock_time: Callable[[float], float],
        caller_heard: CallerHeard,
    ) -> None:
        self._detector = Detector(detector_settings(vad))
        self._replay = replay
        self._sentences = sentences
        self._report = report
        self._clock_time = clock_time
        self._caller_heard = caller_heard
        self._judged_ms = 0.0
        self._quiet_until_ms = -math.inf
        self.last_speech_at = current_time()

    @property
    def speaking(self) -> bool:
        """Whether the detector is sure that the caller speaks."""
        return self._detector.state is State.SPEAKING

    @property
    def level_dbfs(self) -> float:
        """The level of the last window; that of silence before the first."""
        return self._detector.level_dbfs if self._judged_ms else SILENCE_DBFS

    def may_be_speech(self, heard_ms: float) -> bool:
        """Whether what is heard now, at this time of the caller's audio, must not be left out.

        Only a detector that keeps up, hears no speech, and nothing louder than the noise, says that it may.
        """
        is_behind = heard_ms - self._judged_ms > JUDGED_WITHIN_MS
        return is_behind or self._detector.state is not State.QUIET or self._detector.over_floor_db > LOUD_DB

    def is_quiet(self, samples: NDArray[np.int16]) -> bool:
        """Whether these, which the detector has not heard yet, are no louder than the noise of the line."""
        floor_dbfs = self._detector.level_dbfs - self._detector.over_floor_db
        return level_dbfs(samples) <= floor_dbfs + LOUD_DB

    def take(self, scored: Scored) -> Decision | None:
        """The model's answer for the next window. Returns what follows from it, if anything does: all whom it concerns
        know that by then."""
        window = scored.window
        self._judged_ms = window.end_ms
        decision = self._detector.push(scored.level_dbfs, scored.probability, window.end_ms, scored.voice_bound)
        if self._detector.state is State.SPEAKING:
            self.last_speech_at = current_time()
        if self._detector.state is State.QUIET and self._detector.over_floor_db <= LOUD_DB:
            self._note_pause(window.end_ms)
        else:
            self._quiet_until_ms = -math.inf
        if decision is not None:
            self._note_sentence(decision)
            self._tell(decision)
        return decision

    def _note_pause(self, end_ms: float) -> None:
        """A window that is no speech, and not loud, is part of a pause; so is a frame that two such windows share."""
        begins_ms = end_ms - WINDOW_MS
        quiet_before = begins_ms <= self._quiet_until_ms
        from_frame = begins_ms // FRAME_MS if quiet_before else math.ceil(begins_ms / FRAME_MS)
        self._quiet_until_ms = end_ms
        self._replay.mark_pause(int(from_frame), int(end_ms // FRAME_MS))

    def _note_sentence(self, decision: Decision) -> None:
        match decision:
            case Likely(onset_ms=onset_ms):
                self._replay.mark_speech(int(onset_ms // FRAME_MS))
            case Confirmed(onset_ms=onset_ms):
                self._sentences.began(int(onset_ms // FRAME_MS))
            case Ended(at_ms=at_ms):
                self._sentences.ended(math.ceil(at_ms / FRAME_MS), current_time())

    def _tell(self, decision: Decision) -> None:
        """An interruption cannot wait for a log line, so that comes second."""
        match decision:
            case Likely(onset_ms=onset_ms) | Confirmed(onset_ms=onset_ms):
                self._caller_heard(decision, self._clock_time(onset_ms))
            case Rejected() | Ended():
                self._caller_heard(decision, current_time())
        match decision:
            case Confirmed(onset_ms=onset_ms, likely_ms=likely_ms, decided_ms=decided_ms):
                self._report.tell(
                    CallerSpoke(
                        onset_ms=round(onset_ms),
                        likely_ms=round(likely_ms),
                        decided_ms=round(decided_ms),
                        level_dbfs=round(self._detector.level_dbfs, 1),
                        over_floor_db=round(self._detector.over_floor_db, 1),
                    )
                )
            case Ended(at_ms=at_ms, decided_ms=decided_ms):
                self._report.tell(CallerPaused(at_ms=round(at_ms), decided_ms=round(decided_ms)))


def detector_settings(vad: VadConfig) -> DetectorSettings:
    """The detector as [vad] configures it."""
    return DetectorSettings(
        ignore_coughs=vad.ignore_coughs,
        threshold=vad.threshold,
        model_gain_db=vad.model_gain_db,
        clear_evidence=vad.onset_evidence,
        hangover_ms=vad.hangover_ms,
    )
