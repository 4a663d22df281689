"""The store goes away under a live call of a real daemon, or is not there at its start, and comes back: the caller does
not notice, others do."""

import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import pytest
import trio
from redis import Redis

from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.phone import Phone, open_phone
from tests.support.balancer import open_balancer
from tests.support.daemons import VAPI_KEY, Daemon, running_daemon, settings
from tests.support.disks import fill, remount, small_disk
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


async def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        async with live_call(f"sqlite:{disk}/relay.db") as (daemon, phone):
            fill(disk)
            await until_said(daemon, "state.unavailable", 1, "degraded")
            assert await phone.wait_heard(DOWN_FOR_MS, PATIENCE_S)
            (disk / "filler").unlink()
            await until_said(daemon, "state.recovered", 1, "ok")
            await until_filed(disk / "relay.db", phone.call_sid)
            assert (phone.end, phone.result().streams) == (None, 1)


@pytest.mark.parametrize("lost", ["relay.db", "."])
async def test_a_file_and_a_folder_that_are_removed(lost: str, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    async with live_call(f"sqlite:{folder}/relay.db") as (daemon, phone):
        await until_filed(folder / "relay.db", phone.call_sid)
        if lost == ".":
            shutil.rmtree(folder)
        else:
            (folder / lost).unlink()
        await is_back(daemon, phone)
        assert "removed or replaced" in daemon.events_of("state.unavailable")[0]["error"]
        await until_filed(folder / "relay.db", phone.call_sid)


async def until_filed(path: Path, call_sid: str) -> None:
    """The file has the call."""
    with trio.fail_after(PATIENCE_S):
        while call_sid not in filed(path):  # noqa: ASYNC110 - a database
            await trio.sleep(0.1)


def filed(path: Path) -> list[str]:
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
        return [sid for (sid,) in file.execute("SELECT call_sid FROM calls")]
    return []


# -- at the start


@contextmanager
def full(folder: Path) -> Iterator[Path]:
    with small_disk(folder / "disk") as disk:
        fill(disk)
        yield disk / "relay.db"


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    with small_disk(folder / "disk") as disk:
        remount(disk, "ro")
        yield disk / "relay.db"


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    with closing(sqlite3.connect(folder / "relay.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield folder / "relay.db"


@contextmanager
def a_folder(folder: Path) -> Iterator[Path]:
    (folder / "relay.db").mkdir()
    yield folder / "relay.db"


@contextmanager
def another_programs(folder: Path) -> Iterator[Path]:
    with closing(sqlite3.connect(folder / "relay.db")) as other:
        other.execute("CREATE TABLE invoices (total TEXT)")
    yield folder / "relay.db"


def mend_full(path: Path) -> None:
    (path.parent / "filler").unlink()


def mend_read_only(path: Path) -> None:
    remount(path.parent, "rw")


def mend_folder(path: Path) -> None:
    path.rmdir()


Trouble = Callable[[Path], AbstractContextManager[Path]]


@pytest.mark.parametrize(
    ("trouble", "mend"),
    [
        (full, mend_full),
        (read_only, mend_read_only),
        (locked, None),
        (a_folder, mend_folder),
        (another_programs, Path.unlink),
    ],
    ids=["full", "read-only", "locked", "a folder", "another program's"],
)
async def test_a_store_that_cannot_be_used_keeps_no_daemon_from_its_calls(
    trouble: Trouble, mend: Callable[[Path], None] | None, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        path = stack.enter_context(trouble(tmp_path))
        async with live_call(f"sqlite:{path}") as (daemon, phone):
            await until_said(daemon, "state.unavailable", 1, "degraded")
            assert (await daemon.get("/ready")).status_code == 200
            if mend is None:
                stack.close()
            else:
                mend(path)
            await is_back(daemon, phone)
            await until_filed(path, phone.call_sid)


async def test_a_file_that_was_broken_before_the_start_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    path.write_bytes(b"something else entirely" * 1000)
    async with live_call(f"sqlite:{path}") as (daemon, phone):
        await is_back(daemon, phone)
        (line,) = daemon.events_of("state.set_aside")
        assert (line["level"], line["renamed_to"]) == ("error", "relay.db.broken")
        await until_filed(path, phone.call_sid)
