"""One call with the assistant, from POST /call until its socket is gone.

| state      | waits for                           | deadline                     | then                             |
|------------|-------------------------------------|------------------------------|----------------------------------|
| dialing    | a call, from the `CallPlacer`       | `request_timeout_s`          | connecting, or over: failed      |
| connecting | the WebSocket handshake             | `connect_timeout_s`          | opening, or over: failed         |
| opening    | "in-progress", or audio, before the | `READY_S`                    | standing by in any case          |
|            | context is sent; not the first time |                              |                                  |
| standing   | the conversation, with silence; the | the caller's                 | live: the context, then audio    |
| by         | next at once after a loss           |                              |                                  |
| live       | the first message                   | `reconnect.answer_timeout_s` | over: lost                       |
|            | a pong for every ping               | `session.keepalive_s` +      | over: lost                       |
|            |                                     | `pong_timeout_s`             |                                  |
|            | audio, from a peer that sends       | `reconnect.audio_timeout_s`  | over: lost                       |
|            | silence too                         |                              |                                  |
|            | a write                             | `SEND_DEADLINE_S`            | over: lost                       |
|            | "ended", or a close with 1000       |                              | over: ended; lost or faulty, if  |
|            |                                     |                              | its reason is a fault; lost, if  |
|            |                                     |                              | there is none at `max_call_s`    |
|            | any other end of the socket         |                              | over: lost                       |
| leaving    | `end-call` written, the goodbye     | `LEAVE_S`                    | over                             |
|            | answered                            |                              |                                  |

Only a live connection hears the caller and is heard: what the assistant says before, or after it was left, goes
nowhere. The deadlines of a live connection hold while it stands by, but for that of audio, which nobody listens to
then. Cancellation is `leaving` from the handshake on, because a socket is where a goodbye is said best; before, it is
over at once. A call whose assistant does not know that it is over is left to the `CallPlacer`, which ends it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial

import trio

from relay.call.assistant.dialer import AssistantSocket, Dialer, NewCall
from relay.call.assistant.incoming import Incoming
from relay.call.assistant.outgoing import Outgoing
from relay.call.assistant.placer import CallPlacer
from relay.call.assistant.pump import Opening, Pump
from relay.call.report.assistant_events import AssistantLost, AssistantReady, DialFailed, Dialing, FormatAdopted
from relay.call.report.report import Report
from relay.config import Config
from relay.errors import AssistantUnavailable, LegClosed, LegLost
from relay.logic.assistant.ladder import Ladder
from relay.logic.assistant.recurrence import SOON_S
from relay.media.frames import AudioFormat
from relay.wakeup import current_time, sleep_until
from relay.wire.vapi_call import CallCreated
from relay.wire.vapi_ended import Family, family

LEAVE_S = 1.0
"""It stays under the 2 s that a call has for its end."""
STABLE_S = 2.0
"""A connection that breaks off sooner has not helped: its attempt stays counted."""
LIMIT_EARLY_S = 0.5
"""What a provider's clock may be ahead of ours."""
GOODBYE_CODE = 1000
"""The peer closed because it was done (RFC 6455, 7.4.1)."""


class Ending(Enum):
    """The ways in which a connection comes to its end."""

    ENDED = auto()
    """The assistant hung up."""
    LOST = auto()
    """It was live, and broke off."""
    FAULTY = auto()
    """It was live, and ended for a fault that the next call with the same assistant would have too."""
    FAILED = auto()
    """It never was live, and the next may be."""
    REFUSED = auto()
    """It never was live, and the same request will be refused again."""
    LOCKED_OUT = auto()
    """It never was live, and no other call with this assistant will be for a while."""


_ENDINGS = {
    Family.SAME_ASSISTANT: Ending.LOST,
    Family.OTHER_ASSISTANT: Ending.FAULTY,
    Family.ENDED: Ending.ENDED,
    Family.NEVER: Ending.ENDED,
}


