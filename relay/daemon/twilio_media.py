"""WS /twilio/media: lets a stream of Twilio in, and lends its socket to the call it belongs to.

| state    | waits for                        | deadline                        | then                              |
|----------|----------------------------------|---------------------------------|-----------------------------------|
| upgrade  | nothing: decided from the head   |                                 | 404, 403, 503, or accepted        |
| starting | `connected`, then `start`        | `twilio.media_start_timeout_s`  | closed with 1008, at once for a   |
|          |                                  |                                 | `start` of no use; or lent        |
| lent     | the call to give the socket back | those of the call               | leaving                           |
| leaving  | what is queued to be written;    | `LAST_WORDS_S`                  | closed                            |
|          | while the call goes on over      |                                 |                                   |
|          | another stream, keys that were   |                                 |                                   |
|          | pressed before, until the end    |                                 |                                   |

Sources: Twilio Media Streams, "WebSocket messages"; RFC 6455, 7.4.1 for the close codes.
"""

from contextlib import ExitStack, suppress

import structlog
import trio
from structlog.contextvars import bound_contextvars

from relay.call.call import Call
from relay.call.caller.leg import CallerGone, KeyPressed
from relay.call.caller.twilio_leg import TwilioLeg
from relay.daemon.answers import refuse
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.twilio_hooks import MEDIA
from relay.errors import AuthRejected, CallRefused, LegLost, RemoteProtocolError, RequestRefused, StartUnusable
from relay.net.asgi_socket import AsgiSocket, Receive, Scope, Send
from relay.net.link.link import SILENT_LIMIT_S
from relay.net.outbox import Outbox
from relay.wire import twilio
from relay.wire.caller_variables import caller_variables
from relay.wire.signature import SETTINGS_HEADER, SIGNATURE_HEADER
from relay.wire.twiml import TOKEN_NAME

OUTBOX_ENTRIES = 25
"""Frames and marks, about 400 ms: more than playback's lead. When it is full, playback waits."""
SEND_DEADLINE_S = 5.0
"""A socket that takes nothing for so long is gone: the kernel gives it up after the same time."""
LAST_WORDS_S = 0.5
"""For what is still queued when the call gives the socket back, and for keys that are still on their way."""
BAD_MESSAGES_MAX = 5
POLICY_VIOLATION = 1008

log = structlog.get_logger(__name__)


class MediaEndpoint:
    """One for the daemon; `serve` is the whole life of one socket and never raises what a peer did."""

    def __init__(self, context: EndpointContext) -> None:
        self._context = context
        self._takeover = context.takeover
        self._gate = context.gate
        self._metrics = context.metrics
        self._refusals = context.refusals
        self._unstarted = context.limits.unstarted_streams

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsgiSocket(scope, receive, send) as socket:
            try:
                await self._serve(socket)
            except* LegLost as lost:
                self._refusals.info("media.lost", "", error=str(lost.exceptions[0]))
            except* Exception:
                log.exception("media.failed", repeats=())
                await socket.close(1011)

    async def _serve(self, socket: AsgiSocket) -> None:
        with ExitStack() as unstarted:
            try:
                self._check_upgrade(socket)
                unstarted.enter_context(self._unstarted.hold(MEDIA))
            except (AuthRejected, RequestRefused) as refused:
                await refuse(socket, refused)
                return
            await socket.accept()
            start = await self._start_message(socket)
            call = None if start is None else await self._claim(start)
        if start is None or call is None:
            await socket.close(POLICY_VIOLATION)
            return
        socket.admit()
        call.tell_of_caller(
            caller_variables(start.parameters, self._context.config.twilio.pass_fields, with_number=False)
        )
        with bound_contextvars(call_id=call.id):
            await self._lend(socket, start, call)

    def _check_upgrade(self, socket: AsgiSocket) -> None:
        if not self._context.config.twilio.enabled:
            raise RequestRefused(404, "NOT_FOUND", "twilio.enabled is false")
        target = f"{socket.raw_path}?{socket.query}" if socket.query else socket.raw_path
        signature, settings = socket.header(SIGNATURE_HEADER), socket.header(SETTINGS_HEADER)
        self._gate.check_handshake(MEDIA, target, signature, settings)

    async def _start_message(self, socket: AsgiSocket) -> twilio.StreamStart | None:
        bad = 0
        timeout_s = self._context.config.twilio.media_start_timeout_s
        with trio.move_on_after(timeout_s):
            while bad < BAD_MESSAGES_MAX:
                try:
                    event = twilio.parse(await socket.receive())
                except StartUnusable as error:
                    self._note_bad(error.code, str(error))
                    return None
                except RemoteProtocolError as error:
                    bad += 1
                    self._note_bad(error.code, str(error))
                    continue
                if isinstance(event, twilio.StreamStart):
                    return event
                if not isinstance(event, twilio.Connected):
                    bad += 1
                    self._note_bad("BEFORE_START", "a message of a stream that did not start")
            return None
        self._refusals.warning("media.no_start", "", timeout_s=timeout_s)
        return None

    def _note_bad(self, code: str, error: str) -> None:
        self._metrics.protocol_errors.labels("caller", code).inc()
        self._refusals.warning("caller.bad_message", code, code=code, error=error)

    async def _claim(self, start: twilio.StreamStart) -> Call | None:
        """The call that this stream is for; None, counted and logged, if it shows no right to one."""
        try:
            self._gate.check_account(MEDIA, start.account_sid)
        except AuthRejected:
            return None
        try:
            return await self._takeover.admit(start.parameters.get(TOKEN_NAME, ""), start.call_sid)
        except AuthRejected as rejected:
            self._gate.rejected(MEDIA, str(rejected))
        except CallRefused as refused:
            log.info("media.refused", reason=refused.reason)
        return None

    async def _lend(self, socket: AsgiSocket, start: twilio.StreamStart, call: Call) -> None:
        outbox = Outbox(socket, capacity=OUTBOX_ENTRIES, fence=call.fence)
        written = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, socket, outbox, written)
            reorder_ms = self._context.config.jitter.reorder_ms
            leg = TwilioLeg(socket, outbox, start.stream_sid, first=start.sequence + 1, reorder_ms=reorder_ms)
            with call.lend(leg) as given_back:
                await given_back.wait()
            outbox.close()
            with trio.move_on_after(LAST_WORDS_S):
                await written.wait()
                await self._pass_on_keys(leg, call)
            await socket.close()
            nursery.cancel_scope.cancel()

    async def _pass_on_keys(self, leg: TwilioLeg, call: Call) -> None:
        """The caller pressed them while this was their stream. There are none if the socket is lost."""
        with suppress(LegLost):
            while call.end_reason is None:
                try:
                    event = await leg.receive()
                except RemoteProtocolError as error:
                    self._note_bad(error.code, str(error))
                    continue
                match event:
                    case KeyPressed():
                        call.press(event)
                    case CallerGone():
                        return

    async def _write(self, socket: AsgiSocket, outbox: Outbox, written: trio.Event) -> None:
        """The writer. A socket that cannot be written is closed, which the call's receiver hears as its loss: once it
        has had the time to read a `stop` that came before, behind which Twilio closes."""
        try:
            await outbox.run(SEND_DEADLINE_S)
        except LegLost:
            written.set()
            await trio.sleep(SILENT_LIMIT_S)
            await socket.close()
        finally:
            written.set()
