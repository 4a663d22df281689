"""`relay` with somebody inside who tells what its memory holds, and what its event loop does: `python -m
tests.hostile.watched SOCKET [--tasks] serve ...`.

On each connection to SOCKET, a path, a question is read, `held` or `rounds`, and a line of JSON is told: the fields of
`Held` or `Rounds`. With `--tasks` the latter tell of tasks.
"""

import ctypes
import gc
import os
import socket
import sys
import threading
from collections import Counter
from functools import partial

import msgspec
import trio

from relay.bench.process import rss_mb
from relay.cli import main
from tests.hostile.rounds import Rounds, RoundsInstrument, TasksInstrument

HELD, ROUNDS = b"held", b"rounds"


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


def tell(listener: socket.socket, rounds: RoundsInstrument) -> None:
    """Answer until the process ends."""
    while True:
        connection, _ = listener.accept()
        with connection:
            answer: Held | Rounds = rounds.tell() if connection.recv(16) == ROUNDS else held()
            connection.sendall(msgspec.json.encode(answer))


def _ask(path: str, question: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(question)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def ask(path: str) -> Held:
    """What the relay at this socket holds."""
    return msgspec.json.decode(_ask(path, HELD), type=Held)


def ask_rounds(path: str) -> Rounds:
    """What the loop of the relay at this socket has done since the last time."""
    return msgspec.json.decode(_ask(path, ROUNDS), type=Rounds)


if __name__ == "__main__":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv.pop(1))
    listener.listen()
    with_tasks = sys.argv[1] == "--tasks"
    rounds = TasksInstrument() if with_tasks else RoundsInstrument()
    del sys.argv[1 : 1 + with_tasks]
    threading.Thread(target=tell, args=(listener, rounds), daemon=True).start()
    trio.run = partial(trio.run, instruments=[rounds])  # type: ignore[assignment]
    main()
