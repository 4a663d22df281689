"""The task that turns the caller's frames into the assistant's log, and into windows for the speech detector.

Neither waits for the other: audio goes to the log the moment it arrives, the detector's opinion of it comes back later
from the lane.

The assistant ends a call whose audio stops (Vapi, WebSocket transport). So when no audio has come for `FLOW_AFTER_S`,
silence takes its place from then on, for the time that has passed as well. Until then it may be the network that is
late, and what comes is the rest of a word. Audio that was later still is not dropped: it follows the silence, and what
was too much of that is left out of the pauses behind it (see `relay.media.gaps`), so that the assistant does not
hear the caller later and later.
"""

from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Literal

import numpy as np
import trio
from numpy.typing import NDArray

from relay.call.caller.leg import CallerAudio
from relay.call.caller.recent_audio import RecentAudio
from relay.call.caller.speech_detection import CallerHeard, SpeechDetection
from relay.call.caller.vad_engine import Scored, SpeechLane, WindowQueue
from relay.call.report.events import CallerEchoFound, CallerEchoGone
from relay.call.report.report import Report
from relay.config import Config
from relay.logic.assistant.replay import ReplayLog
from relay.logic.assistant.sentences import Sentences
from relay.media.detector import Likely
from relay.media.echo_control import EchoFound, EchoGone
from relay.media.far_end import FarEnd
from relay.media.frames import FRAME_MS, TELEPHONE, Audio, AudioFormat
from relay.media.gaps import MediaClock
from relay.media.remake import PairPacketizer
from relay.media.silero import WINDOW_SAMPLES
from relay.media.uplink import Uplink
from relay.media.windows import WindowCutter
from relay.wakeup import COARSE_S, coarse, current_time, sleep_until, turn
from relay.weak import weakly

FLOW_AFTER_S = 0.4
"""As late as mobile networks deliver at times."""
SHORTEST_PAUSE_MS = 300
"""A pause from which silence is left out keeps so much, as in a replay."""
LOST_MAX_FRAMES = 50
"""Echoes are looked for through a loss of so much; after a longer one the line is as good as new."""
READING_MAX_S = 0.05
"""A late timer says that this process stood still, not that the caller sent nothing: what has come meanwhile is read
first, for as long as the timer was late and no longer than this."""


class NewStream:
    """A sign between two frames: the caller has a new socket, whose timestamps begin anew. The time in between is no
    gap: silence was put in where it was needed."""


