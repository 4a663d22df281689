"""Runs `relay report` in a process of its own, of the lowest priority: no live call shares an interpreter with it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

import structlog
import trio

from relay.daemon.endpoint_context import EndpointContext
from relay.errors import RequestRefused
from relay.net.asgi_request import AsgiRequest
from relay.record.folder import files_of, folder_of

LOWEST_PRIORITY = 19
REQUESTS_MAX = 4
"""Of all kinds together: each has a file on the disk."""
ERROR_BYTES = 2_000

log = structlog.get_logger(__name__)


class Reports:
    """Makes reports for operators, one after the other. One for the daemon."""

    def __init__(self, context: EndpointContext) -> None:
        self._context = context
        self._folder = folder_of(context.config.record.dir, os.environ)
        self._turn = trio.Lock()
        self._requests = 0

    async def files(self, call_id: str) -> list[Path]:
        """The recordings of a call. Raises RequestRefused: RECORDING_NOT_FOUND, RECORDINGS_UNREADABLE."""
        with readable():
            files = await trio.to_thread.run_sync(files_of, self._folder, call_id)
        if not files:
            raise no_recording()
        return files

    @asynccontextmanager
    async def made(
        self, request: AsgiRequest, call_id: str, options: Sequence[str], within_s: float
    ) -> AsyncIterator[IO[bytes] | None]:
        """What the command prints about a call, in a file that has no name; None when the client is gone.

        It has `within_s` from when it is its turn. Raises RequestRefused: as `files`, BUSY, REPORT_FAILED.
        """
        arguments = [*options, "--", *map(str, await self.files(call_id))]
        with self._place(), tempfile.TemporaryFile() as output:
            problem: RequestRefused | None = None
            is_made = False
            async with trio.open_nursery() as nursery:
                nursery.start_soon(request.cancel_when_gone, nursery.cancel_scope)
                problem = await self._make(arguments, call_id, output, within_s)
                is_made = True
                nursery.cancel_scope.cancel()
            if problem is not None:
                raise problem
            output.seek(0)
            yield output if is_made else None

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._requests >= REQUESTS_MAX:
            raise RequestRefused(503, "BUSY", "too many reports are made already: try again")
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    async def _make(
        self, arguments: Sequence[str], call_id: str, output: IO[bytes], within_s: float
    ) -> RequestRefused | None:
        """Why there is none, if so."""
        error = f"it took longer than {within_s:g} s"
        keys = self._context.config.secrets.record_keys
        try:
            async with self._turn:
                with tempfile.TemporaryFile() as errors, trio.move_on_after(within_s):
                    status = await run_report(arguments, output, errors, keys)
                    if status == 0:
                        return None
                    errors.seek(0)
                    error = errors.read(ERROR_BYTES).decode(errors="replace").strip()
        except OSError as failed:  # no process, or no room for what it says
            error = str(failed)
        log.warning("report.failed", call_id=call_id, error=error)
        return RequestRefused(503, "REPORT_FAILED", "no report could be made: the log says why")


@contextmanager
def readable() -> Iterator[None]:
    """Refuses a request for recordings whose folder cannot be read."""
    try:
        yield
    except OSError as error:
        raise RequestRefused(503, "RECORDINGS_UNREADABLE", f"the folder of recordings: {error.strerror}") from None


def no_recording() -> RequestRefused:
    return RequestRefused(404, "RECORDING_NOT_FOUND", "there is no recording of a call with this id")


async def run_report(arguments: Sequence[str], output: IO[bytes], errors: IO[bytes], keys: Sequence[str] = ()) -> int:
    """Run it to its end, and return its exit status. `keys` open sealed recordings. Cancelled, it is killed."""
    command = [sys.executable, "-P", "-m", "relay", "report", *arguments]
    environment = {**os.environ, "RELAY_RECORD_KEY": ",".join(keys)} if keys else None
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment
    )
    try:
        with suppress(OSError):  # a filter of system calls may forbid it
            os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST_PRIORITY)
        return await process.wait()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
