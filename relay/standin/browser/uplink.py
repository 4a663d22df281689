"""The uplink's log numbers what a browser says, keeps it for a while, and sends it again from where the relay wants."""

import struct
from collections import deque

HEADER = struct.Struct(">III")
KEPT_MAX = 500
"""Messages: ten seconds at 20 ms each."""


class UplinkLog:
    """A bounded log with a cursor: the newest `KEPT_MAX` messages, and where sending goes on among them."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, bytes]] = deque()
        self._cursor = 1
        self._last = 0

    def append(self, ms: int, pcm: bytes) -> int:
        """Number and keep one message; returns its sequence number."""
        self._last += 1
        self._kept.append((self._last, HEADER.pack(self._last, ms, 0) + pcm))
        if len(self._kept) > KEPT_MAX:
            self._kept.popleft()
        return self._last

    @property
    def waiting(self) -> bool:
        """Whether there is something to send."""
        return bool(self._kept) and self._kept[-1][0] >= self._cursor

    def take(self, most: int) -> list[bytes]:
        """The next messages to send, which count as sent from now on."""
        taken = [one for one in self._kept if one[0] >= self._cursor][:most]
        if taken:
            self._cursor = taken[-1][0] + 1
        return [message for _, message in taken]

    def resume_at(self, sequence: int) -> None:
        """Everything before this number has arrived; go on there."""
        while self._kept and self._kept[0][0] < sequence:
            self._kept.popleft()
        self._cursor = sequence
