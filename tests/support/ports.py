"""Ports for programs that have to be told theirs."""

import os
import socket
from contextlib import suppress
from itertools import count

FIRST, OF_A_WORKER = 20_000, 800
"""Under those that the kernel gives away by itself (32768 on, ip(7)): a port that is free stays free until it is used,
whatever connects meanwhile. Each worker of pytest has its own."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_number = count()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and no other test is given."""
    while True:
        port = FIRST + _worker % 15 * OF_A_WORKER + next(_number) % OF_A_WORKER
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
