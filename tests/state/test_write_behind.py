"""Calls note and never wait; what is noted is written, in the end, in its newest form."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.metrics import Metrics
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.record import CallRecord
from relay.state.store import StateStore, inline
from relay.state.write_behind import BEAT_S, LONGEST_PAUSE_S, WriteBehind
from tests.support.records import record


class Place(MemoryBackend):
    """A backend that can be down, and that remembers what was written."""

    def __init__(self, owner: str = "one", tables: MemoryTables | None = None) -> None:
        super().__init__(owner, tables, wall=trio.current_time)
        self.down = False
        self.saves: list[tuple[str, float]] = []
        self.tries: list[float] = []

    def save(self, call_sid: str, record: bytes, expires_at: float) -> bool:
        self._up()
        self.saves.append((call_sid, CallRecord.from_json(record).started_at))
        return super().save(call_sid, record, expires_at)

    def beat(self) -> None:
        self._up()
        super().beat()

    def _up(self) -> None:
        self.tries.append(trio.current_time())
        if self.down:
            raise ConnectionError("refused")


class Rig:
    def __init__(self, place: Place, pending_max: int = 2000) -> None:
        self.place = place
        self.metrics = Metrics()
        self.store = StateStore(place, self.metrics, executor=inline)
        self.taken: list[str] = []
        self.stored: CallRecord | None = None
        self.behind = WriteBehind(
            self.store, self.metrics, on_taken=self.note_taken, rng=Random(1), pending_max=pending_max
        )

    def note_taken(self, sid: str, stored: CallRecord | None) -> None:
        self.taken.append(sid)
        self.stored = stored

    def note(self, sid: str, number: float) -> None:
        self.behind.note(
            CallRecord(
                call_sid=sid,
                call_id=sid,
                assistant="main",
                started_at=number,
                expires_at=trio.current_time() + 600,
            )
        )

    @property
    def pending(self) -> float:
        return next(iter(self.metrics.state_pending.collect())).samples[0].value


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Rig]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.behind.run)
        await wait_all_tasks_blocked()
        yield rig
        nursery.cancel_scope.cancel()


async def test_of_each_call_the_newest_record_is_written(autojump_clock: MockClock) -> None:
    async with running(Rig(Place())) as rig:
        for number in range(100):
            rig.note("CA1", number)
            rig.note("CA2", number)
        assert rig.place.saves == []
        assert rig.pending == 2
        await wait_all_tasks_blocked()

        assert rig.place.saves == [("CA1", 99), ("CA2", 99)]
        assert rig.pending == 0


async def test_a_process_keeps_its_calls_without_a_word_from_them(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    two = StateStore(Place("two", tables), Metrics(), executor=inline)
    async with running(Rig(Place("one", tables))) as rig:
        rig.note("CA1", 1)
        for _ in range(20):
            await trio.sleep(1)
            assert await two.take("CA1") is None
    assert await two.take("CA1", wait_s=3) is not None


async def test_while_the_store_is_down_the_newest_waits_and_is_written_when_it_is_back(
    autojump_clock: MockClock,
) -> None:
    async with running(Rig(Place())) as rig:
        rig.place.down = True
        with structlog.testing.capture_logs() as logs:
            for number in range(300):
                rig.note("CA1", number)
                await trio.sleep(0.2)
            assert rig.place.saves == []
            rig.place.down = False
            await trio.sleep(LONGEST_PAUSE_S + 0.01)

        assert rig.place.saves == [("CA1", 299)]
        assert [line["event"] for line in logs] == ["state.unavailable", "state.recovered"]


async def test_a_store_that_is_down_is_asked_ever_more_rarely_but_for_ever(autojump_clock: MockClock) -> None:
    async with running(Rig(Place())) as rig:
        rig.place.down = True
        rig.note("CA1", 1)
        await trio.sleep(3600)
        tries = rig.place.tries

        assert 3600 / LONGEST_PAUSE_S < len(tries) < 2.2 * 3600 / LONGEST_PAUSE_S
        assert max(after - before for before, after in pairwise(tries)) <= LONGEST_PAUSE_S
        assert trio.current_time() - tries[-1] <= LONGEST_PAUSE_S


async def test_when_too_many_wait_the_oldest_is_dropped_and_counted(autojump_clock: MockClock) -> None:
    async with running(Rig(Place(), pending_max=3)) as rig:
        for number in range(5):
            rig.note(f"CA{number}", number)
        rig.note("CA4", 40)
        await wait_all_tasks_blocked()

        assert rig.place.saves == [("CA2", 2), ("CA3", 3), ("CA4", 40)]
        assert rig.metrics.registry.get_sample_value("relay_state_dropped_total") == 2


async def test_a_call_that_another_process_took_is_reported_and_written_no_more(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with running(Rig(Place("one", tables))) as rig:
        rig.note("CA1", 1)
        await wait_all_tasks_blocked()
        tables.alive_until.clear()
        two = StateStore(Place("two", tables), Metrics(), executor=inline)
        assert await two.take("CA1") is not None
        with structlog.testing.capture_logs() as logs:
            rig.note("CA1", 2)
            rig.note("CA2", 2)
            await wait_all_tasks_blocked()

        assert rig.taken == ["CA1"]
        assert rig.stored is not None
        assert rig.stored.started_at == 1, "what the other has, and not what could not be written"
        assert [line["event"] for line in logs] == ["state.taken"]
        assert rig.pending == 0
        assert {sid: row.owner for sid, row in tables.rows.items()} == {"CA1": "two", "CA2": "one"}


async def test_a_hand_over_writes_what_waits_and_gives_everything_away(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with running(Rig(Place("one", tables))) as rig:
        for number in range(20):
            rig.note(f"CA{number}", number)

        assert await rig.behind.hand_over(5.0)

        two = StateStore(Place("two", tables), Metrics(), executor=inline)
        found = [await two.take(f"CA{number}") for number in range(20)]
        assert [record.started_at for record in found if record] == list(range(20))
        await trio.sleep(5)
        assert "one" not in tables.alive_until


async def test_an_idle_process_hands_over_at_once(autojump_clock: MockClock) -> None:
    async with running(Rig(Place())) as rig:
        began = trio.current_time()
        assert await rig.behind.hand_over(5.0)
        assert trio.current_time() == began


async def test_a_hand_over_to_a_store_that_is_down_ends_in_time(autojump_clock: MockClock) -> None:
    async with running(Rig(Place())) as rig:
        rig.place.down = True
        rig.note("CA1", 1)
        began = trio.current_time()

        assert not await rig.behind.hand_over(3.0)

        assert trio.current_time() - began == pytest.approx(3.0)
        tries = len(rig.place.tries)
        await trio.sleep(60)
        assert len(rig.place.tries) == tries


async def test_that_a_quiet_call_was_taken_is_known_with_the_next_beat(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with running(Rig(Place("one", tables))) as rig:
        rig.note("CA1", 1)
        rig.note("CA2", 2)
        await trio.sleep(0.01)
        two = StateStore(Place("two", tables), Metrics(), executor=inline)
        assert await two.take("CA1", by_force=True) is not None
        await trio.sleep(BEAT_S)

        assert rig.taken == ["CA1"]
        await trio.sleep(10 * BEAT_S)
        assert rig.taken == ["CA1"]


async def test_a_call_that_is_over_may_be_taken_without_a_word(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with running(Rig(Place("one", tables))) as rig:
        rig.note("CA1", 1)
        await trio.sleep(0.01)
        rig.behind.note(record("CA1", end_reason="caller_hangup", expires_at=trio.current_time() + 60))
        await trio.sleep(0.01)
        await StateStore(Place("two", tables), Metrics(), executor=inline).take("CA1", by_force=True)
        await trio.sleep(10)

        assert rig.taken == []


async def test_that_all_of_a_call_is_written_can_be_waited_for(autojump_clock: MockClock) -> None:
    async with running(Rig(Place())) as rig:
        await rig.behind.written("CA1")
        rig.place.down = True
        rig.note("CA1", 1)
        with trio.move_on_after(1) as limit:
            await rig.behind.written("CA1")
        assert limit.cancelled_caught
        rig.place.down = False
        await rig.behind.written("CA1")

        assert rig.place.saves == [("CA1", 1)]


async def test_what_is_dropped_is_waited_for_no_longer(autojump_clock: MockClock) -> None:
    async with running(Rig(Place(), pending_max=1)) as rig:
        rig.place.down = True
        rig.note("CA1", 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.behind.written, "CA1")
            await wait_all_tasks_blocked()
            rig.note("CA2", 2)


async def test_a_call_that_was_taken_over_is_waited_for_no_longer(autojump_clock: MockClock) -> None:
    """Found out by the beat, before the newest record is written."""
    tables = MemoryTables()
    async with running(Rig(Place("one", tables))) as rig:
        rig.note("CA1", 1)
        await trio.sleep(0.01)
        await StateStore(Place("two", tables), Metrics(), executor=inline).take("CA1", by_force=True)
        rig.place.down = True
        rig.note("CA1", 2)
        await trio.sleep(BEAT_S + 0.01)
        rig.place.down = False
        with trio.fail_after(60):
            await rig.behind.written("CA1")

        assert rig.taken == ["CA1"]


async def test_what_the_store_has_forgotten_is_written_again(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with running(Rig(Place("one", tables))) as rig:
        rig.note("CA1", 1)
        rig.note("CA2", 2)
        await trio.sleep(0.01)
        rig.behind.note(record("CA2", end_reason="caller_hangup", expires_at=trio.current_time() + 60))
        await trio.sleep(0.01)
        tables.rows.clear()
        await trio.sleep(BEAT_S + 0.01)

        assert list(tables.rows) == ["CA1"]
        assert rig.taken == []


class OneFailure(Place):
    """The question who owns the records fails once, when it is told to."""

    fails = False

    def owns(self, call_sids: Sequence[str]) -> list[bool | None]:
        if self.fails:
            self.fails = False
            raise ConnectionError("refused")
        return super().owns(call_sids)


async def test_that_the_clock_was_set_is_not_forgotten_when_the_store_fails_meanwhile(
    autojump_clock: MockClock,
) -> None:
    place, ahead_s = OneFailure(), 50_000.0
    place._wall = lambda: trio.current_time() + ahead_s
    async with running(Rig(place)) as rig:
        rig.note("CA1", 1)
        await trio.sleep(1)
        ahead_s -= 7200
        place.fails = True
        await trio.sleep(5)

        assert place.saves == [("CA1", 50_001.0), ("CA1", 42_801.0)]
