"""The task that asks the operator's classifier, whenever the detector is sure that the caller speaks."""

from relay.call.caller.classifier import Classifier
from relay.call.caller.recent_audio import RecentAudio
from relay.call.playback.interrupter import Interrupter
from relay.call.report.interruption_events import Classified
from relay.call.report.report import Report


class SecondOpinion:
    """One per call. The interrupter says when it asks; until it is answered, or its own deadline, it pauses."""

    def __init__(self, classifier: Classifier, interrupter: Interrupter, recent: RecentAudio, report: Report) -> None:
        self._classifier = classifier
        self._interrupter = interrupter
        self._recent = recent
        self._report = report

    async def run(self) -> None:
        """Answer every question until cancelled."""
        while True:
            while not self._interrupter.asks:
                await self._interrupter.asked.wait()
            activity = self._interrupter.assistant_activity()
            opinion = await self._classifier.ask(self._recent.samples(), self._recent.rate_hz, activity)
            if (recording := self._report.recording) is not None:
                recording.opinion(interrupts=opinion.interrupts, probability=opinion.probability)
            self._interrupter.judged(interrupts=opinion.interrupts)
            if opinion.probability is not None:
                self._report.tell(Classified(round(opinion.probability, 3), opinion.interrupts))
