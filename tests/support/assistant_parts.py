"""The real parts around one connection with the assistant, without their tasks and without a network."""

from dataclasses import dataclass
from typing import Any

from relay.call.assistant.outgoing import Outgoing
from relay.call.playback.dialogue import Dialogue
from relay.call.playback.playback import Playback
from relay.call.report.events import CallEvent
from relay.call.report.report import Report
from relay.config import Config
from relay.logic.assistant.replay import ReplayLog
from relay.logic.assistant.sentences import Sentences
from relay.media.frames import TELEPHONE, AudioFormat
from relay.metrics import Metrics
from tests.support.callrig import config


class RecordingReport(Report):
    """A report that keeps what it was told."""

    def __init__(self, metrics: Metrics) -> None:
        self.told: list[CallEvent] = []
        super().__init__("our-call", metrics)

    def tell(self, event: CallEvent) -> None:
        self.told.append(event)
        super().tell(event)


@dataclass(frozen=True)
class Parts:
    config: Config
    metrics: Metrics
    report: RecordingReport
    replay: ReplayLog
    dialogue: Dialogue
    playback: Playback
    outgoing: Outgoing

    def told(self, kind: type[CallEvent]) -> list[CallEvent]:
        """What was reported of this kind."""
        return [event for event in self.report.told if isinstance(event, kind)]


def assistant_parts(audio_format: AudioFormat = TELEPHONE, **sections: Any) -> Parts:
    """For an assistant and a replay log of this format, and a caller on the telephone."""
    known, metrics = config(**sections), Metrics()
    report = RecordingReport(metrics)
    replay = ReplayLog(known.reconnect.replay_max_ms, known.reconnect.replay_speed)
    dialogue = Dialogue(Sentences(replay, known.reconnect.unanswered_s))
    playback = Playback(audio_format, TELEPHONE, known, dialogue, report)
    return Parts(known, metrics, report, replay, dialogue, playback, Outgoing(replay, audio_format, report))
