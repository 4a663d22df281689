"""The record of a call: what is in it, when it is noted, that it reaches the store, and that callers do not wait."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.call.checkpoint import (
    ENDED_KEPT_S,
    HEARD_EVERY_S,
    STORED_WAIT_S,
    Checkpoint,
    Checkpoints,
    new_record,
)
from relay.call.report.assistant_events import Dialing, Said
from relay.call.report.events import Speech
from relay.config import ReconnectConfig, SessionConfig
from relay.errors import StateUnavailable
from relay.logic.assistant.conversation import Turn
from relay.logic.caller.reattach import ReattachRules
from relay.logic.end_reason import REFUTABLE, EndReason
from relay.metrics import Metrics
from relay.state import CallRecord, KeptToken, OnTaken, StateStore
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.store import inline
from tests.support.assistant_parts import RecordingReport
from tests.support.callrig import config
from tests.support.records import record

BEGAN_AT = -100.0
RULES = ReattachRules(max_attempts=5, window_s=30.0, grace_s=8.0)
TOKEN = KeptToken("00" * 32, 60.0)


@dataclass
class Rig:
    """A call's state as the test sets it, and everything that was noted of it."""

    forwarder: Any = field(
        default_factory=lambda: SimpleNamespace(
            assistant="main", assistant_call_id="vapi-1", handed_to="a-2", variables={"plan": "gold"}, notes=("a note",)
        )
    )
    said: tuple[Turn, ...] = ()
    ages_s: tuple[float, ...] = ()
    noted: list[CallRecord] = field(default_factory=list)
    report: RecordingReport = field(default_factory=lambda: RecordingReport(Metrics()))

    def __post_init__(self) -> None:
        self.checkpoint = self.made(self.noted.append)

    def made(self, note: Any) -> Checkpoint:
        began = CallRecord(
            call_sid="CA1",
            call_id="our-call",
            assistant="main",
            started_at=BEGAN_AT,
            expires_at=BEGAN_AT + 608,
            policy=RULES,
        )
        playback: Any = SimpleNamespace(turns=lambda: self.said)
        line: Any = SimpleNamespace(attempt_ages_s=lambda: self.ages_s)
        return Checkpoint(began, note, forwarder=self.forwarder, playback=playback, line=line)


def test_a_call_begins_with_a_record_of_its_own_and_is_kept_as_long_as_it_may_last() -> None:
    reconnect = ReconnectConfig(reattach_attempts=5, reattach_window_s=30.0, reattach_grace_s=8.0)
    known = config(session=SessionConfig(max_duration_s=600), reconnect=reconnect)
    first, second = new_record("CA1", known, "main", BEGAN_AT), new_record("CA1", known, "main", BEGAN_AT)

    assert (first.call_sid, first.assistant, first.started_at) == ("CA1", "main", BEGAN_AT)
    assert (first.expires_at, first.policy) == (BEGAN_AT + 608, RULES)
    assert len(first.call_id) == 32
    assert first.call_id != second.call_id


async def test_the_record_has_all_that_another_process_needs(autojump_clock: MockClock) -> None:
    rig = Rig(said=(Turn("user", "hello"),), ages_s=(5.0,))
    await trio.sleep(20 - trio.current_time())
    rig.checkpoint.keep_tokens([TOKEN])

    assert rig.noted == [
        CallRecord(
            call_sid="CA1",
            call_id="our-call",
            assistant="main",
            started_at=BEGAN_AT,
            expires_at=BEGAN_AT + 608,
            assistant_call_id="vapi-1",
            handed_to="a-2",
            variables={"plan": "gold"},
            conversation=(Turn("user", "hello"),),
            notes=("a note",),
            policy=RULES,
            reattached_at=(15.0,),
            tokens=(TOKEN,),
        )
    ]


async def test_nothing_is_noted_when_nothing_has_changed() -> None:
    rig = Rig()
    for _ in range(3):
        rig.checkpoint.note()
    assert len(rig.noted) == 1

    rig.said = (Turn("user", "hello"),)
    rig.checkpoint.note()
    assert len(rig.noted) == 2


async def test_what_was_heard_is_noted_every_second(autojump_clock: MockClock) -> None:
    rig = Rig()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.checkpoint.run, rig.report)
        await trio.sleep(0.1)
        rig.said = (Turn("assistant", "it is"),)
        await trio.sleep(HEARD_EVERY_S - 0.2)
        assert len(rig.noted) == 1
        await trio.sleep(0.2)
        assert len(rig.noted) == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("event", "at_once"),
    [
        (Said("user", "hello", final=True), True),
        (Said("user", "hel", final=False), False),
        (Speech("assistant", started=True), True),
        (Dialing("main", "mulaw"), True),
    ],
    ids=["final words", "words so far", "turn", "dialling"],
)
async def test_what_happens_is_noted_at_once_but_for_words_that_may_change(
    event: Any, autojump_clock: MockClock, *, at_once: bool
) -> None:
    rig = Rig()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.checkpoint.run, rig.report)
        await trio.sleep(0.1)
        rig.said = (Turn("user", "hello"),)
        rig.report.tell(event)
        await trio.sleep(0.1)
        assert (len(rig.noted) == 2) is at_once
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("reason", EndReason)
async def test_a_call_that_is_over_has_a_reason_and_words_only_if_it_may_go_on_and_is_kept_for_a_moment(
    reason: EndReason, autojump_clock: MockClock
) -> None:
    rig = Rig(said=(Turn("user", "what nobody else is to know"),))
    rig.checkpoint.keep_tokens([TOKEN])
    rig.checkpoint.note_end(reason)
    last = rig.noted[-1]

    assert (last.end_reason, last.tokens, bool(last.conversation)) == (reason, (), reason in REFUTABLE)
    assert last.expires_at == pytest.approx(trio.current_time() + ENDED_KEPT_S)


