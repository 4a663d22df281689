"""Runs `relay report` in a process of its own, of the lowest priority: no live call shares an interpreter with it."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

import trio

LOWEST_PRIORITY = 19


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
