"""Records and leases end by the clock of the place that keeps them, whatever the clocks of the processes say."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from relay.metrics import Metrics
from relay.state.backend import LEASE_S, Backend, Claim
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.record import CallRecord
from relay.state.redis import RedisBackend
from relay.state.sqlite import SqliteBackend
from relay.state.store import StateStore, inline
from relay.state.write_behind import BEAT_S, WriteBehind
from tests.support.records import record

Open = Callable[[str, float], Backend]
HOUR_S = 3600
LONG_S = 600.0


@pytest.fixture(params=["sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same place for one more owner, whose lease has this length."""
    if request.param == "sqlite":
        return lambda owner, lease_s: SqliteBackend(owner, tmp_path / "relay.db", lease_s=lease_s)
    url = request.getfixturevalue("redis_server").url
    return lambda owner, lease_s: RedisBackend(owner, url, timeout_s=10, lease_s=lease_s)


@pytest.mark.parametrize("hours", [-5, 5])
@pytest.mark.parametrize("first", [False, True], ids=["of the next process", "of the first"])
def test_a_clock_that_is_hours_wrong_keeps_no_process_from_following(
    opened: Open, hours: int, *, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time", lambda: now() + hours * HOUR_S * first)
        with closing(opened("one", 0.01)) as one:
            expires_at = one.now() + LONG_S
            assert one.save("CA1", b"left", expires_at)
    time.sleep(0.05)
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time", lambda: now() + hours * HOUR_S * (not first))
        with closing(opened("two", LONG_S)) as two:
            assert two.take("CA1") == Claim(b"left", taken=True)
            assert LONG_S - 30 < expires_at - two.now() <= LONG_S


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_is_set_ends_no_lease_and_no_record(
    opened: Open, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    with closing(opened("one", LONG_S)) as one, closing(opened("two", LONG_S)) as two:
        assert one.save("CA1", b"mine", one.now() + LONG_S)
        monkeypatch.setattr(time, "time", lambda: now() + hours * HOUR_S)

        assert two.take("CA1") == Claim(b"mine", taken=False)
        assert one.owns(["CA1"]) == [True]


def test_when_the_machine_was_started_again_no_owner_lives(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    with closing(SqliteBackend("one", path, boot_id="before", uptime=lambda: 1e6, lease_s=LONG_S)) as one:
        one.save("CA1", b"left", one.now() + LONG_S)
    with (
        closing(SqliteBackend("two", path, boot_id="after", uptime=lambda: 5.0, lease_s=LONG_S)) as two,
        closing(SqliteBackend("three", path, boot_id="after", uptime=lambda: 5.0)) as three,
    ):
        assert two.take("CA1") == Claim(b"left", taken=True)
        assert three.take("CA1") == Claim(b"left", taken=False)


def test_an_owner_that_uses_the_file_without_a_clock_lives_on(tmp_path: Path) -> None:
    """It is an older process, which is being replaced."""
    path = tmp_path / "relay.db"
    with closing(SqliteBackend("old", path, lease_s=LONG_S)) as old:
        old.save("CA1", b"mine", old.now() + LONG_S)
    with closing(sqlite3.connect(path)) as file:
        file.execute("DROP TABLE clock")
    with closing(SqliteBackend("new", path)) as new:
        assert new.take("CA1") == Claim(b"mine", taken=False)


def test_a_file_that_was_locked_when_it_was_opened_has_the_same_clock_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    with closing(SqliteBackend("one", path)) as one, closing(SqliteBackend("two", path)) as two:
        one.beat()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                two.beat()

        assert two.now() == pytest.approx(one.now(), abs=60)


class SetClock:
    """The clock of a place, which somebody sets."""

    def __init__(self) -> None:
        self.ahead_s = 50_000.0

    def __call__(self) -> float:
        return trio.current_time() + self.ahead_s


async def test_a_process_goes_by_the_clock_of_the_place(autojump_clock: MockClock) -> None:
    backend = MemoryBackend("one", wall=SetClock())
    store = StateStore(backend, Metrics(), executor=inline)
    await store.beat()
    kept = record(started_at=1.0, expires_at=trio.current_time() + 60)
    await store.save(kept)
    written = CallRecord.from_json(backend.load("CA1") or b"")

    assert written.started_at == pytest.approx(50_001.0, abs=0.01)
    assert await store.load("CA1") == kept.moved(0)
    await trio.sleep(61)
    assert await store.load("CA1") is None


@pytest.mark.parametrize("hours", [-2, 2])
async def test_a_call_is_taken_over_after_the_clock_of_the_place_was_set(hours: int, autojump_clock: MockClock) -> None:
    """Its record is written again by the clock as it is now, and ends when it was to end."""
    tables, clock = MemoryTables(), SetClock()
    one, two = (
        StateStore(MemoryBackend(name, tables, wall=clock), Metrics(), executor=inline) for name in ("one", "two")
    )
    async with trio.open_nursery() as nursery:
        behind = WriteBehind(one, Metrics(), on_taken=lambda sid, _: pytest.fail(sid))
        nursery.start_soon(behind.run)
        await trio.sleep(1)
        behind.note(record(expires_at=trio.current_time() + 600))
        await trio.sleep(1)
        clock.ahead_s += hours * HOUR_S
        await trio.sleep(2 * BEAT_S)
        nursery.cancel_scope.cancel()  # as a process that is killed
    await trio.sleep(LEASE_S + 0.1)
    await two.beat()

    assert await two.take("CA1") is not None
    await trio.sleep(600)
    assert await two.load("CA1") is None


async def test_a_place_that_begins_anew_under_a_clock_that_was_set_has_the_calls_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, path = time.time, tmp_path / "relay.db"
    async with trio.open_nursery() as nursery:
        with closing(SqliteBackend("one", path)) as backend:
            store = StateStore(backend, Metrics(), executor=inline)
            behind = WriteBehind(store, Metrics(), on_taken=lambda sid, _: pytest.fail(sid))
            nursery.start_soon(behind.run)
            behind.note(record(expires_at=trio.current_time() + 600))
            await behind.written("CA1")
            monkeypatch.setattr(time, "time", lambda: now() + 2 * HOUR_S)
            path.unlink()
            with closing(SqliteBackend("two", path)) as two, trio.fail_after(20):
                while two.load("CA1") is None:  # noqa: ASYNC110 - a database
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
