"""The one place where a call says what happens in it: one event becomes a log line, a count, news for
listeners, and an entry of the recording."""

import structlog

from relay.call.report.counts import Counts
from relay.call.report.events import BadAssistantMessage, BadCallerMessage, CallEvent, NotesDropped
from relay.call.report.listeners import Listeners
from relay.call.report.status import CallStatus
from relay.errors import RemoteProtocolError
from relay.metrics import Metrics
from relay.record.call_recording import CallRecording
from relay.weak import weakly


class Report:
    """One per call, handed to everyone who has something to say. Nothing in it waits.

    What happens with every frame is only counted, in `counts`; how the call stands for its caller is `status`.
    """

    def __init__(
        self, call_id: str, metrics: Metrics, recording: CallRecording | None = None, *, ended_before: bool = False
    ) -> None:
        """`ended_before`: the call was over once, and goes on all the same."""
        self.call_id = call_id
        self.recording = recording
        """Where the call is taken down, if it is: everybody who has a report may do so."""
        self.counts = Counts(metrics, ended_before=ended_before)
        self.status = CallStatus(weakly(self.tell))
        self._log = structlog.get_logger(call_id=call_id)  # bound at each line, so that a new level holds
        self.listeners = Listeners[CallEvent]()

    def tell(self, event: CallEvent) -> None:
        """Count it, log it, and tell everybody, at once. A listener that fails is removed: it cannot harm the call."""
        self.counts.note(event)
        event.write_to(self._log)
        if self.recording is not None:
            self.recording.told(*event.recorded())
        self.listeners.tell(event)

    def bad_caller_message(self, error: RemoteProtocolError) -> None:
        """Count a message that breaks its protocol; the first of its kind in a call is told."""
        self.counts.dropped("malformed")
        if self.counts.protocol_error("caller", error.code):
            self.tell(BadCallerMessage("caller", error.code, str(error)))

    def notes_dropped(self, code: str, error: str, notes: int = 1) -> None:
        """Count text messages that the assistant will not get; the first for this reason in a call is told."""
        if notes and self.counts.notes_dropped(code, notes):
            self.tell(NotesDropped(code, error))

    def bad_assistant_message(self, error: RemoteProtocolError) -> None:
        """As `bad_caller_message`."""
        if self.counts.protocol_error("assistant", error.code):
            self.tell(BadAssistantMessage("assistant", error.code, str(error)))