class Analysis:
    """One per call. `source` is the caller's format, `target` that of the replay log.

    `audio_logged` is told when what is new in the log reached us, `caller_heard` every decision of the detector.
    """

    def __init__(
        self,
        source: AudioFormat,
        target: AudioFormat,
        replay: ReplayLog,
        sentences: Sentences,
        *,
        config: Config,
        report: Report,
        audio_logged: Callable[[float], None],
        caller_heard: CallerHeard,
    ) -> None:
        rate_hz = config.vad.model_rate_hz
        self._source = source
        echo = config.audio.echo if source == TELEPHONE else "off"
        self._uplink = Uplink(source, target, rate_hz, reduce_noise=config.audio.noise_reduction != "off", echo=echo)
        self.far_end = FarEnd(source) if echo != "off" else None
        """To be told what is sent to the caller, where echoes are looked for."""
        self._packetizer = PairPacketizer(source, target)
        self._windows = WindowCutter(WINDOW_SAMPLES[rate_hz], rate_hz)
        self._media_clock = MediaClock()
        self._replay = replay
        self._detection = SpeechDetection(
            config.vad, replay, sentences, report, clock_time=weakly(self._clock_time), caller_heard=caller_heard
        )
        self.recent = RecentAudio(rate_hz) if config.barge_in.classifier else None
        self._report = report
        self._counts = report.counts
        self._audio_logged = audio_logged
        self._heard_ms = 0.0
        self._pause_ms = 0.0
        self._has_cut = False
        """Something was left out in front of what comes next."""
        self._made_up_ms = 0
        self._arrived_at = self._last_media_at = self._covered_until = current_time()
        self._flow = trio.Event()
        self._waiting: WindowQueue | None = None
        """The detector's queue, while the task waits for audio, and the channel is empty."""

    @property
    def last_speech_at(self) -> float:
        """When the caller was last known to speak."""
        return self._detection.last_speech_at

    @property
    def speaking(self) -> bool:
        """Whether the detector is sure that the caller speaks."""
        return self._detection.speaking

    @property
    def level_dbfs(self) -> float:
        """The level of what the detector heard last."""
        return self._detection.level_dbfs

    def let_flow(self) -> None:
        """From now on, as the assistant listens, silence takes the place of missing audio."""
        self._flow.set()

    async def run(self, frames: trio.MemoryReceiveChannel[CallerAudio | NewStream], engine: SpeechLane) -> None:
        """Work until cancelled. The detector's place in the lane is given back at the end."""
        own = copy_context()  # the lane has a task of its own
        with engine.stream(lambda scored: own.run(self._judge, scored), lambda: own.run(self._skip)) as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.raise_failure)
                nursery.start_soon(self._keep_flowing, stream)
                while True:
                    self._take(await self._next(frames, stream), stream)

    async def _next(
        self, frames: trio.MemoryReceiveChannel[CallerAudio | NewStream], stream: WindowQueue
    ) -> CallerAudio | NewStream:
        try:
            return frames.receive_nowait()
        except trio.WouldBlock:
            self._waiting = stream
        try:
            return await frames.receive()
        finally:
            self._waiting = None

    def take_now(self, audio: CallerAudio | NewStream) -> bool:
        """Use this in this instant if the task waits for it, as nearly always: it need not be woken for a frame.

        False: nothing was done, and it has to go through the channel, behind what is there.
        """
        if self._waiting is None:
            return False
        self._take(audio, self._waiting)
        return True

    def _judge(self, scored: Scored) -> None:
        if (recording := self._report.recording) is not None:
            recording.speech_score(scored.window.end_ms, scored.probability, scored.voice_bound)
        if self.recent is not None:
            self.recent.push(scored.window.samples)
        if isinstance(self._detection.take(scored), Likely):
            self._uplink.look_for_echo()

    def _skip(self) -> None:
        if (recording := self._report.recording) is not None:
            recording.speech_skipped()
        self._counts.vad_skipped()

    def _take(self, audio: CallerAudio | NewStream, stream: WindowQueue) -> None:
        if isinstance(audio, NewStream):
            self._media_clock = MediaClock()
            self._use(*self._uplink.new_stream(), self._arrived_at, stream)
            if self.far_end is not None:
                self.far_end.new_stream()
            return
        self._counts.frame("caller", "up")
        if (recording := self._report.recording) is not None:
            recording.from_caller(audio.arrived_at, audio.stamp_ms, audio.missing, audio.data)
        self._last_media_at = self._covered_until = audio.arrived_at
        size = len(audio.data)
        duration_ms = self._source.duration_ms(size)
        stamp_ms = audio.arrived_at * 1000 if audio.stamp_ms is None else audio.stamp_ms
        silence_ms = self._media_clock.place(stamp_ms, duration_ms, audio.missing)
        lost = min(audio.missing * size, LOST_MAX_FRAMES * self._source.frame_bytes) if audio.missing else 0
        far = self.far_end.played(lost + size, audio.arrived_at) if self.far_end is not None and size else None
        if audio.missing:
            self._fill_gap(round(silence_ms / FRAME_MS), far[:lost] if far else b"", audio.arrived_at, stream)
            far = far[lost:] if far else None
        if size:
            self._push(audio.data, duration_ms, audio.arrived_at, stream, far=far, sent_by_caller=True)

    def _fill_gap(self, silent_frames: int, played: bytes, arrived_at: float, stream: WindowQueue) -> None:
        """Put so much silence in the place of messages that are missing. `played` is what was played while they were
        recorded; empty for silence."""
        self._counts.invented("gap", silent_frames)
        frame_bytes = self._source.frame_bytes
        lost = deque(played[at : at + frame_bytes] for at in range(0, len(played), frame_bytes))
        for _ in range(silent_frames):
            is_whole = bool(lost) and len(lost[0]) == frame_bytes
            self._push_silence(arrived_at, stream, far=lost.popleft() if is_whole else None)
        for piece in lost:
            waited = self._uplink.lost(Audio(self._source, piece))
            if self._uplink.news is not None:
                self._tell_of_echo()
            self._use(*waited, arrived_at, stream)

    def _tell_of_echo(self) -> None:
        match self._uplink.news:
            case EchoFound(loss_db=loss_db, delay_ms=delay_ms, has_canceller=has_canceller):
                removed_by: Literal["canceller", "level"] = "canceller" if has_canceller else "level"
                self._report.tell(CallerEchoFound(round(loss_db, 1), round(delay_ms), removed_by))
            case EchoGone():
                self._report.tell(CallerEchoGone())

    async def _keep_flowing(self, stream: WindowQueue) -> None:
        await self._flow.wait()
        await turn("flow_begins")  # what has come before it decides when silence is first put in
        self._covered_until = max(self._covered_until, current_time())
        while True:
            due = max(coarse(self._last_media_at + FLOW_AFTER_S), self._covered_until + FRAME_MS / 1000)
            await sleep_until(due, "flow")
            if due < self._last_media_at + FLOW_AFTER_S:
                continue
            await sleep_until(current_time() + min(current_time() - due, READING_MAX_S), "flow")
            now = current_time()
            if now < self._last_media_at + FLOW_AFTER_S:
                continue
            self._covered_until = max(self._covered_until, now - FLOW_AFTER_S - COARSE_S)
            silent_frames = round((now - self._covered_until) * 1000 / FRAME_MS)
            for _ in range(silent_frames):
                self._counts.invented("keepalive")
                self._media_clock.note_invented(FRAME_MS)
                self._push_silence(now, stream)
            self._covered_until += silent_frames * FRAME_MS / 1000

    def _push_silence(self, arrived_at: float, stream: WindowQueue, far: bytes | None = None) -> None:
        self._push(self._source.silent_frame, FRAME_MS, arrived_at, stream, far=far)

    def _push(
        self,
        data: bytes,
        duration_ms: float,
        arrived_at: float,
        stream: WindowQueue,
        *,
        far: bytes | None = None,
        sent_by_caller: bool = False,
    ) -> None:
        """`far` is what was played meanwhile: None for silence that was recorded at no time, and so has no echo."""
        played = None if far is None else Audio(self._source, far)
        for_assistant, samples = self._uplink.push(Audio(self._source, data), played)
        if self._uplink.news is not None:
            self._tell_of_echo()
        if sent_by_caller and self._is_left_out(samples, duration_ms):
            self._has_cut = True
            return
        self._heard_ms += duration_ms
        self._arrived_at = arrived_at
        original = data if self._uplink.is_plain and not self._has_cut else None
        self._has_cut = False
        self._use(for_assistant, samples, arrived_at, stream, original)

    def _use(
        self,
        for_assistant: bytes,
        samples: NDArray[np.int16],
        arrived_at: float,
        stream: WindowQueue,
        original: bytes | None = None,
    ) -> None:
        """`original` is what `for_assistant` was made of, if it can be made of that again."""
        if not for_assistant and not len(samples):
            return
        for frame, its_original in self._packetizer.push(for_assistant, original):
            if cause := self._replay.append(frame, its_original):
                self._counts.dropped(cause)
        self._audio_logged(arrived_at)
        for window in self._windows.push(samples):
            stream.submit(window)

    def _is_left_out(self, samples: NDArray[np.int16], duration_ms: float) -> bool:
        """Whether this is a part of a pause that makes up for silence that was put in."""
        if self._detection.may_be_speech(self._heard_ms):
            self._pause_ms = 0.0
            return False
        self._pause_ms += duration_ms
        self._note_made_up()
        if self._pause_ms <= SHORTEST_PAUSE_MS or self._media_clock.surplus_ms < duration_ms:
            return False
        if not self._detection.is_quiet(samples):
            return False
        self._media_clock.note_left_out(duration_ms)
        self._counts.dropped("pause", round(duration_ms / FRAME_MS))
        return True

    def _note_made_up(self) -> None:
        """What a reader that was held up has left out of pauses by itself makes up for a surplus as well."""
        made_up_ms = self._replay.made_up_ms
        if made_up_ms > self._made_up_ms:
            self._media_clock.note_left_out(min(made_up_ms - self._made_up_ms, self._media_clock.surplus_ms))
            self._made_up_ms = made_up_ms

    def _clock_time(self, media_ms: float) -> float:
        """When the sample at this time of the caller's audio reached us."""
        return self._arrived_at - (self._heard_ms - media_ms + self._uplink.echo_delay_ms) / 1000
