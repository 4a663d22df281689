"""The reactor is the load's loop of sockets and timers: one epoll and one heap, so that thousands of messages a second
leave on time."""

import heapq
import itertools
import select
import socket
import time
from collections.abc import Callable

from relay.bench import websocket

RECEIVE_BYTES = 262_144
LATE_S = 0.005
"""A timer later than this is counted in the result."""

Timer = Callable[[], float | None]
"""Called when due; returns when it wants to be called again, None for never."""


class Reactor:
    """`late_s` collects how late timers were while `measuring`: the load's own share in what it measures."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self.measuring = False
        self.late_s: list[float] = []

    def watch(self, sock: socket.socket, on_readable: Callable[[], None]) -> None:
        """Call this whenever the socket can be read."""
        self._readers[sock.fileno()] = on_readable
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def forget(self, sock: socket.socket) -> None:
        """Watch it no more; before it is closed. Nothing for one that is not watched."""
        if self._readers.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def at(self, when: float, timer: Timer) -> None:
        """Call this at that time of the monotonic clock, or as soon after it as can be."""
        heapq.heappush(self._timers, (when, next(self._numbers), timer))

    def run_until(self, deadline: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Work until `done`, True, or the deadline, False."""
        while not done():
            now = time.monotonic()
            if now >= deadline:
                return False
            if self._timers and self._timers[0][0] <= now:
                self._fire(now)
                continue
            until = min(deadline, self._timers[0][0]) if self._timers else deadline
            for fd, _ in self._epoll.poll(max(0.0, until - now)):
                if reader := self._readers.get(fd):
                    reader()
        return True

    def fileno(self) -> int:
        """Readable when a watched socket is."""
        return self._epoll.fileno()

    def work(self) -> float | None:
        """Do what is due or has come, without waiting; returns when the next timer is due."""
        now = time.monotonic()
        for fd, _ in self._epoll.poll(0):
            if reader := self._readers.get(fd):
                reader()
        while self._timers and self._timers[0][0] <= now:
            self._fire(now)
        return self._timers[0][0] if self._timers else None

    def _fire(self, now: float) -> None:
        when, _, timer = heapq.heappop(self._timers)
        if self.measuring:
            self.late_s.append(now - when)
        again = timer()
        if again is not None:
            self.at(again, timer)


class LoadLink:
    """A connected WebSocket: `on_message(opcode, payload)` for each message, `closed` when the peer is gone."""

    def __init__(
        self, sock: socket.socket, reactor: Reactor, on_message: Callable[[int, bytes], None], *, client: bool
    ) -> None:
        sock.setblocking(False)  # noqa: FBT003 - positional only
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._reactor = reactor
        self._on_message = on_message
        self._client = client
        self._deframer = websocket.Deframer()
        self._unsent = bytearray()
        self.closed = False
        reactor.watch(sock, self._read)

    def send(self, payload: bytes, opcode: int) -> None:
        """What the socket does not take now goes first the next time."""
        if self.closed:
            return
        data = websocket.frame(payload, opcode, masked=self._client)
        if self._unsent:
            self._unsent += data
            data = bytes(self._unsent)
            self._unsent.clear()
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._unsent += data[sent:]

    def close(self) -> None:
        """Close the socket, without a goodbye; twice does no harm."""
        if not self.closed:
            self.closed = True
            self._reactor.forget(self._socket)
            self._socket.close()

    def feed(self, data: bytes) -> None:
        """Bytes of the peer: from the socket, or read along with the handshake."""
        for opcode, payload in self._deframer.feed(data):
            if opcode == websocket.PING:
                self.send(payload, websocket.PONG)
            elif opcode == websocket.CLOSE:
                self.send(payload[:2], websocket.CLOSE)
                self.close()
            elif opcode in (websocket.TEXT, websocket.BINARY):
                self._on_message(opcode, payload)

    def _read(self) -> None:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.feed(data)
        else:
            self.close()
