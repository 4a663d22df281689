"""How many descriptors a daemon gives itself, and what strangers do who use them up: a call gets an assistant again."""

import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from relay.config import LimitsConfig
from relay.daemon.descriptors import descriptors_needed
from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.phone import open_phone
from tests.support.daemons import VAPI_KEY, Daemon, environment, ready_port, settings
from tests.support.frontrig import front_config
from tests.support.places import OPTIONS

LIMIT = 160
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
os.execv(sys.argv[3], sys.argv[3:])
"""
RAISES = "from relay.daemon.descriptors import raise_descriptor_limit; print(raise_descriptor_limit(500))"


def limited(soft: int, hard: int, *command: str) -> list[str]:
    """This command in a process with these limits."""
    return [sys.executable, "-c", LIMITED, str(soft), str(hard), sys.executable, *command]


@pytest.mark.parametrize(
    ("soft", "hard", "raised"), [(100, 1000, 500), (100, 400, 400), (500, 500, 500), (600, 1000, 600)]
)
def test_the_limit_is_raised_as_far_as_it_is_needed_and_allowed(soft: int, hard: int, raised: int) -> None:
    done = subprocess.run(limited(soft, hard, "-c", RAISES), capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == f"{raised}\n"


def test_every_place_of_limits_needs_a_descriptor() -> None:
    few = descriptors_needed(front_config(limits=LimitsConfig(max_calls=1, connections=1)))

    assert few > 256
    assert descriptors_needed(front_config(limits=LimitsConfig(max_calls=1, connections=101))) == few + 100
    assert descriptors_needed(front_config(limits=LimitsConfig(max_calls=101, connections=1))) == few + 400


async def test_a_daemon_raises_its_limit_and_says_it(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with limited_daemon(tmp_path, settings(max_calls="auto"), 160, hard) as daemon:
        (ready,) = daemon.events_of("daemon.ready")

        assert ready["descriptors"] == descriptors_needed(front_config())
        assert daemon.events_of("daemon.few_descriptors") == []


@asynccontextmanager
async def limited_daemon(folder: Path, text: str, soft: int, hard: int) -> AsyncIterator[Daemon]:
    """A daemon with this configuration and these limits, which is killed on leaving."""
    config, log = folder / "config.toml", folder / "log"
    config.write_text(text)
    command = limited(soft, hard, "-m", "relay", "serve", "--config", str(config))
    with log.open("wb") as errors:
        process = await trio.lowlevel.open_process(command, stderr=errors, env=environment())
    try:
        yield Daemon(process, await ready_port(process, log), log, config)
    finally:
        process.kill()
        await process.wait()


async def test_an_assistant_that_was_lost_is_dialled_again_while_strangers_hold_all_they_can(tmp_path: Path) -> None:
    async with open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone"), record_s=1) as assistant:
        text = settings(assistant.base_url, state=f"sqlite:{tmp_path}/relay.db")
        async with limited_daemon(tmp_path, text, LIMIT, LIMIT) as daemon:
            assert [line["limit"] for line in daemon.events_of("daemon.few_descriptors")] == [LIMIT]
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
