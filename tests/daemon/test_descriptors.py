"""A real daemon whose descriptors strangers use up: its call gets an assistant again, and the log stays short."""

import sys
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.phone import open_phone
from tests.support.daemons import VAPI_KEY, Daemon, environment, ready_port, settings
from tests.support.places import OPTIONS

LIMIT = 160
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
os.execv(sys.argv[2], sys.argv[2:])
"""


async def test_an_assistant_that_was_lost_is_dialled_again_while_strangers_hold_all_they_can(tmp_path: Path) -> None:
    config, log = tmp_path / "config.toml", tmp_path / "log"
    async with open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone"), record_s=1) as assistant:
        config.write_text(settings(assistant.base_url, state=f"sqlite:{tmp_path}/relay.db"))
        relay = [sys.executable, "-m", "relay", "serve", "--config", str(config)]
        with log.open("wb") as errors:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-c", LIMITED, str(LIMIT), *relay], stderr=errors, env=environment()
            )
        daemon = Daemon(process, await ready_port(process, log), log)
        try:
            async with open_phone(daemon.url, OPTIONS) as phone, AsyncExitStack() as strangers:
                assert await phone.wait_heard(500, 20)
                for _ in range(2 * LIMIT):
                    stream = await trio.open_tcp_stream("127.0.0.1", daemon.port)
                    await strangers.enter_async_context(stream)
                await until_said(daemon, "accept.paused")
                (call,) = assistant.calls.values()
                call.drop()
                await until_logged(daemon, "assistant.reconnected")
                assert len(assistant.calls) == 2
                assert (phone.end, phone.result().streams) == (None, 1)
                assert (len(paused(daemon)), len(daemon.events_of("library.message"))) == (1, 1)
                assert daemon.events_of("state.unavailable") == []
                await strangers.aclose()
                async with open_phone(daemon.url, OPTIONS) as another:
                    assert await another.wait_heard(200, 20)
        finally:
            process.kill()
            await process.wait()


def paused(daemon: Daemon) -> list[dict[str, object]]:
    return [line for line in daemon.events_of("library.message") if line["message"] == "accept.paused"]


async def until_said(daemon: Daemon, message: str) -> None:
    with trio.fail_after(20):
        while message not in [line["message"] for line in daemon.events_of("library.message")]:  # noqa: ASYNC110 - a file
            await trio.sleep(0.05)


async def until_logged(daemon: Daemon, event: str) -> None:
    with trio.fail_after(20):
        while not daemon.events_of(event):  # noqa: ASYNC110 - a log file
            await trio.sleep(0.05)
