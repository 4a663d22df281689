"""WS /client: lets a browser in, and is a connection of its session until it goes, or another takes its place.

| state    | waits for                         | deadline                 | then                                       |
|----------|-----------------------------------|--------------------------|--------------------------------------------|
| upgrade  | nothing: decided from the head    |                          | 403, 429, 503, or accepted                 |
| starting | the first message                 | `client.start_timeout_s` | an error and 1008, or attached             |
| attached | the socket, another connection,   | those of the session     | all that is queued is written, closed with |
|          | the end of the call               |                          | 1000; 1012 if another process has the call;|
|          |                                   |                          | SESSION_MOVED and 1008 if fenced           |

A first message that is no `start` begins a session with the usual format, and is its first audio.
"""

from contextlib import ExitStack

import structlog
import trio
from structlog.contextvars import bound_contextvars

from relay.call.browser.session import BrowserSession
from relay.call.browser.sessions import BrowserSessions
from relay.daemon.answers import refuse
from relay.daemon.client_gate import ClientGate
from relay.daemon.endpoint_context import EndpointContext
from relay.errors import LegLost, RemoteProtocolError, RequestRefused, SessionElsewhere
from relay.media.frames import WIDEBAND
from relay.net.asgi_socket import AsgiSocket, Receive, Scope, Send
from relay.net.link.link import SILENT_LIMIT_S
from relay.wire import browser, browser_down
from relay.wire.browser import ClientStart

BAD_STARTS_MAX = 5
POLICY_VIOLATION = 1008
SERVICE_RESTART = 1012
"""IANA's registry of close codes: the client may attach again, to the process that follows."""

log = structlog.get_logger(__name__)


class ClientSocketEndpoint:
    """One for the daemon; `serve` is the whole life of one socket and never raises what a client did."""

    def __init__(self, context: EndpointContext, gate: ClientGate) -> None:
        self._context = context
        self._sessions: BrowserSessions = context.sessions
        self._metrics = context.metrics
        self._refusals = context.refusals
        self._gate = gate
        self._limits = context.limits

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsgiSocket(scope, receive, send) as socket:
            try:
                await self._serve(socket, scope["client"][0])
            except* LegLost as lost:
                log.debug("client.lost", error=str(lost.exceptions[0]))
            except* Exception:
                log.exception("client.failed", repeats=())
                await socket.close(1011)

    async def _serve(self, socket: AsgiSocket, address: str) -> None:
        with ExitStack() as unstarted:
            try:
                unstarted.enter_context(self._limits.unstarted_browsers.hold(address))
                self._limits.starts.count(address)
                if not self._gate.has_key:
                    self._gate.check_origin(socket.header("origin"))
            except RequestRefused as refused:
                await refuse(socket, refused)
                return
            await socket.accept()
            begun = await self._begin(socket, address)
        if begun is None:
            await socket.close(POLICY_VIOLATION)
            return
        socket.admit()
        session, start, first = begun
        with bound_contextvars(call_id=session.call_id):
            await ClientConnection(socket, session).run(start, self._sessions.renew_resume(session), first)

    async def _begin(
        self, socket: AsgiSocket, address: str
    ) -> tuple[BrowserSession, ClientStart, browser.Event | None] | None:
        """The session of this socket, and its first event if that was no `start`; None, and told, if not let in."""
        try:
            event = await self._first_event(socket)
            start = event if isinstance(event, ClientStart) else ClientStart()
            session = await self._session(start, socket.header("origin"), address)
        except RequestRefused as refused:
            self._refusals.info("client.refused", refused.code, code=refused.code)
            session_id = refused.session_id if isinstance(refused, SessionElsewhere) else ""
            await socket.send(browser_down.refusal(refused.code, str(refused), session_id))
            return None
        return session, start, None if event is start else event

    async def _session(self, start: ClientStart, origin: str | None, address: str) -> BrowserSession:
        if start.resume is not None:
            return await self._sessions.resume(start.resume, start, address)
        self._gate.check_start(origin, start.token)
        return self._sessions.begin(start, address)

    async def _first_event(self, socket: AsgiSocket) -> browser.Event:
        bad = 0
        timeout_s = self._context.config.client.start_timeout_s
        with trio.move_on_after(timeout_s):
            while True:
                try:
                    return browser.parse(await socket.receive(), WIDEBAND)
                except RemoteProtocolError as error:
                    self._metrics.protocol_errors.labels("caller", error.code).inc()
                    await self._tell(socket, error.code, str(error))
                    bad += 1
                    if bad >= BAD_STARTS_MAX:
                        raise RequestRefused(400, "START_INVALID", "no message could be read") from None
        raise RequestRefused(408, "START_TIMEOUT", f"no message in {timeout_s:g} s: send start")

    async def _tell(self, socket: AsgiSocket, code: str, what: str) -> None:
        """An error that belongs to no session has no number."""
        await socket.send(browser_down.error(code, what).body.decode())


