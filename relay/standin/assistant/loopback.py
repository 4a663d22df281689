"""The loopback sends the caller's own bytes back, all of them and no others, a fixed time later: the script "echo"."""

from collections import deque

from relay.standin.assistant.chunks import Chunks


class Loopback:
    """Bytes in, the same bytes out in the assistant's chunk sizes once they are `delay_ms` old."""

    def __init__(self, chunks: Chunks, delay_ms: float) -> None:
        self._chunks = chunks
        self._delay_s = delay_ms / 1000
        self._arrivals: deque[tuple[float, int]] = deque()
        self._waiting = bytearray()
        self._ripe_bytes = 0

    def hear(self, data: bytes, now_s: float) -> None:
        """Take bytes in."""
        self._waiting += data
        self._arrivals.append((now_s, len(data)))

    def due(self, now_s: float) -> list[bytes]:
        """What is old enough, in pieces; the last piece of what is ripe may be shorter, so that nothing is held."""
        while self._arrivals and self._arrivals[0][0] + self._delay_s <= now_s:
            self._ripe_bytes += self._arrivals.popleft()[1]
        out = []
        while self._ripe_bytes:
            n_bytes = min(self._chunks.next_bytes(), self._ripe_bytes)
            out.append(bytes(self._waiting[:n_bytes]))
            del self._waiting[:n_bytes]
            self._ripe_bytes -= n_bytes
        return out
