"""The browser leg over plain HTTP: the same session, numbers and turns as over WS /client.

A `GET` is the connection that takes the messages, for as long as it waits: it fences an open WebSocket, and is fenced
by one that resumes, and by another `GET`. Audio that is sent twice is taken once.
"""

import json
from functools import partial

import trio
from structlog.contextvars import bound_contextvars

from relay.call.browser.outbox import BrowserOutbox
from relay.call.browser.session import BrowserSession
from relay.daemon.client_gate import CLIENT, TOKEN, ClientGate
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.routes import Routes
from relay.errors import RemoteProtocolError, RequestRefused
from relay.media.frames import WIDEBAND
from relay.net.asgi_request import AsgiRequest
from relay.net.asgi_socket import Scope
from relay.wire import browser, browser_down
from relay.wire.browser import ClientAudio, ClientStart
from relay.wire.json_text import WireCode

AUDIO_BODY_MAX_BYTES = 2**20
TEXT_BODY_MAX_BYTES = 65_536
WAIT_S = 10.0
"""For something to answer: less than proxies wait for an answer, often 30 s or more."""
TOGETHER_S = 0.04
"""Audio waits so long for more, so that an answer carries two or three frames; a text does not wait."""
MESSAGES_MAX = 200
"""Four seconds of audio; what is left over answers the next poll at once."""