async def test_a_call_that_another_process_has_is_noted_no_more(autojump_clock: MockClock) -> None:
    rig = Rig()
    rig.checkpoint.stop()
    rig.checkpoint.keep_tokens([TOKEN])
    rig.checkpoint.note_end(EndReason.DRAIN)
    with trio.fail_after(5):
        await rig.checkpoint.run(rig.report)

    assert (rig.noted, rig.checkpoint.stopped) == ([], True)


async def test_a_call_that_nobody_could_go_on_with_is_not_noted() -> None:
    checkpoint = Rig().made(None)
    checkpoint.keep_tokens([TOKEN])
    checkpoint.note_end(EndReason.DRAIN)
    with trio.fail_after(5):
        await checkpoint.run(RecordingReport(Metrics()))

    assert not checkpoint.stopped


# -- the way to the store


class Backend(MemoryBackend):
    """One that fails while it is `down`."""

    down = False

    def save(self, call_sid: str, data: bytes, expires_at: float) -> bool:
        if self.down:
            raise StateUnavailable("down")
        return super().save(call_sid, data, expires_at)


def told(taken: list[str]) -> OnTaken:
    def tell(sid: str, stored: CallRecord | None) -> None:
        assert stored is not None
        taken.append(sid)

    return tell


def ways(tables: MemoryTables, taken: list[str], metrics: Metrics) -> tuple[Backend, StateStore, Checkpoints]:
    backend = Backend("first", tables, wall=trio.current_time)
    store = StateStore(backend, metrics, executor=inline)
    return backend, store, Checkpoints(store, metrics, taken=told(taken))


async def test_without_a_store_nothing_is_kept_and_nothing_waits() -> None:
    checkpoints = Checkpoints(None, Metrics(), taken=lambda *_: None)
    with trio.fail_after(1):
        await checkpoints.run()
        await checkpoints.stored("CA1")
        await checkpoints.hand_over([Rig().checkpoint])

    assert (checkpoints.note, checkpoints.failing, checkpoints.handed_over) == (None, False, False)


async def test_a_record_is_stored_when_it_is_said_to_be(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    _, _, checkpoints = ways(tables, [], Metrics())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(checkpoints.run)
        assert checkpoints.note is not None
        checkpoints.note(record("CA1", expires_at=1000.0))
        await checkpoints.stored("CA1")
        assert "CA1" in tables.rows
        nursery.cancel_scope.cancel()


async def test_a_caller_waits_only_a_moment_for_a_store_that_does_not_answer_and_not_at_all_once_that_is_known(
    autojump_clock: MockClock,
) -> None:
    backend, store, checkpoints = ways(MemoryTables(), [], Metrics())
    assert checkpoints.note is not None
    checkpoints.note(record("CA1"))
    began_at = trio.current_time()
    await checkpoints.stored("CA1")
    assert trio.current_time() - began_at == pytest.approx(STORED_WAIT_S)

    backend.down = True
    with pytest.raises(StateUnavailable):
        await store.save(record("CA1"))
    assert checkpoints.failing
    began_at = trio.current_time()
    await checkpoints.stored("CA1")
    assert trio.current_time() == began_at


async def test_handing_over_writes_how_the_calls_stand_and_takes_no_more_notes(autojump_clock: MockClock) -> None:
    tables, metrics = MemoryTables(), Metrics()
    _, _, checkpoints = ways(tables, [], metrics)
    rig = Rig()
    checkpoint = rig.made(checkpoints.note)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(checkpoints.run)
        await trio.sleep(0.1)
        rig.said = (Turn("user", "just now"),)
        with trio.fail_after(5):
            await checkpoints.hand_over([checkpoint])
        rig.said = (Turn("user", "too late"),)
        checkpoint.note()
        nursery.cancel_scope.cancel()

    assert checkpoints.handed_over
    assert metrics.registry.get_sample_value("relay_state_pending") == 0
    assert b"just now" in tables.rows["CA1"].record
    second = MemoryBackend("second", tables, wall=trio.current_time)
    assert second.take("CA1", by_force=False)


async def test_a_call_that_another_process_took_is_told(autojump_clock: MockClock) -> None:
    tables, taken = MemoryTables(), list[str]()
    _, _, checkpoints = ways(tables, taken, Metrics())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(checkpoints.run)
        assert checkpoints.note is not None
        checkpoints.note(record("CA1", expires_at=1000.0))
        await checkpoints.stored("CA1")
        MemoryBackend("second", tables, wall=trio.current_time).take("CA1", by_force=True)
        checkpoints.note(record("CA1", expires_at=1000.0, call_id="2"))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()

    assert taken == ["CA1"]
