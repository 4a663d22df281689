"""The decoder/VAD task: the caller's frames become the log for the assistant and windows for the speech detector.

Two loops that never wait for each other: audio goes to the log the moment it arrives, what the detector thinks of it
comes back later through the lane. When no audio comes for a while silence takes its place, every 20 ms, because the
assistant ends a call whose audio stops (Vapi, WebSocket transport): after `FLOW_AFTER_S` where the caller was silent,
as senders that leave out silence are, but after `FLOW_IN_SPEECH_S` within speech. There the network is late, and what
comes is the rest of the word.
"""

import math
from collections.abc import Callable

import trio

from relay.call.caller.leg import CallerAudio
from relay.call.caller.vad_engine import VadEngine, VadStream
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
from relay.media.frames import FRAME_MS, Audio, AudioFormat
from relay.media.gaps import MediaClock
from relay.media.packetizer import Packetizer
from relay.media.silero import WINDOW_SAMPLES
from relay.media.uplink import Uplink
from relay.media.windows import Window, WindowCutter

FLOW_AFTER_S = 0.1
FLOW_IN_SPEECH_S = 0.4
"""As late as mobile networks deliver at times."""
READING_MAX_S = 0.05
"""A late timer says that this process stood still, not that the caller sent nothing: what has come meanwhile is read
first, for as long as the timer was late and no longer than this."""
JUDGED_WITHIN_MS = 160
"""What the detector has not judged for longer may be speech; a pause begins with so much of itself in a replay."""
LOUD_DB = 6.0
"""Over the noise: what is quieter, and no speech, may be left out of a replay."""


class NewStream:
    """The timestamps of what follows begin anew; meanwhile silence was invented where it was needed."""


