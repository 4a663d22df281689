"""The forwarder task: the assistant's socket, up from the replay log and down into playback.

| state      | waits for                           | deadline                     | then                             |
|------------|-------------------------------------|------------------------------|----------------------------------|
| dialing    | the answer to POST /call            | `request_timeout_s`          | connecting, or over: unavailable |
| connecting | the WebSocket handshake             | `connect_timeout_s`          | live, or over: unavailable       |
| live       | messages, and a pong for every ping | `keepalive_s`+`pong_timeout_s` | over: it ended, or was lost    |
| leaving    | `end-call` written, socket closed   | `LEAVE_S`                    | deleting if that failed          |
| deleting   | the answer to DELETE /call/{id}     | `DELETE_S`                   | over                             |

The end of the call is `leaving`, whatever the state: what is under way may come to its end, because a call whose id
nobody knows cannot be deleted, and a socket is where a goodbye is said best.
"""

from collections import deque
from collections.abc import Callable

import structlog
import trio

from relay.call.counts import Counts
from relay.call.dialer import AssistantSocket, Dialer
from relay.call.playback import Playback
from relay.config import SessionConfig
from relay.errors import AssistantUnavailable, LegClosed, LegLost, RemoteProtocolError
from relay.logic.outcome import EndReason
from relay.logic.replay import ReplayLog
from relay.wire import vapi, vapi_controls
from relay.wire.vapi_call import CallCreated

LEAVE_S = 1.0
DELETE_S = 0.8
SEND_DEADLINE_S = 5.0
LAST_WORDS_S = 1.0
"""When a send fails the assistant is gone, but what it said before, and why it left, can still be read."""
NOTES_MAX = 32
"""Text messages that may wait for the assistant's socket: more than anybody's fingers send in a second."""
GOODBYE_CODES = {1000, 1005}
"""The peer closed because it was done, with a code or without (RFC 6455, 7.4.1)."""

log = structlog.get_logger(__name__)


