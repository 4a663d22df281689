"""One listening socket, one process after the other: nobody who connects is refused."""

import os
import signal
import socket
import tempfile
from pathlib import Path

import trio

from tests.support.daemons import activated, settings

TEXT = settings(port=1)
"""Not a port that we may listen on: the socket is used instead."""
GET = b"GET /health HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n"


async def answer(stream: trio.SocketStream) -> bytes:
    with trio.fail_after(30):
        return b"".join([bytes(part) async for part in stream])


async def test_who_connects_between_the_old_process_and_the_new_is_served() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with activated(listener, Path(folder), "old", TEXT) as old:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(GET)
                assert (await answer(stream)).startswith(b"HTTP/1.1 200 ")
            os.kill(old.pid, signal.SIGTERM)
            with trio.fail_after(20):
                assert await old.wait() == 0
        waiting = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(20)]
        for stream in waiting:
            await stream.send_all(GET)
        async with activated(listener, Path(folder), "new", TEXT):
            for stream in waiting:
                assert (await answer(stream)).startswith(b"HTTP/1.1 200 ")
                await stream.aclose()


async def test_who_connects_to_a_process_that_was_killed_is_served_by_the_next() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        async with activated(listener, Path(folder), "old", TEXT) as old:
            old.kill()
            await old.wait()
        stream = await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1])
        await stream.send_all(GET)
        async with stream, activated(listener, Path(folder), "new", TEXT):
            assert (await answer(stream)).startswith(b"HTTP/1.1 200 ")
