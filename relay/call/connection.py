"""One call with the assistant, from POST /call until its socket is gone.

| state      | waits for                           | deadline                     | then                             |
|------------|-------------------------------------|------------------------------|----------------------------------|
| dialing    | the answer to POST /call            | `request_timeout_s`          | connecting, or over: failed      |
| connecting | the WebSocket handshake             | `connect_timeout_s`          | opening, or over: failed         |
| opening    | "in-progress", or audio, before the | `READY_S`                    | live in any case                 |
|            | context is sent; not the first time |                              |                                  |
| live       | the first message                   | `reconnect.answer_timeout_s` | over: lost                       |
|            | a pong for every ping               | `session.keepalive_s` +      | over: lost                       |
|            |                                     | `pong_timeout_s`             |                                  |
|            | audio, from a peer that sends       | `reconnect.audio_timeout_s`  | over: lost                       |
|            | silence too                         |                              |                                  |
|            | a write                             | `SEND_DEADLINE_S`            | over: lost                       |
|            | "ended", or a close with 1000       |                              | over: ended; lost, if Vapi says  |
|            |                                     |                              | that its worker failed           |
|            | any other end of the socket         |                              | over: lost                       |
| leaving    | `end-call` written, the goodbye     | `LEAVE_S`                    | over; without an answer the call |
|            | answered                            |                              | has to be deleted                |

Cancellation is `leaving`, whatever the state: what is under way may come to its end, because a call whose id nobody
knows cannot be deleted, and a socket is where a goodbye is said best.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

import structlog
import trio

from relay.call.counts import Counts
from relay.call.dialer import AssistantSocket, Dialer
from relay.call.events import EventFeed, Trouble
from relay.call.incoming import Incoming
from relay.call.outgoing import Outgoing
from relay.config import Config
from relay.errors import AssistantUnavailable, LegClosed, LegLost
from relay.wire import vapi_controls
from relay.wire.vapi_call import CallCreated, retriable_end

LEAVE_S = 1.0
SEND_DEADLINE_S = 5.0
LAST_WORDS_S = 1.0
"""When a send fails the assistant is gone, but what it said before, and why it left, can still be read."""
READY_S = 1.0
"""How long a new call is given to say that it listens before it gets the context all the same."""
GOODBYE_CODE = 1000
"""The peer closed because it was done (RFC 6455, 7.4.1)."""

log = structlog.get_logger(__name__)


class Ending(Enum):
    """How a connection came to its end."""

    ENDED = auto()
    """The assistant hung up."""
    LOST = auto()
    """It was live, and broke off."""
    FAILED = auto()
    """It never was live, and the next may be."""
    REFUSED = auto()
    """It never was live, and the same request will be refused again."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a new call begins with. `replaces` is the call whose conversation it goes on with, if there is one.

    `greet`: it speaks first. `messages` gives the context once the new call listens; None: there is nothing to wait
    for. `opened` is called then, right before the first audio.
    """

    greet: bool = True
    replaces: str | None = None
    messages: Callable[[], Iterable[str]] | None = None
    opened: Callable[[], None] = lambda: None


class Connection:
    """Used once. `began_at` is when it was live, `call_id` the assistant's id of the call."""

    def __init__(
        self,
        dialer: Dialer,
        outgoing: Outgoing,
        incoming: Incoming,
        opening: Opening,
        *,
        config: Config,
        counts: Counts,
        events: EventFeed,
    ) -> None:
        self._dialer = dialer
        self._outgoing = outgoing
        self._incoming = incoming
        self._config = config
        self._counts = counts
        self._events = events
        self._opening = opening
        self._messages: deque[str] = deque()
        self._leaving = False
        self.hung_up = False
        """The assistant's side knows that the call is over."""
        self.call_id: str | None = None
        self.began_at: float | None = None

    @property
    def lived_s(self) -> float:
        """How long it has been live."""
        return 0.0 if self.began_at is None else trio.current_time() - self.began_at

    async def run(self, call_id: str, *, listening: Callable[[], None]) -> Ending:
        """Dial and converse until the connection is over. Cancelled, it says goodbye within `LEAVE_S`."""
        ending = Ending.LOST
        talk, lifeline = trio.CancelScope(), trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leave_when_cancelled, talk, lifeline)
            with lifeline:
                ending = await self._dial(call_id, talk, listening)
            nursery.cancel_scope.cancel()
        return ending

    async def _leave_when_cancelled(self, talk: trio.CancelScope, lifeline: trio.CancelScope) -> None:
        """Whatever is under way on the lifeline may go on for a moment after the talk."""
        try:
            await trio.sleep_forever()
        finally:
            talk.cancel()
            lifeline.deadline = trio.current_time() + LEAVE_S

    async def _dial(self, call_id: str, talk: trio.CancelScope, listening: Callable[[], None]) -> Ending:
        log.info("assistant.dialing", assistant=self._dialer.name, audio=str(self._dialer.format))
        try:
            created = await self._dialer.create(call_id, greet=self._opening.greet, replaces=self._opening.replaces)
        except AssistantUnavailable as error:
            log.warning("assistant.unavailable", code=error.code, error=str(error))
            self._events.publish(Trouble("assistant", error.code, str(error)))
            return Ending.FAILED if error.retriable else Ending.REFUSED
        self.call_id = created.call_id
        if talk.cancel_called:
            return Ending.FAILED
        try:
            return await self._converse(created, talk, listening)
        except* (LegLost, LegClosed) as lost:
            ending = self._broken(lost, leaving=talk.cancel_called)
        return ending

    async def _converse(self, created: CallCreated, talk: trio.CancelScope, listening: Callable[[], None]) -> Ending:
        ending = Ending.LOST
        async with self._dialer.connect(created) as socket:
            self.began_at = trio.current_time()
            log.info("assistant.ready", assistant_call_id=created.call_id)
            listening()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump_up, socket)
                with talk:
                    ending = await self._talk(socket)
                if talk.cancelled_caught:
                    self._say_goodbye()
                else:
                    self.hung_up = True
                    nursery.cancel_scope.cancel()
        return ending

    async def _talk(self, socket: AssistantSocket) -> Ending:
        """Return when the assistant says that it has ended the call."""
        session, reconnect = self._config.session, self._config.reconnect
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.run_keepalive, session.keepalive_s, session.pong_timeout_s)
            nursery.start_soon(self._incoming.watch, reconnect.answer_timeout_s, reconnect.audio_timeout_s)
            while (ended := self._incoming.take(await socket.receive())) is None:
                pass
            nursery.cancel_scope.cancel()
        if not retriable_end(ended.ended_reason):
            return Ending.ENDED
        self._note_lost(str(ended.ended_reason), None)
        return Ending.LOST

    def _say_goodbye(self) -> None:
        self._messages = deque([vapi_controls.end_call()])
        self._leaving = True
        self._incoming.began.set()
        self._outgoing.wake()

    def _broken(self, lost: BaseExceptionGroup[LegLost | LegClosed], *, leaving: bool) -> Ending:
        error: BaseException = lost
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        close_code = error.close_code if isinstance(error, LegClosed) else None
        if leaving:
            return Ending.LOST
        if self.began_at is None:
            log.warning("assistant.unavailable", code="SOCKET_FAILED", error=str(error))
            self._events.publish(Trouble("assistant", "SOCKET_FAILED", str(error)))
            return Ending.FAILED
        if close_code == GOODBYE_CODE:
            self.hung_up = True
            return Ending.ENDED
        self._note_lost(str(error), close_code)
        return Ending.LOST

    def _note_lost(self, error: str, close_code: int | None) -> None:
        log.warning("assistant.lost", error=error, close_code=close_code)
        self._events.publish(Trouble("assistant", "ASSISTANT_LOST", error))

    async def _pump_up(self, socket: AssistantSocket) -> None:
        """The one writer of the socket: it is not cancelled inside a send as long as anything is to follow."""
        await self._open()
        while not self.hung_up:
            message = self._messages.popleft() if self._messages else self._outgoing.take()
            if message is None:
                await self._outgoing.wait()
                continue
            await self._send(socket, message)
            if isinstance(message, bytes):
                self._counts.frame("assistant", "up")
                if (delay_s := self._outgoing.audio_sent()) is not None:
                    self._counts.frame_delay("up", delay_s)
            elif self._leaving and not self._messages:
                await socket.part()
                self.hung_up = True

    async def _open(self) -> None:
        if self._opening.messages is None:
            return
        with trio.move_on_after(READY_S):
            await self._incoming.began.wait()
        if not self._leaving:
            self._messages.extend(self._opening.messages())
            self._opening.opened()

    async def _send(self, socket: AssistantSocket, message: str | bytes) -> None:
        try:
            with trio.fail_after(SEND_DEADLINE_S):
                await socket.send(message)
        except trio.TooSlowError:
            raise LegLost(f"a send to the assistant took longer than {SEND_DEADLINE_S:g} s") from None
        except LegLost:
            if not self._leaving:
                await trio.sleep(LAST_WORDS_S)
            raise
