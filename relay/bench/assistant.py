"""The load's assistants answer Vapi's `POST /call` on one port, and talk on the WebSockets that the answers name.

Calls are dialled one after the other, so the n-th socket belongs to the n-th call.
"""

import json
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from relay.bench import websocket
from relay.bench.caller import FRAME_S
from relay.bench.reactor import RECEIVE_BYTES, LoadLink, Reactor
from relay.bench.sounds import CallerTrack, Reference

_KEY = re.compile(r"sec-websocket-key:\s*(\S+)", re.IGNORECASE)
_LENGTH = re.compile(r"content-length:\s*(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SentFrame:
    """20 ms of the assistant: when it was written, which frame of the reference it was (None: silence), its turn, and
    its place in the turn."""

    at: float
    reference_index: int | None
    turn: int
    place: int


@dataclass(slots=True)
class AssistantRecord:
    """What a sampled call's assistant sent, and the audio that it received, with the times of both."""

    sent: list[SentFrame] = field(default_factory=list)
    received: list[tuple[float, bytes]] = field(default_factory=list)


class TrackPosition(Protocol):
    """Where in the track the caller is."""

    @property
    def place(self) -> int:
        """The frame that is said next."""
        ...


class LoadAssistant:
    """One call's assistant: it talks when the caller's track says so, and stops 300 ms after the caller began.

    It need not listen for that, and so costs the load nothing: where the caller is in the track says who has the word.
    """

    def __init__(
        self, caller: TrackPosition, track: CallerTrack, reference: Reference, offset: int, *, sampled: bool
    ) -> None:
        self._caller = caller
        self._track = track
        self._reference = reference
        self._offset = offset
        self._sampled = sampled
        self.record = AssistantRecord()
        self.heard_bytes = 0
        self._link: LoadLink | None = None
        self._started_at = 0.0
        self._frames = 0
        self._turn = -1
        self._place = 0
        self._talking = False

    @property
    def connected(self) -> bool:
        """Whether the relay has connected to it."""
        return self._link is not None

    @property
    def lost(self) -> bool:
        """Whether its socket was there and is gone."""
        return self._link is not None and self._link.closed

    def attach(self, sock: socket.socket, reactor: Reactor, early: bytes) -> None:
        """The relay has connected; speak to it from now on."""
        self._link = LoadLink(sock, reactor, self._take, client=False)
        self._link.feed(early)
        self._say({"type": "status-update", "status": "in-progress"})
        self._started_at = time.monotonic()
        reactor.at(self._started_at, self._tick)

    def drop(self) -> None:
        """Lose the socket, without a goodbye."""
        if self._link is not None:
            self._link.close()

    def _tick(self) -> float | None:
        """Send the frame that is due; returns when the next one is."""
        assert self._link is not None
        if self._link.closed:
            return None
        talks = self._track.assistant_talks[self._caller.place]
        if talks != self._talking:
            self._change(talks=talks)
        index = (self._offset + self._frames) % len(self._reference.frames) if talks else None
        audio = self._reference.silence if index is None else self._reference.frames[index]
        self._link.send(audio, websocket.BINARY)
        if self._sampled:
            self.record.sent.append(SentFrame(time.monotonic(), index, self._turn, self._place))
        self._place += 1
        self._frames += 1
        return self._started_at + self._frames * FRAME_S

    def _change(self, *, talks: bool) -> None:
        self._talking = talks
        if talks:
            self._turn += 1
            self._place = 0
            self._say({"type": "speech-update", "status": "started", "role": "assistant", "turn": self._turn})
        else:
            self._say({"type": "user-interrupted"})
            self._say({"type": "speech-update", "status": "stopped", "role": "assistant", "turn": self._turn})

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == websocket.BINARY:
            self.heard_bytes += len(payload)
            if self._sampled:
                self.record.received.append((time.monotonic(), payload))
        elif b'"end-call"' in payload and self._link is not None:
            self._link.send(b"\x03\xe8", websocket.CLOSE)

    def _say(self, message: dict[str, object]) -> None:
        assert self._link is not None
        self._link.send(json.dumps(message).encode(), websocket.TEXT)


OnSocket = Callable[[socket.socket, bytes], None]
"""Takes a WebSocket of the relay's, and the bytes that came behind its handshake."""


class AssistantListener:
    """Answers HTTP requests, and hands each WebSocket to `on_socket`."""

    def __init__(self, listener: socket.socket, reactor: Reactor, on_socket: OnSocket) -> None:
        self._listener = listener
        self._reactor = reactor
        self._on_socket = on_socket
        self._port = listener.getsockname()[1]
        self._calls = 0
        listener.setblocking(False)  # noqa: FBT003 - positional only
        reactor.watch(listener, self._accept)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        rest = bytearray()
        self._reactor.watch(sock, lambda: self._read(sock, rest))

    def _read(self, sock: socket.socket, rest: bytearray) -> None:
        try:
            data = sock.recv(RECEIVE_BYTES)
        except OSError:
            data = b""
        if not data:
            self._reactor.forget(sock)
            sock.close()
            return
        rest += data
        head, separator, body = bytes(rest).partition(websocket.HEAD_END)
        text = head.decode("latin-1")
        length = _LENGTH.search(text)
        if not separator or len(body) < (int(length[1]) if length else 0):
            return
        rest.clear()
        if key := _KEY.search(text):
            self._reactor.forget(sock)
            sock.sendall(websocket.upgrade_answer(key[1]))
            self._on_socket(sock, body)
        else:
            sock.sendall(self._answer(text))

    def _answer(self, head: str) -> bytes:
        if not head.startswith("POST "):
            # What else the relay asks, as to look a call up, needs no answer of its own.
            return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        self._calls += 1
        url = f"ws://127.0.0.1:{self._port}/{self._calls}/transport"
        call = {
            "id": f"bench-{self._calls}",
            "status": "queued",
            "transport": {"provider": "vapi.websocket", "websocketCallUrl": url},
        }
        body = json.dumps(call).encode()
        fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
        return f"HTTP/1.1 201 Created\r\n{fields}\r\n\r\n".encode() + body
