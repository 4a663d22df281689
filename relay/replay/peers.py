"""The caller's side of a recorded call as it is played back, with the speech model and the classifier.

Each gives the call what a driver takes from the recording. What the call sends goes nowhere; when it left is the
driver's to say (`WriteGate`), so that a socket that took nothing for a while does so again.
"""

# ruff: noqa: ARG002 - stand-ins take more than they need

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import trio

from relay.call.caller.classifier import Classifier, Opinion
from relay.call.caller.leg import CallerEvent
from relay.call.caller.vad_engine import Scored
from relay.errors import LegLost
from relay.logic.caller.reorder import ReorderStatistics
from relay.media.features import level_dbfs
from relay.media.frames import AudioFormat
from relay.media.interruption_model import AssistantActivity
from relay.media.resample import Samples
from relay.media.windows import Window
from relay.net.outbox import Entry
from relay.net.sockets import Found
from relay.wakeup import Signal

PHONE_ENTRIES = 25
"""What waits in front of a telephone's socket at most."""
BROWSER_ENTRIES = 50
CLEAR = "clear"


class WriteGate(Protocol):
    """Says when what the call writes has left."""

    def caller_takes_at_once(self) -> bool:
        """Whether a message that is put for the caller leaves now, and not when the driver says so."""

    def caller_took(self, message: str | bytes) -> None:
        """This has left for the caller."""

    def in_hand(self) -> int:
        """How many messages leave before the next `clear`, whatever that takes back."""

    def assistant_takes_at_once(self, connection: int, number: int) -> bool:
        """Whether the message of this number, from 0, to that connection leaves now, before the driver says so."""

    def assistant_takes(self, connection: int, number: int) -> bool:
        """Whether it is the one that leaves as the driver says so."""


class RecordedOutbox:
    """The queue in front of the caller."""

    def __init__(self, capacity: int, gate: WriteGate) -> None:
        self._capacity = capacity
        self._gate = gate
        self._entries: deque[Entry] = deque()
        self._room = Signal()
        self.broken = False
        """Nothing can be put any more."""

    @property
    def room(self) -> int:
        return max(0, self._capacity - len(self._entries))

    async def put(self, entry: Entry) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self.put_now(entry):
            await self._room.wait()

    def put_now(self, *entries: Entry) -> bool:
        if self.broken:
            raise LegLost("outbox closed")
        if self.room < len(entries):
            return False
        self._entries.extend(entry for entry in entries if entry.message)
        self._let_go()
        return True

    def flush_and_put(self, entries: Iterable[Entry]) -> None:
        queued = list(self._entries)
        in_hand = queued[: self._gate.in_hand()]
        kept = [entry for entry in queued[len(in_hand) :] if entry.turn is None]
        self._entries = deque([*in_hand, *(entry for entry in entries if entry.message), *kept])
        self._room.fire()
        self._let_go()

    def close(self) -> None:
        self.broken = True
        self._room.fire()

    def release(self) -> None:
        """The next message has left."""
        if self._entries:
            entry = self._entries.popleft()
            self._gate.caller_took(entry.message)
            self._room.fire()
            if entry.on_sent is not None:
                entry.on_sent(trio.current_time())

    def _let_go(self) -> None:
        while self._entries and self._gate.caller_takes_at_once():
            self.release()


class RecordedLeg:
    """A socket of a telephone, or the session of a browser, which gets no marks: it says by itself what it played."""

    def __init__(self, audio_format: AudioFormat, gate: WriteGate, *, joins_frames: bool, browser: bool) -> None:
        self.format = audio_format
        self.joins_frames = joins_frames
        self.outbox = RecordedOutbox(BROWSER_ENTRIES if browser else PHONE_ENTRIES, gate)
        self._gets_marks = not browser
        self._events: deque[CallerEvent | Exception] = deque()
        self._news = Signal()

    def give(self, event: CallerEvent | Exception) -> None:
        """Have this received, or raised."""
        self._events.append(event)
        self._news.fire()

    def order(self) -> ReorderStatistics:
        return ReorderStatistics()

    async def receive_each(self, take: Callable[[CallerEvent], Found | None]) -> Found:
        while (found := take(await self._receive())) is None:
            pass
        return found

    async def _receive(self) -> CallerEvent:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._events:
            await self._news.wait()
        event = self._events.popleft()
        if isinstance(event, Exception):
            raise event
        return event

    def audio(self, data: bytes) -> bytes:
        return data

    def mark(self, turn: int, position_ms: int) -> str:
        return f"{turn} {position_ms}" if self._gets_marks else ""

    def clear(self) -> str:
        return CLEAR


class RecordedLane:
    """The speech model's lane: windows wait until the driver gives their answers."""

    def __init__(self) -> None:
        self.waiting: deque[Window] = deque()
        self._judged: Callable[[Scored], None] = lambda _: None
        self._skipped: Callable[[], None] = lambda: None
        self.submitted: Callable[[], None] = lambda: None

    @contextmanager
    def stream(self, judged: Callable[[Scored], None], skipped: Callable[[], None]) -> Iterator["RecordedLane"]:
        self._judged, self._skipped = judged, skipped
        yield self

    def submit(self, window: Window) -> None:
        self.waiting.append(window)
        self.submitted()

    async def raise_failure(self) -> None:
        await trio.sleep_forever()

    def judge(self, probability: float, voice_bound: float) -> None:
        """The answer for the window that waits longest, if one does."""
        if self.waiting:
            window = self.waiting.popleft()
            self._judged(Scored(window, level_dbfs(window.samples), probability, voice_bound))

    def skip(self) -> None:
        """There is none for it."""
        if self.waiting:
            self.waiting.popleft()
            self._skipped()


class RecordedOpinions(Classifier):
    """The operator's classifier, in whose place the recording answers."""

    def __init__(self) -> None:
        self._given: deque[Opinion] = deque()
        self._news = Signal()

    def give(self, opinion: Opinion) -> None:
        self._given.append(opinion)
        self._news.fire()

    async def ask(self, samples: Samples, rate_hz: int, activity: AssistantActivity) -> Opinion:
        await trio.lowlevel.checkpoint()
        while not self._given:
            await self._news.wait()
        return self._given.popleft()
