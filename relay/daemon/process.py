"""Shields the daemon's process from signals that would end it, and from closed standard descriptors."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_STANDARD_DESCRIPTORS = 3
_REAL_TIME = range(signal.SIGRTMIN, signal.SIGRTMAX + 1)
IGNORED = (
    *(signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGXFSZ),
    *(signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR),
    *_REAL_TIME,
)
"""By default each of these ends a process (signal(7)). Left as they are: those that ask for the end (SIGTERM, SIGINT),
for a core dump (SIGQUIT), or for a halt (SIGTSTP), and those that a fault of the program raises."""


@contextmanager
def shielded_process() -> Iterator[None]:
    """Ignore signals that mean nothing to the daemon, and have something open as standard input, output and error.

    Otherwise the first socket would be standard error when that was closed, and a caller would get the log. On leaving,
    the signals do what they did before. To be used in the main thread.
    """
    _open_standard_descriptors()
    before = {number: signal.signal(number, signal.SIG_IGN) for number in IGNORED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _open_standard_descriptors() -> None:
    """The lowest number that is free is the next to be taken (open(2))."""
    while (number := os.open(os.devnull, os.O_RDWR)) < _STANDARD_DESCRIPTORS:
        os.set_inheritable(number, True)  # noqa: FBT003 - positional only
    os.close(number)
