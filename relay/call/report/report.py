"""The one place where a call says what happens in it: one event becomes a log line, a count, news for
listeners, and an entry of the recording."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
import trio

from relay.call.report.counts import Counts
from relay.call.report.events import BadAssistantMessage, BadCallerMessage, CallEvent
from relay.call.report.status import CallStatus
from relay.errors import RemoteProtocolError
from relay.metrics import Metrics
from relay.record.call_recording import CallRecording
from relay.wakeup import Signal
from relay.weak import weakly

LISTENERS_MAX = 8
"""Each costs a call at every event. The relay's own parts take no place from those outside it."""
WAITING_MAX = 256
"""Half a minute of a lively conversation. The oldest make room, and how many did is told in their place."""

Listener = Callable[[CallEvent], None]

log = structlog.get_logger(__name__)


class Report:
    """One per call, handed to everyone who has something to say. Nothing in it waits.

    What happens with every frame is only counted, in `counts`; how the call stands for its caller is `status`.
    """

    def __init__(self, call_id: str, metrics: Metrics, recording: CallRecording | None = None) -> None:
        self.call_id = call_id
        self.recording = recording
        """Where the call is taken down, if it is: everybody who has a report may do so."""
        self.counts = Counts(metrics)
        self.status = CallStatus(weakly(self.tell))
        self._log = structlog.get_logger().bind(call_id=call_id)
        self._listeners: list[Listener] = []
        self._guests = 0

    def tell(self, event: CallEvent) -> None:
        """Count it, log it, and tell everybody, at once. A listener that fails is removed: it cannot harm the call."""
        self.counts.note(event)
        event.write_to(self._log)
        if self.recording is not None:
            self.recording.told(*event.recorded())
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                self._listeners.remove(listener)
                log.exception("events.listener_failed")

    def bad_caller_message(self, error: RemoteProtocolError) -> None:
        """Count a message that breaks its protocol; the first of its kind in a call is told."""
        self.counts.dropped("malformed")
        if self.counts.protocol_error("caller", error.code):
            self.tell(BadCallerMessage("caller", error.code, str(error)))

    def bad_assistant_message(self, error: RemoteProtocolError) -> None:
        """As `bad_caller_message`."""
        if self.counts.protocol_error("assistant", error.code):
            self.tell(BadAssistantMessage("assistant", error.code, str(error)))

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Have `listener`, a part of the relay, called with every event; it must not block.

        Nothing is kept for it: a listener decides how much it holds, and what it drops when it is full.
        """
        self._listeners.append(listener)
        try:
            yield
        finally:
            if listener in self._listeners:
                self._listeners.remove(listener)

    @contextmanager
    def listening_guest(self, listener: Listener) -> Iterator[bool]:
        """As `listening`, for somebody outside the relay. False: LISTENERS_MAX of them listen already."""
        if self._guests >= LISTENERS_MAX:
            yield False
            return
        self._guests += 1
        try:
            with self.listening(listener):
                yield True
        finally:
            self._guests -= 1


class EventQueue:
    """The events that one listener has still to be told. It is bounded, because nothing waits for a listener.

    `push` is for `Report.listening`. Each event keeps the time at which it happened, on trio's clock.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, CallEvent]] = deque()
        self._dropped = 0
        self._news = Signal()

    def push(self, event: CallEvent) -> None:
        """Never waits."""
        if len(self._waiting) == WAITING_MAX:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append((trio.current_time(), event))
        self._news.fire()

    async def take(self) -> tuple[int, list[tuple[float, CallEvent]]]:
        """How many were dropped since the last time, and all that wait behind those. Waits until there is something."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            await self._news.wait()
        taken = (self._dropped, list(self._waiting))
        self._dropped = 0
        self._waiting.clear()
        return taken
