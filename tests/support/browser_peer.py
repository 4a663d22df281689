"""A strict server side of the browser leg, driven by the test: WebSocket and polling over one numbered log."""

import base64
import json
import struct
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trio

from relay.errors import LegLost
from relay.net.asgi_socket import AsgiSocket
from relay.web import HEADERS, static_files

HEADER = struct.Struct(">III")
LONG_POLL_S = 2.0
Message = dict[str, Any] | bytes


@dataclass
class BrowserSession:
    """What one client said, and what it is told. `upward` holds each uplink message once, by its sequence number."""

    number: int
    start: dict[str, Any]
    rate_hz: int
    grace_ms: int
    resume: str = ""
    downward: list[Message] = field(default_factory=list)
    upward: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    arrived_by: dict[int, str] = field(default_factory=dict)
    twice: int = 0
    reports: list[tuple[int, int]] = field(default_factory=list)
    stopped: bool = False
    attached: list[str] = field(default_factory=list)
    changed: trio.Event = field(default_factory=trio.Event)
    holder: int = 0

    @property
    def token(self) -> str:
        return f"token-{self.number}"

    @property
    def next(self) -> int:
        """The first sequence number that is missing."""
        return next(n for n in range(1, len(self.upward) + 2) if n not in self.upward)

    @property
    def pcm(self) -> bytes:
        """Everything the microphone gave, in order."""
        return b"".join(self.upward[n][1] for n in sorted(self.upward))

    def news(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def tell(self, type_: str, **values: Any) -> None:
        self.downward.append({"type": type_, **values, "n": len(self.downward) + 1})
        self.news()

    def play(self, turn: int, ms: int, pcm: bytes) -> None:
        self.downward.append(HEADER.pack(len(self.downward) + 1, ms, turn) + pcm)
        self.news()

    def ready(self) -> dict[str, Any]:
        self.resume = f"resume-{self.number}-{len(self.attached)}"
        return {
            "type": "ready",
            "sessionId": f"session-{self.number}",
            "token": self.token,
            "resume": self.resume,
            "sampleRate": self.rate_hz,
            "next": self.next,
            "graceMs": self.grace_ms,
        }


class BrowserPeer:
    """An ASGI application. What a client does against the protocol is in `violations`."""

    def __init__(self, *, rate_hz: int | None = None) -> None:
        self.grace_ms = 30_000
        self.rate_hz = rate_hz  # of what the client hears; None: what it asked for, as it asked
        self.sessions: list[BrowserSession] = []
        self.violations: list[str] = []
        self.refusing: tuple[str, str] | None = None
        self.websockets = True
        self.gone = False
        self._files = static_files()
        self._sockets: list[AsgiSocket] = []

    @property
    def session(self) -> BrowserSession:
        return self.sessions[-1]

    def check(self, holds: object, what: str) -> None:
        if not holds:
            self.violations.append(what)

    async def cut(self) -> None:
        """Lose every WebSocket from this side."""
        for socket in self._sockets:
            await socket.close(1011)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
        elif self.gone:
            await self._bad_gateway(scope, receive, send)
        elif scope["type"] == "websocket":
            async with AsgiSocket(scope, receive, send) as socket:
                await self._websocket(socket)
        else:
            await self._http(scope, receive, send)

    async def _bad_gateway(self, scope: Any, receive: Any, send: Any) -> None:
        """What a proxy says whose server is gone."""
        if scope["type"] == "websocket":
            async with AsgiSocket(scope, receive, send) as socket:
                await socket.refuse(502, error="gone", code="BAD_GATEWAY")
        else:
            await _answer(send, 502, b"<h1>Bad Gateway</h1>", {"Content-Type": "text/html"})

    # WebSocket

    async def _websocket(self, socket: AsgiSocket) -> None:
        if not self.websockets:
            await socket.refuse(503, error="no", code="NO_WEBSOCKETS")
            return
        await socket.accept()
        try:
            message = json.loads(await socket.receive())
            self.check(message["type"] == "start", "first message is start")
            session = self._attach(message, "websocket")
            if isinstance(session, tuple):
                code, error = session
                await socket.send(json.dumps({"type": "error", "error": error, "code": code}))
                return
            self._sockets.append(socket)
            await socket.send(json.dumps(session.ready()))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, socket, session, message.get("after", 0), session.holder)
                await self._read(socket, session)
                await trio.sleep(0.1)  # for the last message
                nursery.cancel_scope.cancel()
        except* LegLost:
            pass

    def _attach(self, start: dict[str, Any], transport: str) -> BrowserSession | tuple[str, str]:
        if self.refusing:
            return self.refusing
        if resume := start.get("resume"):
            session = next((one for one in self.sessions if one.resume == resume), None)
            if session is None:
                return "RESUME_REJECTED", "this token was used or never given"
        else:
            session = BrowserSession(len(self.sessions) + 1, start, self.rate_hz or start["sampleRate"], self.grace_ms)
            self.sessions.append(session)
        session.holder += 1
        session.attached.append(transport)
        session.news()
        return session

    async def _write(self, socket: AsgiSocket, session: BrowserSession, after: int, holder: int) -> None:
        while session.holder == holder:
            for message in session.downward[after:]:
                await socket.send(message if isinstance(message, bytes) else json.dumps(message))
                after += 1
            if after == len(session.downward):
                await session.changed.wait()
        await socket.close(4001)

    async def _read(self, socket: AsgiSocket, session: BrowserSession) -> None:
        while not session.stopped:
            message = await socket.receive()
            if isinstance(message, bytes):
                self._take(session, message, "websocket")
            else:
                self._hear(session, json.loads(message))

    # Both

    def _take(self, session: BrowserSession, message: bytes, transport: str) -> None:
        sequence, ms, turn = HEADER.unpack_from(message)
        pcm = message[HEADER.size :]
        samples = round(session.start["sampleRate"] * 0.02)
        self.check(turn == 0, f"turn {turn} upward")
        sample_bytes = session.start["channels"] * (4 if session.start["encoding"] == "pcm_f32le" else 2)
        self.check(len(pcm) == samples * sample_bytes, f"{len(pcm)} bytes instead of 20 ms")
        if sequence in session.upward:
            session.twice += 1
            self.check(session.upward[sequence] == (ms, pcm), f"message {sequence} came again with other content")
        session.upward.setdefault(sequence, (ms, pcm))
        session.arrived_by.setdefault(sequence, transport)
        session.news()

    def _hear(self, session: BrowserSession, message: dict[str, Any]) -> None:
        if message["type"] == "played":
            session.reports.append((message["turn"], message["ms"]))
        elif message["type"] == "stop":
            session.tell("state", status="ended", reason="caller_hangup")
            session.stopped = True
        else:
            self.check(holds=False, what=f"unknown message {message}")
        session.news()

    # HTTP

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        target = urlsplit(scope["path"])
        if file := self._files.get(target.path):
            await _answer(send, 200, file.body, {**HEADERS, "Content-Type": file.content_type})
            return
        status, answer = await self._client(scope, body)
        await _answer(send, status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    async def _client(self, scope: Any, body: bytes) -> tuple[int, dict[str, Any]]:
        path = scope["path"].split("/")[1:]
        if path == ["health"]:
            return 200, {"status": "ok"}
        if path == ["client"]:
            session = self._attach(json.loads(body), "polling")
            if isinstance(session, tuple):
                return 403, {"error": session[1], "code": session[0]}
            return 201, session.ready()
        found = [one for one in self.sessions if path[1:2] == [f"session-{one.number}"]]
        if path[0] != "client" or not found:
            return 404, {"error": "there is nothing here", "code": "NOT_FOUND"}
        [session] = found
        headers = dict(scope["headers"])
        self.check(headers.get(b"authorization", b"").decode() == f"Bearer {session.token}", "bearer token")
        if path[2] == "messages":
            self._hear(session, json.loads(body))
            return 200, {}
        if scope["method"] == "POST":
            return 200, self._batch(session, body)
        return 200, await self._poll(session, int(parse_qs(scope["query_string"].decode())["after"][0]))

    def _batch(self, session: BrowserSession, body: bytes) -> dict[str, Any]:
        frames = 0
        while body:
            (length,) = struct.unpack_from(">I", body)
            self._take(session, body[4 : 4 + length], "polling")
            body = body[4 + length :]
            frames += 1
        return {"received": frames, "next": session.next}

    async def _poll(self, session: BrowserSession, after: int) -> dict[str, Any]:
        if session.attached[-1] != "polling":
            session.attached.append("polling")
            session.holder += 1
            session.news()
        holder = session.holder
        with trio.move_on_after(LONG_POLL_S):
            while len(session.downward) == after and session.holder == holder:
                await session.changed.wait()
        messages = [_as_text(message) for message in session.downward[after:]]
        return {"next": after + len(messages), "messages": messages}


def _as_text(message: Message) -> dict[str, Any]:
    if isinstance(message, dict):
        return message
    n, ms, turn = HEADER.unpack_from(message)
    return {"type": "audio", "turn": turn, "seq": n, "ms": ms, "audio": base64.b64encode(message[12:]).decode()}


async def _answer(send: Any, status: int, body: bytes, headers: dict[str, str]) -> None:
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
