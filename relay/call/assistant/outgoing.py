"""Holds what the assistant has to get, whichever connection takes it: messages first, then the caller's audio."""

import math
from collections import deque
from collections.abc import Callable, Iterable

import trio

from relay.call.report.report import Report
from relay.logic.assistant.replay import ReplayLog
from relay.media.frames import Audio, AudioFormat
from relay.media.transcode import Transcoder
from relay.wakeup import Signal, current_time

NOTES_MAX = 32
"""Text messages that may wait for the assistant's socket: more than anybody's fingers send in a second. The oldest
makes room, and is counted."""
FULL = "NOTES_FULL"


class Outgoing:
    """The messages and the audio of one call that wait for the assistant; one connection at a time takes them."""

    def __init__(self, replay: ReplayLog, audio_format: AudioFormat, report: Report, notes: Iterable[str] = ()) -> None:
        """`audio_format` is that of the log. `notes` are those that another process has left."""
        self.replay = replay
        self._report = report
        self._format = audio_format
        self._transcoder: Transcoder | None = None
        self._notes = deque(notes)
        self._taken: str | None = None
        """The note that is being written."""
        self._unanswered: deque[str] = deque()
        """What was written of the notes since the assistant began to speak last."""
        self._forgotten = 0
        """How many of these were too many: they will not be told again."""
        self._news = Signal()
        self._unsent_since: float | None = None
        self._write_now: Callable[[], bool] | None = None

    def speak_to(self, target: AudioFormat) -> None:
        """The next connection wants this format."""
        self._transcoder = None if target == self._format else Transcoder(self._format, target)

    def audio_logged(self, arrived_at: float) -> None:
        """There is something new in the replay log, which came from the caller at this time."""
        if self._unsent_since is None:
            self._unsent_since = arrived_at
        if self._write_now is None or not self._write_now():
            self.wake()

    def send_note(self, text: str) -> None:
        """Send a text message to the assistant, before any audio that waits."""
        self._notes.append(text)
        self._make_room(0)
        self.wake()

    @property
    def untold(self) -> tuple[str, ...]:
        """The messages that a new assistant is to be told, the oldest first: no other has answered to them."""
        taken = () if self._taken is None else (self._taken,)
        return (*self._unanswered, *taken, *self._notes)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, now or for its time."""
        return not self._notes and self.replay.unread_ms == 0

    def take(self) -> str | bytes | None:
        """What is to be sent now; None: nothing yet."""
        if self._notes:
            self._taken = self._notes.popleft()
            return self._taken
        frame, left_out = self.replay.read(current_time())
        if left_out:
            self._report.counts.dropped("pause", left_out)
        if frame is None or self._transcoder is None:
            return frame
        return self._transcoder.push(Audio(self._format, frame)).data

    def note_sent(self) -> None:
        """The text that was taken is written."""
        if self._taken is not None:
            self._unanswered.append(self._taken)
        self._taken = None
        if len(self._unanswered) > NOTES_MAX:
            self._unanswered.popleft()
            self._forgotten += 1

    def answered(self) -> None:
        """The assistant begins to speak: what it was told is part of the conversation now."""
        self._unanswered.clear()
        self._forgotten = 0

    def rewind(self) -> None:
        """The connection is lost: what it was told, and has not answered to, the next one is told again."""
        self._notes, self._taken = deque(self.untold), None
        self._make_room(self._forgotten)
        self.answered()

    def _make_room(self, dropped: int) -> None:
        while len(self._notes) > NOTES_MAX:
            self._notes.popleft()
            dropped += 1
        self._report.notes_dropped(FULL, f"more than {NOTES_MAX} messages waited for the assistant", dropped)

    def audio_sent(self) -> float | None:
        """The frame that was taken is written. How long the oldest new audio waited for that, while nothing is old."""
        since, self._unsent_since = self._unsent_since, None
        return None if since is None or self.replay.replaying else trio.current_time() - since

    async def wait(self, write_now: Callable[[], bool] | None = None) -> None:
        """Return when it is worth asking `take` again.

        Until then `write_now` is called when audio comes, and says whether it took all that waits: then there is no
        reason to return.
        """
        at = self.replay.next_at(current_time())
        self._write_now = write_now
        try:
            await self._news.wait(math.inf if at is None else at, "outgoing")
        finally:
            if self._write_now is write_now:  # the next connection may wait here already
                self._write_now = None

    def wake(self) -> None:
        """Have `wait` return."""
        self._news.fire()
