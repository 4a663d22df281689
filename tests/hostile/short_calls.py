"""Many short calls with one relay, by telephone and by browser in turn, and what its memory holds after so many."""

import json
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from relay.bench import websocket
from relay.bench.assistant import AssistantListener, LoadAssistant, TrackPosition
from relay.bench.caller import FRAME_S, LoadCaller
from relay.bench.machine import cores
from relay.bench.reactor import LoadLink, Reactor
from relay.bench.relay_process import PUBLIC_URL, run_configured
from relay.bench.sounds import CallerTrack, caller_track, reference, wideband
from relay.media.frames import FRAME_MS
from relay.standin.browser.uplink import HEADER
from tests.hostile.siege import configuration
from tests.hostile.watched import Held, ask

AT_ONCE = 10
LASTS_S = 0.7
CONNECT_S = 10.0
OVER_S = 17.0
"""A browser's session is remembered for 15 s after its end."""


class After(msgspec.Struct):
    """What was held when so many calls were over."""

    calls: int
    held: Held


class ShortBrowser:
    """A browser's call as a `LoadCaller` is a telephone's: it speaks the track, and listens to nothing."""

    def __init__(self, number: int, port: int, track: CallerTrack, frames: Sequence[bytes]) -> None:
        self._port = port
        # An address of its own, as the proxy on this machine would name it: one address has only a small share.
        self._address = f"10.1.{number // 250}.{number % 250}"
        self._length = len(track.frames)
        self._frames = frames
        self._sent = 0
        self._began = 0.0
        self._link: LoadLink

    @property
    def place(self) -> int:
        """The frame that is said next."""
        return self._sent % self._length

    def dial(self, reactor: Reactor) -> None:
        """Begin a session; blocks until the socket is open."""
        sock = socket.create_connection(("127.0.0.1", self._port), CONNECT_S)
        host = f"127.0.0.1:{self._port}"
        sock.sendall(
            websocket.upgrade_request("/client", host, {"Origin": PUBLIC_URL, "X-Forwarded-For": self._address})
        )
        head = b""
        while websocket.HEAD_END not in head:
            head += sock.recv(4096)
        self._link = LoadLink(sock, reactor, lambda _opcode, _payload: None, client=True)
        self._say({"type": "start", "sampleRate": 16000, "channels": 1, "encoding": "pcm_s16le"})
        self._began = time.monotonic() + FRAME_S
        reactor.at(self._began, self._tick)

    def hang_up(self) -> None:
        """End the session."""
        self._say({"type": "stop"})

    def _tick(self) -> float | None:
        if self._link.closed:
            return None
        self._link.send(
            HEADER.pack(self._sent + 1, self._sent * FRAME_MS, 0) + self._frames[self.place], websocket.BINARY
        )
        self._sent += 1
        return self._began + self._sent * FRAME_S

    def _say(self, message: dict[str, object]) -> None:
        self._link.send(json.dumps(message).encode(), websocket.TEXT)


class ShortCalls:
    """Places calls, at most `AT_ONCE` at a time, each `LASTS_S` long."""

    def __init__(self, port: int, listener: socket.socket) -> None:
        self.reactor = Reactor()
        self._port = port
        self._track, self._reference = caller_track(), reference("pcm")
        self._frames = wideband(self._track)
        self._waiting: list[LoadAssistant] = []
        self._live: list[tuple[float, LoadCaller | ShortBrowser]] = []
        self.placed = 0
        AssistantListener(listener, self.reactor, self._attach)

    def place_until(self, total: int) -> None:
        """Place calls until there were `total`, and wait until all are over."""
        while self.placed < total or self._live:
            while self._live and self._live[0][0] <= time.monotonic():
                self._live.pop(0)[1].hang_up()
            if self.placed < total and len(self._live) < AT_ONCE:
                self._place()
            elif self._live:
                self.reactor.run_until(self._live[0][0])
        self.reactor.run_until(time.monotonic() + OVER_S)

    def _place(self) -> None:
        caller: LoadCaller | ShortBrowser = (
            ShortBrowser(self.placed, self._port, self._track, self._frames)
            if self.placed % 2
            else LoadCaller(self.placed, self._port, self._track, 0, sampled=False)
        )
        position: TrackPosition = caller
        assistant = LoadAssistant(position, self._track, self._reference, 0, sampled=False)
        self._waiting.append(assistant)
        caller.dial(self.reactor)
        if not self.reactor.run_until(time.monotonic() + CONNECT_S, lambda: assistant.connected):
            raise TimeoutError(f"call {self.placed}: the relay did not connect to the assistant")
        self.placed += 1
        self._live.append((time.monotonic() + LASTS_S, caller))

    def _attach(self, sock: socket.socket, early: bytes) -> None:
        self._waiting.pop(0).attach(sock, self.reactor, early)


def memory_after(steps: Sequence[int]) -> list[After]:
    """What the relay holds after so many short calls. Raises BenchFailed, SetupFailed, TimeoutError."""
    core, _ = cores()
    with (
        tempfile.TemporaryDirectory(prefix="relay-hostile-") as name,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        inside = f"{name}/inside"
        text = configuration(listener.getsockname()[1], Path(name))
        with run_configured(Path(name), text, core, ("tests.hostile.watched", inside)) as relay:
            calls = ShortCalls(relay.port, listener)
            found = []
            for total in steps:
                calls.place_until(total)
                found.append(After(total, ask(inside)))
    return found
