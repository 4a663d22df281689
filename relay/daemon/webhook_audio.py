"""POST /webhook/audio: PCM, WAV or G.711 by plain HTTP, and with a session's token spoken into its call."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import trio
from structlog.contextvars import bound_contextvars
from werkzeug.http import parse_options_header

from relay.call.browser.session import BrowserSession
from relay.daemon.client_gate import WEBHOOK
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.routes import Routes
from relay.errors import FormatMismatch, RecordingBroken, RemoteProtocolError, RequestRefused
from relay.media.frames import WIDEBAND
from relay.media.media_type import HEAD_BYTES, PLAIN, judge
from relay.media.sound import convert
from relay.media.wav import RawFormat, decode_raw, decode_wav
from relay.net.asgi_request import AsgiRequest
from relay.wire.browser import BrowserCode

BODY_MAX_BYTES = 10_000_000
"""Also of the audio that is made of it: five minutes and twelve seconds at 16 kHz."""
HELD_MAX = 8
"""Bodies that are read and converted at a time: these are held in memory."""


class WebhookAudio:
    """A body that is not read to its end, for whatever reason, has no effect at all."""

    def __init__(self, context: EndpointContext) -> None:
        self._sessions = context.sessions
        self._uploads = context.limits.uploads
        self._slow_bodies = context.limits.slow_bodies_of_sessions
        self._held = 0
        self._one_at_a_time = trio.CapacityLimiter(1)

    def add_to(self, routes: Routes) -> None:
        routes.add("POST", WEBHOOK, self.receive)

    async def receive(self, request: AsgiRequest, _part: str) -> None:
        """Answer with the length of the body and the rate at which it was read, both as they came in."""
        self._uploads.count(request.client)
        session = await self._session(request)
        form = await _judge(request)
        if session is None and form is not None:  # it is whole samples or not, and nobody hears them: nothing to keep
            received, rate_hz = await request.count(BODY_MAX_BYTES), form.rate_hz
            _check_whole(form, received)
            _check_duration(received / form.block_bytes / form.rate_hz)
        else:
            with self._place():
                received, rate_hz, pcm = await self._read(request, form)
            if session is not None:
                _speak(session, pcm)
        await request.answer(200, json.dumps({"received": received, "sampleRate": rate_hz}).encode())

    async def _session(self, request: AsgiRequest) -> BrowserSession | None:
        session_id = request.query("session")
        if session_id is None:
            return None
        session = await self._sessions.reach(session_id, request.header("authorization"), request.client)
        if session.over:
            raise RequestRefused(410, "SESSION_OVER", "the session has ended")
        request.slow = partial(self._slow_bodies.hold, session.id)
        return session

    async def _read(self, request: AsgiRequest, form: RawFormat | None) -> tuple[int, int, bytes]:
        """The length of the body, its rate, and its audio in the format of a session."""
        body = await request.read(BODY_MAX_BYTES)
        _check_whole(form, len(body))
        if form == PLAIN:
            return len(body), PLAIN.rate_hz, body
        # One at a time: on a thread, but on the cores that the calls need.
        rate_hz, pcm = await trio.to_thread.run_sync(_converted, body, form, limiter=self._one_at_a_time)
        return len(body), rate_hz, pcm

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._held >= HELD_MAX:
            raise RequestRefused(503, "BUSY", "too much audio is being sent: try again")
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1


async def _judge(request: AsgiRequest) -> RawFormat | None:
    """How the body is to be read; None: it is WAV. Only its beginning has been read."""
    coding = (request.header("content-encoding") or "identity").strip().lower()
    if coding != "identity":
        raise RequestRefused(415, "AUDIO_TYPE_UNSUPPORTED", f"Content-Encoding {coding[:40]!r}: send it as it is")
    media_type, parameters = parse_options_header(request.header("content-type"))
    head = await request.peek(HEAD_BYTES, BODY_MAX_BYTES)
    try:
        form = judge(media_type, parameters, head)
    except FormatMismatch as error:
        raise RequestRefused(415, "AUDIO_TYPE_UNSUPPORTED", str(error)) from None
    _check_whole(form, request.content_length or 0)
    return form


def _check_whole(form: RawFormat | None, n_bytes: int) -> None:
    if form is not None and n_bytes % form.block_bytes:
        raise RemoteProtocolError(
            f"{n_bytes} bytes are not a whole number of samples of {form.block_bytes} bytes", BrowserCode.ODD_BYTES
        )


def _converted(body: bytes, form: RawFormat | None) -> tuple[int, bytes]:
    """The rate of a body, and its audio in the format of a session. For a worker thread: 10 MB take half a second."""
    try:
        sound = decode_wav(body) if form is None else decode_raw(body, form)
    except RecordingBroken as error:
        raise RequestRefused(400, "RECORDING_BROKEN", f"{error}: send it again, whole") from None
    except FormatMismatch as error:
        raise RequestRefused(415, "AUDIO_TYPE_UNSUPPORTED", f"{error}: send WAV of PCM, float or G.711") from None
    _check_duration(sound.duration_s)
    return sound.rate_hz, convert(sound, WIDEBAND.rate_hz).samples.astype("<i2", copy=False).tobytes()


def _check_duration(duration_s: float) -> None:
    longest_s = WIDEBAND.duration_ms(BODY_MAX_BYTES) / 1000
    if duration_s > longest_s:
        raise RequestRefused(413, "BODY_TOO_LARGE", f"{duration_s:.1f} s of audio: at most {longest_s:.1f} s")


def _speak(session: BrowserSession, pcm: bytes) -> None:
    if pcm:
        session.seen()
    with bound_contextvars(call_id=session.call_id):
        if not session.spoken.add(pcm):
            raise RequestRefused(429, "TOO_MUCH_AUDIO", "what was sent before is still being spoken: send it later")