class ClientPolling:
    """Browsers begin a session by POST, and show its token with every request after that."""

    def __init__(self, context: EndpointContext, gate: ClientGate) -> None:
        self._sessions = context.sessions
        self._gate = gate
        self._starts = context.limits.starts
        self._slow_bodies = context.limits.slow_bodies_of_sessions

    def add_to(self, routes: Routes) -> None:
        routes.add("POST", CLIENT, self.start)
        routes.add("POST", TOKEN, self.token)
        routes.add("POST", f"{CLIENT}/*/audio", self.send_audio)
        routes.add("GET", f"{CLIENT}/*/audio", self.poll)
        routes.add("POST", f"{CLIENT}/*/messages", self.send_message)

    def session_of(self, scope: Scope) -> str | None:
        """The session whose request this is, if it is one and shows that session's token."""
        before, _, rest = scope["path"].partition(f"{CLIENT}/")
        if before or not rest:
            return None
        shown = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"), None)
        try:
            return self._sessions.find(rest.partition("/")[0], shown).id
        except RequestRefused:
            return None

    async def token(self, request: AsgiRequest, _part: str) -> None:
        """A token to begin a session with, for whoever has the key."""
        self._starts.count(request.client)
        token = self._gate.issue_token(request.header("authorization"), request.client)
        await request.answer(200, json.dumps({"token": token, "expires_s": self._gate.token_ttl_s}).encode())

    async def start(self, request: AsgiRequest, _part: str) -> None:
        """A new session, without a connection until the first poll."""
        self._starts.count(request.client)
        start = _message(await request.read(TEXT_BODY_MAX_BYTES))
        if not isinstance(start, ClientStart):
            raise RemoteProtocolError("POST /client takes a start message", browser.BrowserCode.START_NOT_FIRST)
        if start.resume is not None:
            text = "a session is resumed by a WebSocket, or by its own addresses with its token"
            raise RemoteProtocolError(text, WireCode.FIELD_INVALID)
        self._gate.check_start(request.header("origin"), start.token)
        session = self._sessions.begin(start, request.client)
        ready = browser_down.ready(
            session.id,
            token=session.token,
            resume=self._sessions.renew_resume(session),
            rate_hz=session.leg.format.rate_hz,
            next_sequence=session.leg.uplink.next,
            grace_s=session.grace_s,
        )
        await request.answer(201, ready.encode())

    async def send_audio(self, request: AsgiRequest, session_id: str) -> None:
        """Any number of frames. What is good of them is taken, whatever is wrong with the others."""
        session = await self._live(session_id, request)
        with bound_contextvars(call_id=session.call_id):
            received, first = 0, None
            for frame in browser.parse_frames(await request.read(AUDIO_BODY_MAX_BYTES), session.declared):
                if session.over:
                    raise _session_over()
                if isinstance(frame, RemoteProtocolError):
                    first = first or frame
                    session.leg.count(frame)
                    await trio.lowlevel.checkpoint()
                else:
                    session.seen()
                    received += 1
                    await session.leg.feed(frame, resent=True)
            if first is not None:
                try:
                    raise first
                finally:
                    del first, frame  # the error holds this frame, which would hold the error
        await request.answer(200, browser_down.audio_answer(received, session.leg.uplink.next))

    async def send_message(self, request: AsgiRequest, session_id: str) -> None:
        """`played` or `stop`."""
        session = await self._live(session_id, request)
        body = await request.read(TEXT_BODY_MAX_BYTES)
        try:
            event = _message(body)
        except RemoteProtocolError as error:
            session.leg.count(error)
            raise
        if isinstance(event, ClientStart | ClientAudio):
            raise RemoteProtocolError("this address takes played and stop", browser.BrowserCode.UNKNOWN_TYPE)
        await session.leg.feed(event)
        await request.answer(200, b"{}")

    async def poll(self, request: AsgiRequest, session_id: str) -> None:
        """Wait for messages behind `after`, and answer with all there are."""
        session = await self._reach(session_id, request)
        cursor = _cursor(request.query("after"), session.leg.outbox)
        if session.over and cursor == session.leg.outbox.last and not session.leg.outbox.has_after(cursor):
            raise RequestRefused(410, "SESSION_OVER", "the session has ended, and everything was said")
        with bound_contextvars(call_id=session.call_id):
            await self._wait(request, session, cursor)
        messages, gap = session.leg.outbox.read(cursor, MESSAGES_MAX)
        numbered: list[browser_down.Numbered] = list(messages)
        if gap is not None:
            numbered.insert(0, (gap[1], browser_down.gap(*gap)))
        await request.answer(200, browser_down.poll_answer(numbered, cursor))
        if messages:
            session.leg.outbox.written(messages[-1][0])

    async def _wait(self, request: AsgiRequest, session: BrowserSession, cursor: int) -> None:
        """Until there is something to answer, or the time is over. Raises RequestRefused when another one polls."""
        outbox = session.leg.outbox
        with session.attached("polling") as fenced:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(request.cancel_when_gone, nursery.cancel_scope)
                with trio.move_on_after(WAIT_S):
                    await outbox.wait_after(cursor, fenced)
                    with trio.move_on_after(TOGETHER_S):
                        await outbox.wait_text_after(cursor, fenced)
                nursery.cancel_scope.cancel()
            if fenced.is_set():
                raise RequestRefused(409, "SESSION_MOVED", "another connection has taken this session over")

    async def _reach(self, session_id: str, request: AsgiRequest) -> BrowserSession:
        if not self._sessions.has(session_id):  # to look for it elsewhere costs more
            self._starts.count(request.client)
        return await self._sessions.reach(session_id, request.header("authorization"), request.client)

    async def _live(self, session_id: str, request: AsgiRequest) -> BrowserSession:
        session = await self._reach(session_id, request)
        if session.over:
            raise _session_over()
        request.slow = partial(self._slow_bodies.hold, session.id)
        return session


def _session_over() -> RequestRefused:
    return RequestRefused(410, "SESSION_OVER", "the session has ended")


def _message(body: bytes) -> browser.Event:
    try:
        return browser.parse(body.decode() or "{}", WIDEBAND)
    except UnicodeDecodeError:
        raise RemoteProtocolError("the body is not UTF-8", WireCode.NOT_JSON) from None


def _cursor(after: str | None, outbox: BrowserOutbox) -> int:
    text = "0" if after is None else after
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise RemoteProtocolError("after must be the number of the last message had", WireCode.FIELD_INVALID)
    outbox.go_on_behind(int(text))
    if int(text) > outbox.last:
        raise RequestRefused(400, "CURSOR_AHEAD", f"after is {text}, but the last message had {outbox.last}")
    return int(text)