class Analysis:
    """`caller_heard` is told every decision of the detector, with the time on the clock at which speech began."""

    def __init__(
        self,
        source: AudioFormat,
        target: AudioFormat,
        vad: VadConfig,
        log_to: ReplayLog,
        sentences: Sentences,
        *,
        report: Report,
        reduce_noise: bool,
        audio_logged: Callable[[float], None],
        caller_heard: Callable[[Decision, float], None],
    ) -> None:
        self._source = source
        self._uplink = Uplink(source, target, vad.model_rate_hz, reduce_noise=reduce_noise)
        self._packetizer = Packetizer(target)
        self._windows = WindowCutter(WINDOW_SAMPLES[vad.model_rate_hz], vad.model_rate_hz)
        self._detector = Detector(detector_settings(vad))
        self._media_clock = MediaClock()
        self._replay = log_to
        self._sentences = sentences
        self._report = report
        self._counts = report.counts
        self._audio_logged = audio_logged
        self._caller_heard = caller_heard
        self._heard_ms = self._judged_ms = 0.0
        self._quiet_until_ms = -math.inf
        self._arrived_at = trio.current_time()
        self._last_media_at = trio.current_time()
        self.last_speech_at = trio.current_time()
        self._flow = trio.Event()

    def let_flow(self) -> None:
        """From now on, as the assistant listens, silence takes the place of missing audio."""
        self._flow.set()

    async def run(self, frames: trio.MemoryReceiveChannel[CallerAudio | NewStream], engine: VadEngine) -> None:
        """Work until cancelled. The detector's place in the lane is given back at the end."""
        with engine.stream(self._counts.vad_skipped) as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._judge, stream)
                nursery.start_soon(self._keep_flowing, stream)
                async for audio in frames:
                    self._take(audio, stream)

    def _take(self, audio: CallerAudio | NewStream, stream: VadStream) -> None:
        if isinstance(audio, NewStream):
            self._media_clock = MediaClock()
            return
        self._last_media_at = audio.arrived_at
        chunk = Audio(self._source, audio.data)
        place = self._media_clock.place(audio.timestamp_ms, chunk.duration_ms)
        if place.late:
            self._counts.dropped("late")
            return
        silent_frames = place.fill_ms // FRAME_MS
        self._counts.invented("gap", silent_frames)
        for _ in range(silent_frames):
            self._push(self._source.silent_frame, audio.arrived_at, stream)
        self._push(audio.data, audio.arrived_at, stream)

    async def _keep_flowing(self, stream: VadStream) -> None:
        await self._flow.wait()
        due = trio.current_time()
        while True:
            due = max(due, self._last_media_at + FLOW_AFTER_S)
            await trio.sleep_until(due)
            await trio.sleep(min(trio.current_time() - due, READING_MAX_S))
            if due < self._last_media_at + FLOW_AFTER_S:
                continue
            now, in_speech_until = trio.current_time(), self._last_media_at + FLOW_IN_SPEECH_S
            if now < in_speech_until and self._may_be_in_a_word():
                due = min(now + FLOW_AFTER_S, in_speech_until)
                continue
            self._counts.invented("keepalive")
            self._media_clock.note_invented(FRAME_MS)
            self._push(self._source.silent_frame, now, stream)
            due = max(due + FRAME_MS / 1000, now)

    def _push(self, data: bytes, arrived_at: float, stream: VadStream) -> None:
        self._heard_ms += self._source.duration_ms(len(data))
        self._arrived_at = arrived_at
        for_assistant, samples = self._uplink.push(Audio(self._source, data))
        for frame in self._packetizer.push(for_assistant):
            if cause := self._replay.append(frame, speech=self._may_be_speech()):
                self._counts.dropped(cause)
        self._audio_logged(arrived_at)
        for window in self._windows.push(samples):
            stream.submit(window)

    def _may_be_speech(self) -> bool:
        """Whether a replay must not leave out what is heard now: unless the detector keeps up and hears nothing."""
        return self._detector.state is not State.QUIET or self._may_be_in_a_word()

    def _may_be_in_a_word(self) -> bool:
        """Whether the newest that was heard is loud, or not judged yet."""
        return self._heard_ms - self._judged_ms > JUDGED_WITHIN_MS or self._detector.over_floor_db > LOUD_DB

    async def _judge(self, stream: VadStream) -> None:
        async for scored in stream.results:
            window = scored.window
            self._judged_ms = window.end_ms
            decision = self._detector.push(window.samples, scored.probability, window.end_ms)
            if self._detector.state is State.SPEAKING:
                self.last_speech_at = trio.current_time()
            self._note_pause(window)
            if decision is not None:
                self._tell(decision)

    def _note_pause(self, window: Window) -> None:
        """What was logged as possible speech, because the detector was behind, is a pause after all."""
        begins_ms = window.end_ms - WINDOW_MS
        if self._detector.state is not State.QUIET or self._detector.over_floor_db > LOUD_DB:
            self._quiet_until_ms = -math.inf
            return
        quiet_before = begins_ms <= self._quiet_until_ms
        from_frame = begins_ms // FRAME_MS if quiet_before else math.ceil(begins_ms / FRAME_MS)
        self._quiet_until_ms = window.end_ms
        self._replay.mark_pause(int(from_frame), int(window.end_ms // FRAME_MS))

    def _tell(self, decision: Decision) -> None:
        self._note_sentence(decision)
        match decision:
            case Likely(onset_ms=onset_ms) | Confirmed(onset_ms=onset_ms):
                self._caller_heard(decision, self._clock_time(onset_ms))
            case Rejected() | Ended():
                self._caller_heard(decision, trio.current_time())
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

    def _note_sentence(self, decision: Decision) -> None:
        match decision:
            case Likely(onset_ms=onset_ms):
                self._replay.mark_speech(int(onset_ms // FRAME_MS))
            case Confirmed(onset_ms=onset_ms):
                self._sentences.began(int(onset_ms // FRAME_MS))
            case Ended(at_ms=at_ms):
                self._sentences.ended(math.ceil(at_ms / FRAME_MS), trio.current_time())

    def _clock_time(self, media_ms: float) -> float:
        """When the sample at this media time reached us, on the clock."""
        return self._arrived_at - (self._heard_ms - media_ms) / 1000


def detector_settings(vad: VadConfig) -> DetectorSettings:
    """The detector as [vad] configures it."""
    return DetectorSettings(
        threshold=vad.threshold,
        model_gain_db=vad.model_gain_db,
        clear_evidence=vad.onset_evidence,
        hangover_ms=vad.hangover_ms,
    )
