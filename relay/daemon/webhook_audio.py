"""POST /webhook/audio: raw PCM by plain HTTP, counted, and with a session's token spoken into its call."""

import json

from structlog.contextvars import bound_contextvars

from relay.daemon.client_gate import WEBHOOK, ClientGate
from relay.daemon.front import Front
from relay.daemon.routes import Routes
from relay.errors import RemoteProtocolError, RequestRefused
from relay.media.frames import WIDEBAND
from relay.net.asgi_request import AsgiRequest
from relay.wire.browser import BrowserCode

BODY_MAX_BYTES = 10_000_000
"""Five minutes and twelve seconds."""
FEEDS_MAX = 8
"""Bodies for sessions that are read at a time: these are held in memory."""


class WebhookAudio:
    """A body that is not read to its end, for whatever reason, has no effect at all."""

    def __init__(self, front: Front, gate: ClientGate) -> None:
        self._sessions = front.sessions
        self._gate = gate
        self._feeds = 0

    def add_to(self, routes: Routes) -> None:
        routes.add("POST", WEBHOOK, self.receive)

    async def receive(self, request: AsgiRequest, _part: str) -> None:
        self._gate.check_upload_rate(self._gate.address(request.peer, request.header("x-forwarded-for")))
        if (request.content_length or 0) <= BODY_MAX_BYTES:
            _check_even(request.content_length or 0)
        session_id = request.query("session")
        received = await (self._count(request) if session_id is None else self._feed(request, session_id))
        body = {"received": received, "sampleRate": WIDEBAND.rate_hz}
        await request.answer(200, json.dumps(body).encode())

    async def _count(self, request: AsgiRequest) -> int:
        received = await request.count(BODY_MAX_BYTES)
        _check_even(received)
        return received

    async def _feed(self, request: AsgiRequest, session_id: str) -> int:
        session = self._sessions.find(session_id, request.header("authorization"))
        if session.over:
            raise RequestRefused(410, "SESSION_OVER", "the session has ended")
        if self._feeds >= FEEDS_MAX:
            raise RequestRefused(503, "BUSY", "too much audio is being sent to sessions: try again")
        self._feeds += 1
        try:
            body = await request.read(BODY_MAX_BYTES)
        finally:
            self._feeds -= 1
        _check_even(len(body))
        with bound_contextvars(call_id=session.id):
            if not session.spoken.add(body):
                raise RequestRefused(429, "TOO_MUCH_AUDIO", "what was sent before is still being spoken: send it later")
        return len(body)


def _check_even(n_bytes: int) -> None:
    if n_bytes % WIDEBAND.block_bytes:
        raise RemoteProtocolError(f"{n_bytes} bytes are not a whole number of 16-bit samples", BrowserCode.ODD_BYTES)
