"""A browser as the call's caller: one leg for the whole session, whichever connections carry it.

The call never hears of a connection that is lost or changed. Its messages come in through `feed`, from whichever
connection they arrive by, and what the call has to say waits in the outbox for whichever connection takes it.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence

import trio

from relay.call.browser.outbox import BrowserOutbox
from relay.call.browser.uplink import BrowserUplink
from relay.call.caller.leg import CallerEvent, CallerGone, Heard
from relay.errors import LegLost, RemoteProtocolError
from relay.logic.caller.reorder import ReorderStatistics
from relay.logic.rate_limit import RateLimit
from relay.media.frames import AudioFormat
from relay.net.sockets import Found
from relay.wakeup import Signal
from relay.weak import weakly
from relay.wire import browser, browser_down
from relay.wire.browser import ClientAudio, ClientPlayed, ClientStart, ClientStop, Event

EVENTS_WAITING_MAX = 100
"""Two seconds of audio. The call takes them at once; a connection that brings more waits."""
COMPLAINTS_PER_S, COMPLAINTS_BURST = 5, 25
"""Errors to a client that sends nonsense; more would push the audio out of what is kept for it."""


class BrowserLeg:
    """The caller's leg of one session.

    `format` is mono pcm_s16le at the rate that the client hears; what it sends is brought to the same.
    """

    joins_frames = False

    def __init__(
        self, audio_format: AudioFormat, reorder_ms: float, *, turns_before: int = 0, first_sequence: int = 1
    ) -> None:
        """The last two are of a session that goes on here, see `KeptSession`."""
        self.format = audio_format
        self.outbox = BrowserOutbox(audio_format, turns_before)
        self.uplink = BrowserUplink(audio_format, reorder_ms, weakly(self.complain), first=first_sequence)
        self._events: deque[CallerEvent | RemoteProtocolError] = deque()
        self._complaints = RateLimit(per_s=COMPLAINTS_PER_S, burst=COMPLAINTS_BURST)
        self._news = Signal()
        self._room = Signal()
        self._closed = False

    # -- the call's side

    def order(self) -> ReorderStatistics:
        """What the numbers of the client's messages say about their order."""
        return self.uplink.statistics()

    async def receive_each(self, take: Callable[[CallerEvent], Found | None]) -> Found:
        while (found := take(await self.receive())) is None:
            pass
        return found

    async def receive(self) -> CallerEvent:
        """The next event. Raises LegLost once the session is over, otherwise as `receive_each`."""
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self._closed:
                raise LegLost("session over")
            await self._news.wait(until=self.uplink.deadline or math.inf)
            self._events += self.uplink.expire(trio.current_time())
        event = self._events.popleft()
        self._room.fire()
        if isinstance(event, RemoteProtocolError):
            try:
                raise event
            finally:
                del event  # the error holds this frame, which would hold the error until garbage is collected
        return event

    def audio(self, data: bytes) -> bytes:
        return data

    def mark(self, turn: int, position_ms: int) -> str:  # noqa: ARG002 - the position says it all
        """Nothing to send: a browser says by itself what was `played`. The position is noted."""
        self.outbox.note_position(position_ms)
        return ""

    def clear(self) -> str:
        return browser_down.interrupt(self.outbox.turn).body.decode()

    # -- the connections' side

    async def feed(self, event: Event, *, resent: bool = False) -> None:
        """An event of the client. Waits while the call has not taken what came before.

        `resent`: this connection may bring again what was brought before (polling).
        """
        await self._wait_for_room()
        if self._closed:
            return
        match event:
            case ClientAudio():
                self._push(self.uplink.take(event, trio.current_time(), resent=resent))
            case ClientPlayed(turn=turn, ms=ms):
                position_ms = self.outbox.position_of(turn, ms)
                self._push([] if position_ms is None else [Heard(turn, position_ms)])
            case ClientStop():
                self._push([CallerGone()])
            case ClientStart():
                self.reject(RemoteProtocolError("start is the first message", browser.BrowserCode.START_NOT_FIRST))

    async def speak(self, pcm: bytes) -> None:
        """Audio at 16 kHz, mono pcm_s16le, that was not sent as the client's microphone. Waits as `feed`."""
        await self._wait_for_room()
        if not self._closed:
            self._push([self.uplink.speak(pcm, trio.current_time())])

    def reject(self, error: RemoteProtocolError) -> None:
        """A message of the client could not be read: tell the client, and let the call count it."""
        self.complain(error.code, str(error))
        self.count(error)

    def count(self, error: RemoteProtocolError) -> None:
        """Let the call count a message that could not be read, and of which the client was told."""
        if len(self._events) < EVENTS_WAITING_MAX and not self._closed:
            # The error itself holds the frames of the connection, which holds the session, which would hold the error.
            self._push([type(error)(str(error), error.code)])

    def complain(self, code: str, what: str) -> None:
        """Tell the client that something it sent is wrong, unless it was told so much already."""
        if self._complaints.allow("", trio.current_time()):
            self.outbox.tell(browser_down.error(code, what))

    def close(self) -> None:
        """Nothing more comes from the client, and nothing more goes to it."""
        self._closed = True
        self.outbox.close()
        self._news.fire()
        self._room.fire()

    async def _wait_for_room(self) -> None:
        await trio.lowlevel.checkpoint()
        while len(self._events) >= EVENTS_WAITING_MAX and not self._closed:
            await self._room.wait()

    def _push(self, events: Sequence[CallerEvent | RemoteProtocolError]) -> None:
        """Wakes the reader even without an event: there may be a new deadline."""
        self._events += events
        self._news.fire()
