"""The daemon is run as a child process: started for real, its log read as it comes, gone when the context is left."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

START_S = 30.0
STOP_S = 6.0
_POLL_S = 0.02
_PR_SET_PDEATHSIG = 1
_READ_BYTES = 65536
_LAST_WORDS = 12
# What systemd tells a service about itself: the daemon would take it for its own.
_NOT_ITS_OWN = (
    "CREDENTIALS_DIRECTORY",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "RELAY_RECORD_KEY",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)

Record = dict[str, Any]


@dataclass(slots=True)
class Daemon:
    """A daemon that was started. `log` is what it wrote to standard error, line by line, and `records` the events among
    these lines. `exit_status` is None until it has ended."""

    process: subprocess.Popen[bytes] = field(repr=False)
    log: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    exit_status: int | None = None
    _silent: bool = False
    _changed: trio.Event = field(default_factory=trio.Event)

    @property
    def is_ready(self) -> bool:
        """Whether it came so far as to answer."""
        return self.record("daemon.ready") is not None

    @property
    def last_words(self) -> str:
        """The end of its log, for an error text."""
        return "\n".join(self.log[-_LAST_WORDS:]) or f"no answer within {START_S:g} s"

    @property
    def url(self) -> str:
        """Where it answers; only once it is ready."""
        ready = self.record("daemon.ready")
        assert ready is not None
        return f"http://{ready['address']}:{ready['port']}"

    def record(self, event: str) -> Record | None:
        """The first line of its log about this event."""
        return next((record for record in self.records if record["event"] == event), None)

    async def wait_record(self, event: str, timeout_s: float) -> Record | None:
        """That line, once it is there; None when it does not come in time, or the daemon has ended."""
        with trio.move_on_after(timeout_s):
            while not self._silent and self.record(event) is None:
                await self._changed.wait()
        return self.record(event)

    async def read(self, stderr: trio.abc.ReceiveStream, on_record: Callable[[Record], None]) -> None:
        """Take its log until the last process that could write to it has ended."""
        rest = b""
        async with stderr:
            while data := await stderr.receive_some(_READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._take(line.decode("utf-8", "replace"), on_record)
                self._news()
        self._silent = True
        self._news()

    async def wait_ended(self) -> None:
        """Until the process is gone and its log is read to the end."""
        while self.process.poll() is None:  # noqa: ASYNC110 - only trio's own children have an event
            await trio.sleep(_POLL_S)
        while not self._silent:
            await self._changed.wait()

    def _take(self, line: str, on_record: Callable[[Record], None]) -> None:
        self.log.append(line)
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and {"event", "timestamp"} <= record.keys():
                self.records.append(record)
                on_record(record)

    def _news(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def open_daemon(
    config_file: Path, secrets: Mapping[str, str], on_record: Callable[[Record], None]
) -> AsyncIterator[Daemon]:
    """Run `relay serve` with this configuration and these secrets in its environment.

    When this is entered the daemon answers, or could not start (see `is_ready`); when this is left it has ended.
    `on_record` is called with each event of its log.
    """
    reading, writing = os.pipe()
    stderr = trio.lowlevel.FdStream(reading)
    try:
        process = _start(config_file, {**_inherited(), **secrets}, writing)
    finally:
        os.close(writing)  # the daemon has its own: the log ends when the last process that holds it has ended
    daemon = Daemon(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read_shielded, daemon, stderr, on_record)
        try:
            await daemon.wait_record("daemon.ready", START_S)
            yield daemon
        finally:
            await _stop(daemon)


async def _read_shielded(daemon: Daemon, stderr: trio.abc.ReceiveStream, on_record: Callable[[Record], None]) -> None:
    """Read on after a cancellation, too: the last lines come while the daemon ends."""
    with trio.CancelScope(shield=True):
        await daemon.read(stderr, on_record)


async def _stop(daemon: Daemon) -> None:
    """SIGTERM, and SIGKILL for what is left after `STOP_S`: the only wait here that nothing can cut short."""
    with trio.CancelScope(shield=True):
        daemon.process.terminate()
        with trio.move_on_after(STOP_S):
            await daemon.wait_ended()
        daemon.process.kill()
        await daemon.wait_ended()
        daemon.exit_status = daemon.process.returncode


def _start(config_file: Path, environ: Mapping[str, str], stderr: int) -> subprocess.Popen[bytes]:
    """In a process group of its own, so that Ctrl-C reaches only us; and on Linux it ends when we are killed."""
    command = [sys.executable, "-P", "-m", "relay", "serve", "--config", str(config_file)]
    die_with_us = None
    if sys.platform == "linux":
        die_with_us = partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, signal.SIGTERM)
    return subprocess.Popen(  # noqa: S603 - our own interpreter and our own arguments
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        process_group=0,
        preexec_fn=die_with_us,  # noqa: PLW1509 - one system call, made ready before the fork
    )


def _inherited() -> dict[str, str]:
    """Our environment without what was meant for us alone, and with no proxy between the two of us."""
    ours = os.environ.items()
    return {name: value for name, value in ours if name not in _NOT_ITS_OWN and not name.lower().endswith("_proxy")}
