"""The store goes away under a live call of a real daemon, and comes back: the caller does not notice, others do."""

import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from redis import Redis

from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.phone import Phone, open_phone
from tests.support.balancer import open_balancer
from tests.support.daemons import VAPI_KEY, Daemon, running_daemon, settings
from tests.support.places import OPTIONS
from tests.support.redis_server import RedisServer

PATIENCE_S = 60.0
DOWN_FOR_MS = 3000.0


@asynccontextmanager
async def live_call(state: str) -> AsyncIterator[tuple[Daemon, Phone]]:
    """An assistant that does not fall silent, so that every interruption of its voice is one."""
    async with (
        open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone"), record_s=1) as assistant,
        running_daemon(settings(assistant.base_url, state=state)) as daemon,
        open_phone(daemon.url, OPTIONS) as phone,
    ):
        assert await phone.wait_heard(500, PATIENCE_S)
        yield daemon, phone


async def health(daemon: Daemon) -> str:
    return str((await daemon.get("/health")).json()["status"])


async def until_said(daemon: Daemon, event: str, times: int, status: str) -> None:
    with trio.fail_after(PATIENCE_S):
        while len(daemon.events_of(event)) < times or await health(daemon) != status:  # noqa: ASYNC110 - a log file
            await trio.sleep(0.1)


async def rides_out(daemon: Daemon, phone: Phone, times: int = 1) -> None:
    """While the store is down the call goes on, and new ones are taken; it is said, once."""
    await until_said(daemon, "state.unavailable", times, "degraded")
    assert await phone.wait_heard(DOWN_FOR_MS, PATIENCE_S)
    async with open_phone(daemon.url, OPTIONS) as another:
        assert await another.wait_heard(500, PATIENCE_S)
    assert (await daemon.get("/ready")).status_code == 200
    assert len(daemon.events_of("state.unavailable")) == times


async def is_back(daemon: Daemon, phone: Phone, times: int = 1) -> None:
    await until_said(daemon, "state.recovered", times, "ok")
    assert await phone.wait_heard(1000, PATIENCE_S)
    assert phone.end is None
    assert phone.result().streams == 1
    assert len(daemon.events_of("state.unavailable")) == len(daemon.events_of("state.recovered")) == times


async def test_a_redis_that_hangs_and_one_that_is_killed_and_started_again(redis_server: RedisServer) -> None:
    async with live_call(redis_server.url) as (daemon, phone):
        assert redis_server.process is not None
        redis_server.process.send_signal(signal.SIGSTOP)
        await rides_out(daemon, phone)
        redis_server.process.send_signal(signal.SIGCONT)
        await is_back(daemon, phone)
        redis_server.stop()
        await rides_out(daemon, phone, 2)
        redis_server.start()
        await is_back(daemon, phone, 2)
        await in_store(redis_server, phone.call_sid)


async def test_a_failover_to_a_replica_behind_an_address_that_stays(
    redis_server: RedisServer, redis_replica: RedisServer
) -> None:
    """The connection that is open stays with the old primary, which takes no writes any more."""
    async with open_balancer() as balancer:
        balancer.ports = [redis_server.port]
        async with live_call(balancer.url.replace("http:", "redis:") + "/0") as (daemon, phone):
            await in_store(redis_server, phone.call_sid)
            redis_replica.change_places(redis_server)
            balancer.ports = [redis_replica.port]
            await is_back(daemon, phone)
            await in_store(redis_replica, phone.call_sid)


async def in_store(server: RedisServer, call_sid: str) -> None:
    """An empty Redis has the call again, without a word from it."""
    with trio.fail_after(PATIENCE_S), Redis.from_url(server.url) as client:
        while not client.exists(f"relay:call:{call_sid}"):  # noqa: ASYNC110 - a database
            await trio.sleep(0.1)


async def test_a_file_that_another_program_keeps_locked(tmp_path: Path) -> None:
    async with live_call(f"sqlite:{tmp_path}/relay.db") as (daemon, phone):
        other = sqlite3.connect(tmp_path / "relay.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await rides_out(daemon, phone)
        other.execute("COMMIT")
        other.close()
        await is_back(daemon, phone)
