"""Deadlines, counting, and what is said once, whatever the place of the records does."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest
import structlog
import trio
from trio.testing import MockClock

from relay.errors import RecordTaken, StateUnavailable
from relay.metrics import Metrics
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.record import KeptToken
from relay.state.store import CLAIM_TRIES, StateStore, inline, one_worker
from tests.support.records import record

T = TypeVar("T")


class Broken(MemoryBackend):
    """Fails with `error` for as long as there is one."""

    error: Exception | None = None

    def load(self, call_sid: str) -> bytes | None:
        if self.error:
            raise self.error
        return super().load(call_sid)


def errors(metrics: Metrics, operation: str) -> float | None:
    return metrics.registry.get_sample_value("relay_state_errors_total", {"operation": operation})


async def test_a_record_goes_from_one_process_to_the_next() -> None:
    tables, metrics = MemoryTables(), Metrics()
    one = StateStore(MemoryBackend("one", tables), metrics, executor=inline)
    two = StateStore(MemoryBackend("two", tables), metrics, executor=inline)
    kept = record()
    await one.save(kept)

    assert await two.load("CA1") == kept
    assert await two.take("CA1") is None
    await one.retire()
    assert await two.take("CA1") == kept
    with pytest.raises(RecordTaken):
        await one.save(kept)
    await one.delete("CA1")
    await two.delete("CA1")
    assert await two.load("CA1") is None


async def test_an_owner_that_seems_to_live_is_waited_for(autojump_clock: MockClock) -> None:
    tables, metrics = MemoryTables(), Metrics()
    one = StateStore(MemoryBackend("one", tables, wall=trio.current_time), metrics, executor=inline)
    two = StateStore(MemoryBackend("two", tables, wall=trio.current_time), metrics, executor=inline)
    kept = record(expires_at=trio.current_time() + 600)
    await one.save(kept)
    began = trio.current_time()

    assert await two.take("CA1", wait_s=1.0) is None
    assert await two.take("CA1", wait_s=5.0) == kept
    assert trio.current_time() - began == pytest.approx(2.0, abs=0.2)


async def test_a_call_without_a_record_is_not_waited_for(autojump_clock: MockClock) -> None:
    store = StateStore(MemoryBackend("one"), Metrics(), executor=inline)
    began = trio.current_time()

    assert await store.take("CA1", wait_s=5.0) is None
    assert trio.current_time() == began


async def test_that_the_store_is_down_and_back_is_said_once_each_and_every_error_counted(
    autojump_clock: MockClock,
) -> None:
    backend, metrics = Broken("one"), Metrics()
    store = StateStore(backend, metrics, executor=inline)
    backend.error = OSError(28, "No space left on device")
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(StateUnavailable, match="No space left"):
                await store.load("CA1")
            await trio.sleep(1)
        backend.error = None
        await store.load("CA1")
        await store.load("CA1")

    assert [line["event"] for line in logs] == ["state.unavailable", "state.recovered"]
    assert logs[0]["operation"] == "load"
    assert logs[1]["down_s"] == 3.0
    assert errors(metrics, "load") == 3


async def test_what_a_server_says_is_not_logged_because_it_may_quote_a_conversation() -> None:
    backend = Broken("one")
    backend.error = ValueError("ERR unknown command, with args beginning with: I have a headache")
    with structlog.testing.capture_logs() as logs, pytest.raises(StateUnavailable) as raised:
        await StateStore(backend, Metrics(), executor=inline).load("CA1")

    assert logs[0]["error"] == "ValueError"
    assert "headache" not in str(raised.value)


async def test_an_operation_that_hangs_is_given_up_in_time(autojump_clock: MockClock) -> None:
    async def hang(function: Callable[[], T]) -> T:
        await trio.sleep_forever()
        raise AssertionError

    metrics = Metrics()
    store = StateStore(MemoryBackend("one"), metrics, executor=hang, timeout_s=2.0)
    began = trio.current_time()
    with pytest.raises(StateUnavailable, match="no answer in 2 s"):
        await store.beat()
    await store.aclose()

    assert trio.current_time() - began == 4.0
    assert errors(metrics, "beat") == 1


class Stuck(MemoryBackend):
    """Blocks its thread until it is let go, and says in which order its functions ran to their end."""

    def __init__(self) -> None:
        super().__init__("one")
        self.let_go = threading.Event()
        self.done: list[str] = []

    def save(self, call_sid: str, record: bytes, expires_at: float) -> bool:
        self.let_go.wait(timeout=20)
        self.done.append(call_sid)
        return super().save(call_sid, record, expires_at)


async def test_a_stuck_thread_holds_up_neither_the_event_loop_nor_the_order_of_what_is_written() -> None:
    backend = Stuck()
    store = StateStore(backend, Metrics(), executor=one_worker(), timeout_s=0.05)
    for sid in ("CA1", "CA2"):
        with pytest.raises(StateUnavailable):
            await store.save(record(sid))
    backend.let_go.set()
    patient = StateStore(backend, Metrics(), executor=store._executor, timeout_s=20)
    await patient.save(record("CA3"))

    assert backend.done == ["CA1", "CA3"]


async def test_a_record_of_another_version_is_no_record_and_said() -> None:
    backend, metrics = MemoryBackend("one"), Metrics()
    backend.save("CA1", b'{"version": 2}', time.time() + 60)
    store = StateStore(backend, metrics, executor=inline)
    with structlog.testing.capture_logs() as logs:
        assert await store.load("CA1") is None
        assert await store.take("CA1") is None

    assert [line["event"] for line in logs] == ["state.unreadable"] * 2
    assert errors(metrics, "read") == 2


@pytest.mark.parametrize("nonsense", [b"", b"{}", b'["only one"]', b"\xff"])
async def test_what_no_process_has_noted_of_an_assistants_call_is_nothing_and_counted(nonsense: bytes) -> None:
    backend, metrics = MemoryBackend("one"), Metrics()
    backend.save("CA1", record("CA1").to_json(), time.time() + 60)
    backend.note("assistant-call", "CA1", nonsense, 60.0)
    store = StateStore(backend, metrics, executor=inline)

    assert await store.whose("assistant-call") is None
    assert errors(metrics, "read") == 1


KEPT = KeptToken("ab" * 32, 60.0)


async def test_a_token_opens_its_record_once_and_takes_it_from_an_owner_that_lives(autojump_clock: MockClock) -> None:
    tables, metrics = MemoryTables(), Metrics()
    one, two, three = (
        StateStore(MemoryBackend(name, tables, wall=trio.current_time), metrics, executor=inline)
        for name in ("one", "two", "three")
    )
    kept = record(tokens=(KEPT, KeptToken("cd" * 32, 60.0)), expires_at=trio.current_time() + 600)
    await one.save(kept)

    assert await two.claim("CA1", "00" * 32) is None
    assert await two.claim("CA9", KEPT.sha256) is None
    assert await one.owns(["CA1"]) == [True]
    assert await two.claim("CA1", KEPT.sha256) == replace(kept, tokens=())
    assert await three.claim("CA1", KEPT.sha256) is None
    assert await three.claim("CA1", "cd" * 32) is None
    assert await one.owns(["CA1"]) == [False]
    with pytest.raises(RecordTaken):
        await one.save(kept)


async def test_a_token_is_good_until_it_expires_by_the_clock_of_its_process(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    one, two = (
        StateStore(MemoryBackend(name, tables, wall=trio.current_time), Metrics(), executor=inline)
        for name in ("one", "two")
    )
    await one.save(record(tokens=(KEPT, KeptToken("cd" * 32, 61.0))))
    await trio.sleep(60.5 - trio.current_time())

    assert await two.claim("CA1", KEPT.sha256) is None
    assert await two.claim("CA1", "cd" * 32) is not None


class Busy(MemoryBackend):
    """Its records change between two looks at them, so many times."""

    changes = 0

    def load(self, call_sid: str) -> bytes | None:
        data = super().load(call_sid)
        if self.changes:
            self.changes -= 1
            self.save(call_sid, record(tokens=(KEPT,), started_at=float(self.changes)).to_json(), time.time() + 60)
        return data


@pytest.mark.parametrize(("changes", "claimed"), [(CLAIM_TRIES - 1, True), (CLAIM_TRIES, False)])
async def test_a_record_that_changes_meanwhile_is_looked_at_again_but_not_for_ever(
    changes: int, claimed: bool, autojump_clock: MockClock
) -> None:
    backend = Busy("one", wall=trio.current_time)
    store = StateStore(backend, Metrics(), executor=inline)
    await store.save(record(tokens=(KEPT,)))
    backend.changes = changes
    found = await store.claim("CA1", KEPT.sha256)

    assert (found is not None) == claimed
    assert not claimed or (found is not None and found.started_at == 0.0)


async def test_whether_it_fails_is_known_until_it_works_again() -> None:
    backend = Broken("one")
    store = StateStore(backend, Metrics(), executor=inline)
    states = [store.failing]
    backend.error = OSError(28, "No space left on device")
    with pytest.raises(StateUnavailable):
        await store.load("CA1")
    states.append(store.failing)
    backend.error = None
    await store.load("CA1")

    assert [*states, store.failing] == [False, True, False]