class Connection:
    """The life of one call with the assistant; used once.

    `began_at` is when its socket was connected, `call_id` the assistant's id of the call; None: not yet. `format` is
    that of the audio: once the call is created, the one that was granted. `locked_out_s`: how long the assistant takes
    no other call. `fault` is why the call ended, by the assistant's word.
    """

    def __init__(
        self,
        dialer: Dialer,
        placer: CallPlacer,
        outgoing: Outgoing,
        incoming: Incoming,
        opening: Opening,
        *,
        config: Config,
        report: Report,
    ) -> None:
        self._dialer = dialer
        self._placer = placer
        self._incoming = incoming
        self._config = config
        self._report = report
        self._recording = report.recording
        self._opening = opening
        self._pump = Pump(outgoing, incoming, opening, dialer.format, report)
        self._stay = trio.CancelScope()
        self._ending = Ending.FAILED
        self._dialed_at = current_time()
        self.format = dialer.format
        self.call_id: str | None = None
        self.locked_out_s = 0.0
        self.fault: str | None = None
        self.began_at: float | None = None

    @property
    def lived_s(self) -> float:
        """How long it has been live."""
        return 0.0 if self.began_at is None else current_time() - self.began_at

    @property
    def busy(self) -> bool:
        """The assistant speaks, or is about to, by its own word."""
        return self._incoming.busy

    @property
    def stands_by(self) -> bool:
        """The assistant listens, and could have the conversation."""
        return self._pump.stands_by

    def take_floor(self) -> None:
        """The conversation is held over this connection from now on."""
        self._pump.take_floor()
        self._incoming.take_floor()

    def leave(self) -> None:
        """Say goodbye. From now on nothing that the assistant says is heard, and it gets nothing of the caller."""
        self._pump.leave_floor()
        self._incoming.leave_floor()
        self._stay.cancel()

    async def run(self, call_id: str, *, listening: Callable[[], None]) -> Ending:
        """Dial and converse until the connection is over. Cancelled, it says goodbye within `LEAVE_S`."""
        with self._stay:
            created = await self._place(call_id)
            if created is not None:
                await self._hold(created, listening)
        return self._ending

    async def _hold(self, created: CallCreated, listening: Callable[[], None]) -> None:
        """Converse; the call is over in any case then, or will be."""
        self._ending = Ending.LOST
        talk, lifeline, leaving = trio.CancelScope(), trio.CancelScope(shield=True), trio.CancelScope()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._leave_when_cancelled, talk, lifeline, leaving)
                try:
                    with lifeline:
                        self._ending = await self._try_to_converse(created, talk, listening)
                finally:
                    leaving.cancel()
        finally:
            if not self._pump.hung_up:
                self._placer.end(self._dialer, created.call_id, created.control_url)

    async def _leave_when_cancelled(
        self, talk: trio.CancelScope, lifeline: trio.CancelScope, leaving: trio.CancelScope
    ) -> None:
        """Whatever is under way on the lifeline may go on for a moment after the talk, until `leaving` is cancelled."""
        with leaving:
            try:
                await trio.sleep_forever()
            finally:
                talk.cancel()
                leaving.shield = True
                await sleep_until(current_time() + LEAVE_S, f"leave-{self._incoming.number}")
                lifeline.cancel()

    async def _place(self, call_id: str) -> CallCreated | None:
        self._report.tell(Dialing(self._dialer.name, audio=str(self._dialer.format)))
        opening = self._opening
        wanted = NewCall(call_id, opening.greet, opening.replaces, opening.handed_to, opening.variables)
        create = partial(self._dialer.create, wanted)
        try:
            created = await self._placer.place(self._dialer, create)
        except AssistantUnavailable as error:
            if self._recording is not None:
                self._recording.dial_refused(self._incoming.number, error)
            self._report.tell(DialFailed(error.code, str(error)))
            self.locked_out_s = error.locked_out_s
            if error.locked_out_s:
                self._ending = Ending.LOCKED_OUT
            elif not error.retriable:
                self._ending = Ending.REFUSED
            return None
        if self._recording is not None:
            self._recording.dialled(self._incoming.number, created.call_id, created.format)
        self.call_id = created.call_id
        if created.hand_off_refused:
            opening.hand_off_refused()
        if created.format != self.format:
            self._adopt(created.format)
        return created

    async def _try_to_converse(
        self, created: CallCreated, talk: trio.CancelScope, listening: Callable[[], None]
    ) -> Ending:
        try:
            return await self._converse(created, talk, listening)
        except* (LegLost, LegClosed) as lost:
            ending = self._broken(lost, leaving=talk.cancel_called)
        return ending

    def _adopt(self, granted: AudioFormat) -> None:
        self._report.tell(FormatAdopted(asked=str(self.format), granted=str(granted)))
        self.format = granted
        self._incoming.listen_to(granted)
        self._pump.speak_to(granted)

    async def _converse(self, created: CallCreated, talk: trio.CancelScope, listening: Callable[[], None]) -> Ending:
        ending = Ending.LOST
        async with self._dialer.connect(created) as socket:
            if self._recording is not None:
                self._recording.assistant_connected(self._incoming.number)
            self.began_at = current_time()
            self._report.tell(AssistantReady(created.call_id))
            listening()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump.run, socket)
                try:
                    with talk:
                        ending = await self._talk(socket)
                except BaseException:
                    nursery.cancel_scope.cancel()  # here, for the reason given in `_talk`
                    raise
                if talk.cancelled_caught:
                    self._pump.say_goodbye()
                else:
                    self._pump.hung_up = True
                    nursery.cancel_scope.cancel()
        return ending

    async def _talk(self, socket: AssistantSocket) -> Ending:
        """Return when the assistant says that it has ended the call."""
        session, reconnect = self._config.session, self._config.reconnect
        recording = self._recording
        answered = None if recording is None else partial(recording.ping_answered, self._incoming.number)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.run_keepalive, session.keepalive_s, session.pong_timeout_s, answered)
            nursery.start_soon(self._incoming.watch, reconnect.answer_timeout_s, reconnect.audio_timeout_s)
            try:
                ended = await self._incoming.run(socket)
            finally:  # not left to the nursery: its exception would be a cycle that keeps the whole call in memory
                nursery.cancel_scope.cancel()
        reason = ended.ended_reason
        at_limit = reason is None and self._has_reached_limit
        ending = Ending.LOST if at_limit else _ENDINGS[family(reason)]
        self.fault = reason
        if ending is not Ending.ENDED:
            self._note_lost(reason or "ended at its limit", None)
        return ending

    @property
    def _has_reached_limit(self) -> bool:
        """An end that comes now may be the provider's doing, which counts from a moment after our request."""
        limit_s = self._dialer.max_call_s
        return limit_s is not None and current_time() >= self._dialed_at + limit_s - LIMIT_EARLY_S

    def _broken(self, lost: BaseExceptionGroup[LegLost | LegClosed], *, leaving: bool) -> Ending:
        error: BaseException = lost
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        close_code = error.close_code if isinstance(error, LegClosed | LegLost) else None
        if leaving:
            return Ending.LOST
        if self._recording is not None:
            self._recording.assistant_gone(self._incoming.number, str(error), close_code)
        if self.began_at is None:
            self._report.tell(DialFailed("SOCKET_FAILED", str(error)))
            return Ending.FAILED
        if close_code == GOODBYE_CODE:
            self._pump.hung_up = True
        if close_code == GOODBYE_CODE and not self._has_reached_limit:
            return Ending.ENDED
        self.fault = None if close_code is None else str(error)
        self._note_lost(str(error), close_code)
        return Ending.LOST

    def _note_lost(self, error: str, close_code: int | None) -> None:
        self._report.tell(AssistantLost(error, close_code=close_code))


