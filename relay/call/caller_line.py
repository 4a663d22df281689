"""The receiver task of a call: it reads the caller's newest socket, and waits for the next when that is lost.

| state    | meaning                                   | leaves when                              | deadline           |
|----------|-------------------------------------------|------------------------------------------|--------------------|
| expected | no socket was there yet                   | a socket is lent -> attached             | the call's own     |
| attached | the caller hears and is heard             | the socket is lost -> waiting            | none               |
|          |                                           | another is lent -> attached to that one  |                    |
| waiting  | the assistant gets silence, and keeps its | a socket is lent -> attached; what was   | `reattach_grace_s` |
|          | call; what it says is queued              | not heard is played again                | after the loss, or |
|          |                                           | deadline -> over: the caller is lost     | the last grant     |

Sockets follow each other: one that was replaced or lost is given back at once, and nothing that still comes from it,
nor from its writer, reaches the call, but for keys (`relay/daemon/twilio_media.py`).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import trio

from relay.call.caller.analysis import NewStream
from relay.call.caller.leg import CallerAudio, CallerEvent, CallerLeg, TooManyMalformed
from relay.call.playback.speaker import Speaker
from relay.call.report.events import CallerAttached, CallerLost, CallerNotBack, CallerReattached
from relay.call.report.report import Report
from relay.errors import LegClosed, LegLost, MessageUnsupported, RemoteProtocolError
from relay.logic.caller.reattach import Reattach, ReattachRules
from relay.logic.rate_limit import RateLimit
from relay.wakeup import Signal, current_time, turn

MALFORMED_BURST, MALFORMED_PER_S = 100, 5.0
"""So many malformed messages in a call do no harm. A caller sends 50 messages a second, and TCP spoils none of them:
who sends more malformed ones than these does not speak the protocol."""


class CallerLine:
    """The caller's side of one call, whichever socket carries it.

    The caller's audio goes to `take_now`, with a `NewStream` before that of each further socket, and where that says
    False, into `frames`.
    `ages_s` are those of the attempts that another process had granted.
    """

    def __init__(
        self,
        frames: trio.MemorySendChannel[CallerAudio | NewStream],
        take_now: Callable[[CallerAudio | NewStream], bool],
        speaker: Speaker,
        rules: ReattachRules,
        report: Report,
        *,
        ages_s: Iterable[float] = (),
    ) -> None:
        self._frames = frames
        self._take_now = take_now
        self._speaker = speaker
        self._report = report
        self._recording = report.recording
        self._reattach = Reattach(rules, ages_s=ages_s, now=current_time())
        self._given_back = trio.Event()
        self._reading = trio.CancelScope()
        self._lost_at: float | None = None
        self._to_replay_ms = 0.0
        self._missing_before = self._reordered_before = 0
        self._closed = False
        self._malformed = RateLimit(per_s=MALFORMED_PER_S, burst=MALFORMED_BURST)
        self._attached = Signal()
        self.leg: CallerLeg | None = None

    @property
    def messages_missing(self) -> int:
        """Of all sockets: messages that the numbering says were sent and that never came."""
        return self._missing_before + (self.leg.order().missing if self.leg else 0)

    @property
    def messages_reordered(self) -> int:
        """Of all sockets: messages that others had overtaken, and that were put in order again."""
        return self._reordered_before + (self.leg.order().reordered if self.leg else 0)

    async def until_attached(self) -> None:
        """Return once a socket is there, or was there."""
        await trio.lowlevel.checkpoint()
        while self.leg is None and self._lost_at is None:
            await self._attached.wait()

    def attempt_ages_s(self) -> tuple[float, ...]:
        """How long ago each attempt to attach the caller again was granted, of those that still count."""
        return self._reattach.ages_s(current_time())

    def grant(self) -> bool:
        """Whether the caller's stream may be attached once more; counts it if so."""
        if self._recording is not None:
            self._recording.reattach_asked()
        granted = not self._closed and self._reattach.grant(current_time())
        if not granted and not self._closed:
            self._report.tell(CallerNotBack())
        return granted

    @contextmanager
    def lend(self, leg: CallerLeg) -> Iterator[trio.Event]:
        """Use a socket of the caller for as long as the context is open. The event says that it is not needed."""
        if self._recording is not None:
            self._recording.caller_lent(joins_frames=leg.joins_frames)
        if self.leg is not None:
            self._lose("another stream of the caller took its place")
        self._given_back = given_back = trio.Event()
        if self._closed:
            given_back.set()
        self.leg = leg
        self._speaker.attach(leg)
        self._reattach.attached()
        self._attached.fire()
        try:
            yield given_back
        finally:
            if leg is self.leg and not self._closed:
                if self._recording is not None:
                    self._recording.caller_socket_gone(None)
                self._lose("its endpoint gave it up")
            self._speaker.detach(leg)

    def close(self) -> None:
        """The call is over: give back what there is, and take nothing more."""
        self._closed = True
        self._given_back.set()

    async def run(self, take: Callable[[CallerEvent], None]) -> None:
        """Hand on what the caller says, all but audio to `take`. Return when the caller is not back in time."""
        await self.until_attached()
        while (leg := await self._next()) is not None:
            with trio.CancelScope() as self._reading:
                await self._note_attached()
                try:
                    await self._read(leg, take)
                except (LegLost, LegClosed) as lost:
                    if leg is self.leg:
                        if self._recording is not None:
                            self._recording.caller_socket_gone(str(lost))
                        self._lose(str(lost))

    async def _next(self) -> CallerLeg | None:
        while self.leg is None:
            deadline = self._reattach.deadline
            if deadline is not None and deadline <= current_time():
                self._report.tell(CallerNotBack())
                return None
            await self._attached.wait(math.inf if deadline is None else deadline, "reattach")
        return self.leg

    async def _note_attached(self) -> None:
        await turn("attached")
        if self._lost_at is None:
            self._report.tell(CallerAttached())
            return
        gap_s, self._lost_at = current_time() - self._lost_at, None
        self._report.tell(CallerReattached(round(gap_s * 1000, 1), replayed_ms=round(self._to_replay_ms)))
        await self._pass_on(NewStream())

    async def _read(self, leg: CallerLeg, take: Callable[[CallerEvent], None]) -> None:
        while True:
            try:
                audio = await leg.receive_each(partial(self._hand_on, take))
            except RemoteProtocolError as error:
                if self._recording is not None:
                    unsupported = isinstance(error, MessageUnsupported)
                    self._recording.caller_note("unsupported" if unsupported else "malformed", error.code, str(error))
                self._report.bad_caller_message(error)
                if not (isinstance(error, MessageUnsupported) or self._malformed.allow("", current_time())):
                    take(TooManyMalformed())
            else:
                await self._frames.send(audio)

    async def _pass_on(self, audio: CallerAudio | NewStream) -> None:
        """Nearly all is taken at once, and then costs no round of the scheduler."""
        try:
            self.hear(audio)
        except trio.WouldBlock:
            await self._frames.send(audio)

    def _hand_on(self, take: Callable[[CallerEvent], None], event: CallerEvent) -> CallerAudio | None:
        """Returns audio that has to wait for room, as most need not."""
        if not isinstance(event, CallerAudio):
            take(event)
            return None
        if not self._take_now(event):
            try:
                self._frames.send_nowait(event)
            except trio.WouldBlock:
                return event
        return None

    def hear(self, audio: CallerAudio | NewStream) -> None:
        """Hand audio on at once. Raises trio.WouldBlock where there is no room for it."""
        if not self._take_now(audio):
            self._frames.send_nowait(audio)

    def _lose(self, why: str) -> None:
        assert self.leg is not None
        now = current_time()
        self._report.tell(CallerLost(why))
        self._missing_before, self._reordered_before = self.messages_missing, self.messages_reordered
        self._to_replay_ms = self._speaker.detach(self.leg)
        self.leg = None
        self._lost_at = now
        self._reattach.lost(now)
        self._given_back.set()
        self._reading.cancel()
