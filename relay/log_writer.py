"""Writes log lines from a thread of its own, so that a slow or broken standard error never holds up a call."""

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable

LINES = 10_000
"""Most lines that wait: about 4 MB, some seconds of debug output under load. Beyond it the newest are dropped."""
CLOSE_TIMEOUT_S = 2.0
"""A standard error that takes nothing must not keep the process from ending."""
LOOK_EVERY_S = 5.0
RETRY_S = 0.01
"""Between attempts on a non-blocking file that takes nothing now."""
GATHER_S = 0.005
"""Of many lines, what comes so soon behind one is written with it: to wake the thread for each costs more."""
AT_ONCE_PER_S, AT_ONCE_BURST = 100.0, 20.0
"""So many lines are written as soon as they come."""
WRITE_LINES_MAX = 200


class LogWriter:
    """A bounded queue of lines and the thread that empties it.

    The file is written without Python's buffers: their locks, held by a thread that is stuck in a write, would stop the
    interpreter from ending.

    Args:
        fd: the open file, left open at the end.
        on_drop: called for each line that is lost, because the queue is full or the file refused it. It may be
            called in the writer's thread.
        lines: the bound of the queue.
        now_and_then: called every LOOK_EVERY_S in the writer's thread, or a little later. It may write.
    """

    def __init__(
        self,
        fd: int,
        on_drop: Callable[[], None],
        lines: int = LINES,
        now_and_then: Callable[[], None] = lambda: None,
    ) -> None:
        self._fd = fd
        self._on_drop = on_drop
        self._queue: queue.Queue[str | None] = queue.Queue(lines)
        self._closing = threading.Event()
        self._now_and_then = now_and_then
        self._look_at = time.monotonic() + LOOK_EVERY_S
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue the line. Never blocks, never raises."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self._on_drop()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Wait until the lines are written, at most `timeout_s`; what is left then may be lost."""
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)  # wakes a thread that waits for a line
        self._thread.join(timeout_s)

    def _run(self) -> None:
        allowed, at = AT_ONCE_BURST, time.monotonic()
        while not (self._closing.is_set() and self._queue.empty()):
            if (line := self._next()) is not None:
                self._write(self._gathered(line))
            now = time.monotonic()
            if now >= self._look_at:
                self._look_at = now + LOOK_EVERY_S
                self._now_and_then()
            allowed, at = min(AT_ONCE_BURST, allowed + (now - at) * AT_ONCE_PER_S), now
            if allowed >= 1:
                allowed -= 1
            else:
                self._closing.wait(GATHER_S)

    def _next(self) -> str | None:
        """None: none came in time, or the writer is to close."""
        try:
            return self._queue.get(timeout=max(0.0, self._look_at - time.monotonic()))
        except queue.Empty:
            return None

    def _gathered(self, first: str) -> bytes:
        """The line, and those that wait behind it."""
        lines: list[str | None] = [first]
        with contextlib.suppress(queue.Empty):
            while len(lines) < WRITE_LINES_MAX:
                lines.append(self._queue.get_nowait())
        return b"".join([line.encode("utf-8", "backslashreplace") + b"\n" for line in lines if line is not None])

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                time.sleep(RETRY_S)
            except OSError:
                for _ in range(data.count(b"\n")):
                    self._on_drop()
                return
