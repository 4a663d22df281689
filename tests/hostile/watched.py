"""`relay` with somebody inside who tells what its memory holds: `python -m tests.hostile.watched SOCKET serve ...`.

On each connection to SOCKET, a path, a line of JSON is told: the fields of `Held`.
"""

import ctypes
import gc
import os
import socket
import sys
import threading
from collections import Counter

import msgspec

from relay.bench.process import rss_mb
from relay.cli import main


class Held(msgspec.Struct):
    """rss_mb: resident memory as it is, and trimmed_mb after the allocator gave back what it did not use.

    objects: those that the garbage collector knows, made since the start, by kind. Nothing is collected for this: what
    only the collector would free is held.
    """

    rss_mb: float
    trimmed_mb: float
    objects: dict[str, int]


def held() -> Held:
    """What this process holds now."""
    objects = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    before = rss_mb(os.getpid())
    ctypes.CDLL(None).malloc_trim(0)
    return Held(before, rss_mb(os.getpid()), dict(objects))


def tell(listener: socket.socket) -> None:
    """Answer until the process ends."""
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(msgspec.json.encode(held()))


def ask(path: str) -> Held:
    """What the relay at this socket holds."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        return msgspec.json.decode(b"".join(iter(lambda: connection.recv(1 << 16), b"")), type=Held)


if __name__ == "__main__":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv.pop(1))
    listener.listen()
    threading.Thread(target=tell, args=(listener,), daemon=True).start()
    main()