@dataclass(eq=False)
class Talk:
    """A call with the assistant as the forwarder keeps it: the connection, and what is to be learned from it.

    `rung` is the assistant's place in the pool, 0 the first: the pool is a ladder that a call goes down when assistants
    fail. `ladder` granted the dial, and is told what came of it. `ending` is None while the connection lives, and when
    it was cancelled. `told_ended` is why the assistant has ended the call, if a webhook says that it has.
    """

    rung: int
    ladder: Ladder
    dialer: Dialer
    connection: Connection
    dialed_at: float = field(default_factory=trio.current_time)
    ending: Ending | None = None
    told_ended: str | None = None
    over: trio.Event = field(default_factory=trio.Event)

    @property
    def lasted(self) -> bool:
        """It was live for long enough to say that dialling this assistant works; longer, if it ended for a fault that
        the next may have too."""
        return self.connection.lived_s >= (STABLE_S if self.connection.fault is None else SOON_S)

    async def run(self, call_id: str, connected: Callable[[], None]) -> None:
        """Until the connection is over. Cancelled, it takes `LEAVE_S`."""
        try:
            self.ending = await self.connection.run(call_id, listening=connected)
        finally:
            self._tell_ladder()
            self.over.set()

    def _tell_ladder(self) -> None:
        now = current_time()
        if self.ending is Ending.LOCKED_OUT:
            self.ladder.locked_out(self.rung, now, self.connection.locked_out_s)
        elif self.ending in {Ending.FAILED, Ending.REFUSED, Ending.FAULTY}:
            if self.lasted:
                self.ladder.succeeded(self.rung)
            self.ladder.failed(self.rung, now, retriable=self.ending is Ending.FAILED)
        elif self.ending is None and self.connection.began_at is None:
            self.ladder.abandoned(self.rung, now)
        elif self.ending is not None and self.lasted:
            self.ladder.succeeded(self.rung)
