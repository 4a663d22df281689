"""One listening socket, one process after the other: nobody who connects is refused."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.support.daemons import RELAY, environment, ready_port, settings

MANAGER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="relay")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does between fork and exec: only there the number of the process is known."""
GET = b"GET /health HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def activated(listener: socket.socket, folder: Path, name: str) -> AsyncIterator[trio.Process]:
    config, log = folder / "config.toml", folder / name
    config.write_text(settings(port=1))  # not a port that we may listen on: the socket is used instead
    with log.open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", MANAGER, str(listener.fileno()), *RELAY, "serve", "--config", str(config)],
            stderr=errors,
            env=environment(STATE_DIRECTORY=str(folder)),
            pass_fds=[listener.fileno()],
        )
    try:
        assert await ready_port(process, log) == listener.getsockname()[1]
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def answer(stream: trio.SocketStream) -> bytes:
    with trio.fail_after(30):
        return b"".join([bytes(part) async for part in stream])


async def test_who_connects_between_the_old_process_and_the_new_is_served() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with activated(listener, Path(folder), "old") as old:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(GET)
                assert (await answer(stream)).startswith(b"HTTP/1.1 200 ")
            os.kill(old.pid, signal.SIGTERM)
            with trio.fail_after(20):
                assert await old.wait() == 0
        waiting = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(20)]
        for stream in waiting:
            await stream.send_all(GET)
        async with activated(listener, Path(folder), "new"):
            for stream in waiting:
                assert (await answer(stream)).startswith(b"HTTP/1.1 200 ")
                await stream.aclose()


async def test_who_connects_to_a_process_that_was_killed_is_served_by_the_next() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        async with activated(listener, Path(folder), "old") as old:
            old.kill()
            await old.wait()
        stream = await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1])
        await stream.send_all(GET)
        async with stream, activated(listener, Path(folder), "new"):
            assert (await answer(stream)).startswith(b"HTTP/1.1 200 ")