class ClientConnection:
    """One socket of a session. The writer is the only one that sends once the session is attached."""

    def __init__(self, socket: AsgiSocket, session: BrowserSession) -> None:
        self._socket = socket
        self._session = session
        self._done = trio.Event()
        self._close_code = 1000

    async def run(self, start: ClientStart, resume: str, first: browser.Event | None) -> None:
        """Until the socket is gone, another connection has its place, or the session is over and all was said."""
        session = self._session
        async with trio.open_nursery() as nursery:
            with session.attached("websocket") as fenced:
                ready = browser_down.ready(
                    session.id,
                    token=session.token,
                    resume=resume,
                    rate_hz=session.leg.format.rate_hz,
                    next_sequence=session.leg.uplink.next,
                    grace_s=session.grace_s,
                )
                nursery.start_soon(self._write, ready, start.after, fenced)
                nursery.start_soon(self._read, first)
                await self._done.wait()
            await self._socket.close(self._close_code)
            nursery.cancel_scope.cancel()

    async def _read(self, first: browser.Event | None) -> None:
        leg = self._session.leg
        try:
            if first is not None:
                await leg.feed(first)
            while True:
                message = await self._socket.receive()
                try:
                    event = browser.parse(message, self._session.declared)
                except RemoteProtocolError as error:
                    leg.reject(error)
                else:
                    await leg.feed(event)
        except LegLost:
            self._done.set()

    async def _write(self, ready: str, after: int | None, fenced: trio.Event) -> None:
        try:
            await self._socket.send(ready)
            await self._send_messages(after, fenced)
        except LegLost:
            with trio.move_on_after(
                SILENT_LIMIT_S
            ):  # a page that was left may have said `stop`, which is still to be read
                await fenced.wait()
        finally:
            self._done.set()

    async def _send_messages(self, after: int | None, fenced: trio.Event) -> None:
        outbox = self._session.leg.outbox
        cursor = outbox.last if after is None else after
        if cursor > outbox.last:
            await self._send_error("CURSOR_AHEAD", f"after is {cursor}, but the last message had {outbox.last}")
            cursor = outbox.last
        while True:
            await outbox.wait_after(cursor, fenced)
            if fenced.is_set():
                break
            messages, gap = outbox.read(cursor, 1)
            if gap is not None:
                cursor = gap[1]
                await self._socket.send(browser_down.numbered_text(browser_down.gap(*gap), cursor))
            for number, message in messages:
                await self._socket.send(browser_down.to_websocket(message, number))
                outbox.written(number)
                cursor = number
            if not messages and outbox.closed:
                if self._session.goes_on_elsewhere:
                    self._close_code = SERVICE_RESTART
                return
        self._close_code = POLICY_VIOLATION
        await self._send_error("SESSION_MOVED", "another connection has taken this session over")

    async def _send_error(self, code: str, what: str) -> None:
        await self._socket.send(browser_down.error(code, what).body.decode())
