"""The decoder/VAD task: the caller's frames become the log for the assistant and windows for the speech detector.

Two loops never wait for each other: audio goes to the log the moment it arrives, the detector's opinion of it comes
back later through the lane. When no audio comes for a while silence takes its place, every 20 ms, because the assistant
ends a call whose audio stops (Vapi, WebSocket transport): after `FLOW_AFTER_S` where the caller was silent, as senders
that leave out silence are, but after `FLOW_IN_SPEECH_S` within speech. There the network is late, and what comes is the
rest of the word.
"""

from collections.abc import Callable

import trio

from relay.call.caller.leg import CallerAudio
from relay.call.caller.speech_detection import CallerHeard, SpeechDetection
from relay.call.caller.vad_engine import VadEngine, VadStream
from relay.call.report.report import Report
from relay.config import Config
from relay.logic.assistant.replay import ReplayLog
from relay.logic.assistant.sentences import Sentences
from relay.media.frames import FRAME_MS, Audio, AudioFormat
from relay.media.gaps import MediaClock
from relay.media.packetizer import Packetizer
from relay.media.silero import WINDOW_SAMPLES
from relay.media.uplink import Uplink
from relay.media.windows import WindowCutter

FLOW_AFTER_S = 0.1
FLOW_IN_SPEECH_S = 0.4
"""As late as mobile networks deliver at times."""
READING_MAX_S = 0.05
"""A late timer says that this process stood still, not that the caller sent nothing: what has come meanwhile is read
first, for as long as the timer was late and no longer than this."""


class NewStream:
    """The timestamps of what follows begin anew; meanwhile silence was invented where it was needed."""


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
        self._uplink = Uplink(source, target, rate_hz, reduce_noise=config.audio.noise_reduction != "off")
        self._packetizer = Packetizer(target)
        self._windows = WindowCutter(WINDOW_SAMPLES[rate_hz], rate_hz)
        self._media_clock = MediaClock()
        self._replay = replay
        self._detection = SpeechDetection(
            config.vad, replay, sentences, report, clock_time=self._clock_time, caller_heard=caller_heard
        )
        self._counts = report.counts
        self._audio_logged = audio_logged
        self._heard_ms = 0.0
        self._arrived_at = self._last_media_at = trio.current_time()
        self._flow = trio.Event()

    @property
    def last_speech_at(self) -> float:
        """When the caller was last known to speak."""
        return self._detection.last_speech_at

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

    async def _judge(self, stream: VadStream) -> None:
        async for scored in stream.results:
            self._detection.take(scored)

    def _take(self, audio: CallerAudio | NewStream, stream: VadStream) -> None:
        if isinstance(audio, NewStream):
            self._media_clock = MediaClock()
            return
        self._last_media_at = audio.arrived_at
        if not audio.data:
            return
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
            if now < in_speech_until and self._detection.may_be_in_a_word(self._heard_ms):
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
            if cause := self._replay.append(frame, speech=self._detection.may_be_speech(self._heard_ms)):
                self._counts.dropped(cause)
        self._audio_logged(arrived_at)
        for window in self._windows.push(samples):
            stream.submit(window)

    def _clock_time(self, media_ms: float) -> float:
        """When the sample at this time of the caller's audio reached us."""
        return self._arrived_at - (self._heard_ms - media_ms) / 1000
