"""The parts of a call's playback, each built as a call builds it, and what they tell."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from relay.call.playback.dialogue import Dialogue
from relay.call.playback.flush import Flush
from relay.call.playback.intake import Intake
from relay.call.playback.interrupter import Interrupter
from relay.call.playback.interruptions import Interruptions
from relay.call.playback.speaker import Speaker
from relay.call.report.events import CallEvent
from relay.call.report.report import Report
from relay.config import BargeInConfig, JitterConfig
from relay.logic.assistant.replay import ReplayLog
from relay.logic.assistant.sentences import Sentences
from relay.logic.playback.fence import Fence, FenceRules
from relay.media.frames import TELEPHONE, AudioFormat
from relay.metrics import Metrics


class Parts:
    """`told` are the events of the call. No task runs."""

    def __init__(self, barge_in: BargeInConfig, source: AudioFormat) -> None:
        self.metrics = Metrics()
        self.report = Report("the-call", self.metrics)
        self.told: list[CallEvent] = []
        self.fence = Fence(FenceRules())
        self.speaker = Speaker(JitterConfig(), self.report, before_ms=barge_in.agreement_back_ms)
        self.dialogue = Dialogue(Sentences(ReplayLog(10_000), 4.0))
        self.interruptions = Interruptions(self.report)
        self.flush = Flush(
            fence=self.fence, speaker=self.speaker, dialogue=self.dialogue, interruptions=self.interruptions
        )
        self.intake = Intake(
            source,
            TELEPHONE,
            fence=self.fence,
            flush=self.flush,
            speaker=self.speaker,
            dialogue=self.dialogue,
            interruptions=self.interruptions,
            counts=self.report.counts,
            words_decide=barge_in.policy != "local",
        )
        self.interrupter = Interrupter(
            barge_in,
            fence=self.fence,
            flush=self.flush,
            intake=self.intake,
            speaker=self.speaker,
            interruptions=self.interruptions,
        )

    @property
    def queued(self) -> int:
        """Frames that wait for the caller."""
        return self.speaker.playout.queued_ms // 20

    @property
    def dropped(self) -> object:
        """Frames dropped, by cause."""
        return self.report.counts.totals()["frames_dropped"]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    async def speak(self, audio: bytes) -> None:
        """The assistant sends this in real time, frame by frame."""
        for start in range(0, len(audio), 160):
            self.intake.push(audio[start : start + 160])
            await trio.sleep(0.02)


@contextmanager
def playback_parts(barge_in: BargeInConfig | None = None, *, source: AudioFormat = TELEPHONE) -> Iterator[Parts]:
    """The parts, with an ear on what they tell."""
    parts = Parts(barge_in or BargeInConfig(), source)
    with parts.report.listeners.listening(parts.told.append):
        yield parts
