"""Tells systemd how the daemon is doing (sd_notify(3)). Without NOTIFY_SOCKET in the environment nothing happens."""

import os
import socket
from collections.abc import Callable, Mapping

import trio

REPORT_EVERY_S = 5.0

_MICROSECONDS = 1_000_000


class Notifier:
    """Datagrams to the socket that NOTIFY_SOCKET names. Never blocks, never raises: systemd not listening is no reason
    to end a call. `watchdog_s` is what WATCHDOG_USEC asks of this process, None without it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.watchdog_s = _watchdog_s(environ)

    def send(self, *assignments: str) -> None:
        """For example `send("READY=1", "STATUS=no calls")`."""
        if not self._address:
            return
        try:
            self._socket.sendto("\n".join(assignments).encode(), self._address)
        except OSError:
            return

    def close(self) -> None:
        self._socket.close()


async def report(notifier: Notifier, status: Callable[[], str]) -> None:
    """Say every few seconds that the event loop is alive, and what it does, until cancelled.

    The watchdog hears of us at half of its time, as sd_watchdog_enabled(3) recommends.
    """
    interval_s = REPORT_EVERY_S if notifier.watchdog_s is None else min(REPORT_EVERY_S, notifier.watchdog_s / 2)
    alive = () if notifier.watchdog_s is None else ("WATCHDOG=1",)
    while True:
        notifier.send(*alive, f"STATUS={status()}")
        await trio.sleep(interval_s)


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / _MICROSECONDS
