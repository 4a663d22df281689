"""The queue in front of a browser: one for the session, whichever connection takes from it now.

It stands in the place of a socket's outbox. Audio waits for room, so that playback stops by itself while no connection
takes anything; an interruption empties what no connection has taken, and comes first. Text never waits for room.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio

from relay.errors import LegLost
from relay.logic.browser.message_log import MessageLog, Queued
from relay.media.frames import AudioFormat
from relay.net.outbox import Entry
from relay.wakeup import Signal
from relay.wire.browser_down import AssistantAudio, Message, Numbered, Text

AUDIO_WAITING_MAX = 50
"""One second: more than two polls lie apart, and all that an outage lets run ahead of what can be heard."""
WAITING_MAX = 400
"""Audio and texts together: what is beyond it is numbered unread, the oldest first."""
KEPT_MAX = 750
KEPT_MAX_BYTES = 2_000_000
"""Ten seconds of audio at 96 kHz, which is as long as a dead connection may go unnoticed; at 16 kHz 750 messages."""
NUMBER_MAX = 2**31
"""No client has had so many messages: it is more than a year of audio, and half of what the header can say."""
TURNS_KNOWN = 8
"""A client reports the turn that it plays, which is one of the newest."""


@dataclass(frozen=True, slots=True)
class _Outgoing:
    message: Message
    on_sent: Callable[[float], None] | None = None


class BrowserOutbox:
    """One per session. `put`, `put_now` and `flush_and_put` are the call's side, the rest is for connections.

    `turns_before`: the client knows turns up to this number of processes that had the session before.
    """

    def __init__(self, audio_format: AudioFormat, turns_before: int = 0) -> None:
        self._turns_before = turns_before
        self._goes_on = turns_before > 0
        self._format = audio_format
        self._log = MessageLog[_Outgoing](max_waiting=WAITING_MAX, max_kept=KEPT_MAX, max_bytes=KEPT_MAX_BYTES)
        self._room = Signal()
        self._news = Signal()
        self._closed = False
        self._written = 0
        self._position_ms = 0.0
        self._turns: OrderedDict[int, float] = OrderedDict()

    async def put(self, entry: Entry) -> None:
        """Queue a frame (bytes) or a text, waiting for room. Cancelled, it was not queued. Raises LegLost once closed.

        An empty text is nothing to send.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self.put_now(entry):
            await self._room.wait()

    @property
    def room(self) -> int:
        """How many frames `put_now` takes now."""
        return AUDIO_WAITING_MAX - self._log.audio_waiting

    def put_now(self, *entries: Entry) -> bool:
        """As `put`, if there is room for all. False: there is not."""
        if self._closed:
            raise LegLost("session over")
        if self.room < len(entries):
            return False
        for entry in entries:
            if entry.message:
                self._log.put(self._queued(entry))
                self._news.fire()
        return True

    def flush_and_put(self, entries: Iterable[Entry]) -> None:
        """Drop all audio that no connection has taken, and put `entries` first in line, all in one step."""
        self._log.flush()
        if not self._closed:
            self._log.put_first([self._queued(entry) for entry in entries if entry.message])
        self._room.fire()
        self._news.fire()

    def tell(self, text: Text) -> None:
        """Queue a text for the client. Once closed it is dropped."""
        if not self._closed:
            self._log.put(Queued(_Outgoing(text), size_bytes=len(text.body)))
            self._news.fire()

    def close(self) -> None:
        """Nothing more comes. What is queued can still be taken."""
        self._closed = True
        self._room.fire()
        self._news.fire()

    # -- where the client is in what it hears

    @property
    def turn(self) -> int:
        """The highest turn that the client may have audio of, as it knows it; 0 before the first."""
        return self.clients_turn(next(reversed(self._turns), 0))

    def clients_turn(self, turn: int) -> int:
        """The number by which the client knows this turn of the call's."""
        return self._turns_before + turn

    def note_position(self, position_ms: int) -> None:
        """All that was sent to the caller until now ends at this position."""
        self._position_ms = position_ms

    def position_of(self, turn: int, ms: int) -> int | None:
        """Where `ms` of this turn of the client's lie in all that was sent; None for one that is not known any more."""
        began_ms = self._turns.get(turn - self._turns_before)
        return None if began_ms is None else int(began_ms) + ms

    # -- for connections

    def go_on_behind(self, cursor: int) -> None:
        """The client has messages up to this number. Where another process has sent them, numbers go on behind it."""
        if self._goes_on and self.last < cursor <= NUMBER_MAX:
            self._log.number_from(cursor)
            self._written = cursor
        self._goes_on = False

    @property
    def last(self) -> int:
        """The number of the last message that any connection took."""
        return self._log.last

    @property
    def closed(self) -> bool:
        return self._closed

    def has_after(self, cursor: int) -> bool:
        """Whether there is a message behind this number."""
        return self._log.has_after(cursor)

    def wake(self) -> None:
        """Have the waiting connections look again: one of them may have been fenced off."""
        self._news.fire()

    async def wait_after(self, cursor: int, fenced: trio.Event) -> None:
        """Return when there is a message behind this number, or never will be, or the connection was `fenced`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not (self._log.has_after(cursor) or self._closed or fenced.is_set()):
            await self._news.wait()

    async def wait_text_after(self, cursor: int, fenced: trio.Event) -> None:
        """As `wait_after`, for a text, which should not wait for more.

        What was taken before counts as text: it has waited enough.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not (self._closed or fenced.is_set()) and cursor == self._log.last and self._log.text_waiting == 0:
            await self._news.wait()

    def read(self, cursor: int, limit: int) -> tuple[list[Numbered], tuple[int, int] | None]:
        """Take at most `limit` messages behind number `cursor`; and say which are gone. See MessageLog.read."""
        reading = self._log.read(cursor, limit)
        self._room.fire()
        return [(n, queued.item.message) for n, queued in reading.messages], reading.gap

    def written(self, through: int) -> None:
        """A connection has handed over everything up to this number."""
        if through <= self._written:
            return
        now = trio.current_time()
        for n, queued in self._log.read(self._written, through - self._written).messages:
            if n <= through and queued.item.on_sent is not None:
                queued.item.on_sent(now)
        self._written = through

    def _queued(self, entry: Entry) -> Queued[_Outgoing]:
        if isinstance(entry.message, str):
            body = entry.message.encode()
            return Queued(_Outgoing(Text(body), entry.on_sent), size_bytes=len(body))
        assert entry.turn is not None
        if entry.turn not in self._turns:
            self._turns[entry.turn] = self._position_ms
            if len(self._turns) > TURNS_KNOWN:
                self._turns.popitem(last=False)
        audio = AssistantAudio(self.clients_turn(entry.turn), int(self._position_ms), entry.message)
        self._position_ms += self._format.duration_ms(len(entry.message))
        return Queued(_Outgoing(audio, entry.on_sent), entry.turn, len(entry.message))