class Forwarder:
    """One per call."""

    def __init__(
        self,
        dialer: Dialer,
        replay: ReplayLog,
        playback: Playback,
        session: SessionConfig,
        counts: Counts,
        *,
        listening: Callable[[], None],
    ) -> None:
        self._dialer = dialer
        self._replay = replay
        self._playback = playback
        self._session = session
        self._counts = counts
        self._listening = listening
        self._notes: deque[str] = deque(maxlen=NOTES_MAX)
        self._something_to_send = trio.lowlevel.ParkingLot()
        self._unsent_since: float | None = None
        self._live = False
        self._leaving = False
        self._hung_up = False
        self.assistant_call_id: str | None = None

    def audio_logged(self, arrived_at: float) -> None:
        """There is something new in the replay log, which came from the caller at this time."""
        if self._unsent_since is None:
            self._unsent_since = arrived_at
        self._something_to_send.unpark_all()

    def send_note(self, text: str) -> None:
        """Send a text message to the assistant, before any audio that waits."""
        self._notes.append(text)
        self._something_to_send.unpark_all()

    async def run(self, call_id: str) -> EndReason:
        """Dial and converse until the assistant is gone; returns why. Cancelled, it hangs up within 2 s."""
        outcome = EndReason.ASSISTANT_UNAVAILABLE
        talk, lifeline = trio.CancelScope(), trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leave_when_cancelled, talk, lifeline)
            try:
                with lifeline:
                    outcome = await self._dial(call_id, talk)
            finally:
                await self._delete_unless_hung_up()
            nursery.cancel_scope.cancel()
        return outcome

    async def _leave_when_cancelled(self, talk: trio.CancelScope, lifeline: trio.CancelScope) -> None:
        """Whatever is under way on the lifeline may go on for a moment after the talk."""
        try:
            await trio.sleep_forever()
        finally:
            talk.cancel()
            lifeline.deadline = trio.current_time() + LEAVE_S

    async def _dial(self, call_id: str, talk: trio.CancelScope) -> EndReason:
        log.info("assistant.dialing", assistant=self._dialer.name, audio=str(self._dialer.format))
        try:
            created = await self._dialer.create(call_id)
        except AssistantUnavailable as error:
            log.warning("assistant.unavailable", code=error.code, error=str(error))
            return EndReason.ASSISTANT_UNAVAILABLE
        self.assistant_call_id = created.call_id
        if talk.cancel_called:
            return EndReason.ASSISTANT_UNAVAILABLE
        try:
            return await self._converse(created, talk)
        except* (LegLost, LegClosed) as lost:
            outcome = self._lost(lost, leaving=talk.cancel_called)
        return outcome

    async def _converse(self, created: CallCreated, talk: trio.CancelScope) -> EndReason:
        async with self._dialer.connect(created) as socket:
            self._live = True
            log.info("assistant.ready", assistant_call_id=created.call_id)
            self._listening()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump_up, socket)
                with talk:
                    await self._talk(socket)
                if talk.cancelled_caught:
                    self._say_goodbye()
                else:
                    self._hung_up = True
                    nursery.cancel_scope.cancel()
        return EndReason.ASSISTANT_ENDED

    async def _talk(self, socket: AssistantSocket) -> None:
        """Return when the assistant says that it has ended the call."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.run_keepalive, self._session.keepalive_s, self._session.pong_timeout_s)
            await self._pump_down(socket)
            nursery.cancel_scope.cancel()

    def _say_goodbye(self) -> None:
        self._notes.clear()
        self.send_note(vapi_controls.end_call())
        self._leaving = True

    async def _delete_unless_hung_up(self) -> None:
        if self.assistant_call_id is not None and not self._hung_up:
            with trio.move_on_after(DELETE_S, shield=True):
                await self._dialer.delete(self.assistant_call_id)

    def _lost(self, lost: BaseExceptionGroup[LegLost | LegClosed], *, leaving: bool) -> EndReason:
        if leaving:
            return EndReason.ASSISTANT_UNAVAILABLE
        error: BaseException = lost
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        close_code = error.close_code if isinstance(error, LegClosed) else None
        if not self._live:
            log.warning("assistant.unavailable", code="SOCKET_FAILED", error=str(error))
            return EndReason.ASSISTANT_UNAVAILABLE
        if close_code in GOODBYE_CODES:
            self._hung_up = True
            return EndReason.ASSISTANT_ENDED
        log.warning("assistant.lost", error=str(error), close_code=close_code)
        return EndReason.ASSISTANT_UNAVAILABLE

    async def _pump_up(self, socket: AssistantSocket) -> None:
        """The one writer of the socket: it is not cancelled inside a send as long as anything is to follow."""
        while not self._hung_up:
            message = self._notes.popleft() if self._notes else self._replay.read()
            if message is None:
                await self._something_to_send.park()
                continue
            await self._send(socket, message)
            if isinstance(message, bytes):
                self._note_sent()
            elif self._leaving and not self._notes:
                self._hung_up = True

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

    def _note_sent(self) -> None:
        self._counts.frame("assistant", "up")
        if self._unsent_since is not None:
            self._counts.frame_delay("up", trio.current_time() - self._unsent_since)
            self._unsent_since = None

    async def _pump_down(self, socket: AssistantSocket) -> None:
        """Take what the assistant sends until it says that the call has ended."""
        while True:
            message = await socket.receive()
            if isinstance(message, bytes):
                self._playback.receive_audio(message)
                continue
            try:
                event = vapi.parse(message)
            except RemoteProtocolError as error:
                if self._counts.protocol_error("assistant", error.code):
                    log.warning("assistant.bad_message", code=error.code, error=str(error))
                continue
            if self._handle(event):
                return

    def _handle(self, event: vapi.Event) -> bool:
        """Act on a text message; True when the assistant has ended the call."""
        match event:
            case vapi.SpeechUpdate(status="started", role="assistant", turn=turn):
                self._playback.assistant_started(turn)
            case vapi.SpeechUpdate(status="stopped", role="assistant"):
                self._playback.assistant_stopped()
            case vapi.UserInterrupted():
                self._playback.assistant_interrupted()
            case vapi.Transcript():
                self._note_words(event)
            case vapi.StatusUpdate(status="ended", ended_reason=ended_reason):
                log.info("assistant.ended", ended_reason=ended_reason)
                return True
            case vapi.Other(type=kind):
                if self._counts.protocol_error("assistant", "UNKNOWN_TYPE"):
                    log.info("assistant.unknown_message", type=kind)
        return False

    def _note_words(self, said: vapi.Transcript) -> None:
        if said.role == "user":
            self._playback.caller_words(len(said.text.split()))
        if said.final:
            log.info("transcript.final", role=said.role, characters=len(said.text))
            log.debug("transcript.text", role=said.role, text=said.text)
