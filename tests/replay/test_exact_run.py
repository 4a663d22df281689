"""A recorded call runs again exactly as it was: every message to both sides, and every event."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from relay.call.browser.session import BrowserSession
from relay.call.browser.sessions import BrowserSessions, open_browser_sessions
from relay.call.caller.analysis import Analysis
from relay.call.caller.leg import CallerAudio
from relay.call.report.assistant_events import WebhookAccepted
from relay.config import JitterConfig, TransferConfig
from relay.logic.end_reason import EndReason
from relay.media.frames import TELEPHONE, WIDEBAND
from relay.metrics import Metrics
from relay.record.call_recording import CallRecording
from relay.record.entries import (
    AssistantConnected,
    CallerNote,
    ClockSeen,
    FromCaller,
    ManyCalls,
    RecordingHeader,
    SpeechScore,
    Timed,
    ToAssistant,
    Told,
)
from relay.refusals import Refusals
from relay.replay.decisions import count, differences
from relay.replay.exact_run import SteppedRecording, last_words, run_exactly
from relay.replay.settings import config_of
from relay.state import StateStore
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.store import inline
from relay.wakeup import COARSE_S, sleep_until, timed_by
from relay.wire.browser import ClientAudio, ClientStart, ClientStop
from relay.wire.vapi_actions import Transfer
from tests.support.callrig import SID, TONE, Rig
from tests.support.commands import relay
from tests.support.lively import CLOCK_S, record_lively, timed_entries
from tests.support.numbered import numbered
from tests.support.recorded import files_in, recorded_rig

SEEDS = range(6)
T = TypeVar("T")


def again(header: RecordingHeader, entries: Sequence[Timed]) -> list[Timed]:
    return run_exactly(header, entries, config_of(header, {}), None)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_decision_comes_out_the_same(seed: int, tmp_path: Path) -> None:
    header, entries = timed_entries(record_lively(tmp_path, seed, call_s=10.0))
    found = again(header, entries)

    assert differences(entries, found, browser=False) == []
    assert count(entries) > 400


def test_what_comes_to_a_call_that_is_ending_comes_at_its_own_time() -> None:
    """At the moment of the end it had been on its way before; later a dial that was under way has connected."""
    ended = Told(10.0, "call.state", {"status": "ended"})
    entries: list[Timed] = [AssistantConnected(1.0, 0), CallerNote(10.0, "hung_up"), ended]
    late, later = AssistantConnected(10.001, 1), AssistantConnected(10.4, 1)

    assert last_words([*entries, late]) == (1, [3])
    assert last_words([*entries, later]) == (1, [])
    assert last_words(entries[:2]) == (1, [])


def test_a_call_that_was_recorded_is_not_the_same_without_one_of_its_frames(tmp_path: Path) -> None:
    """Guards the guard: the comparison would see it."""
    header, entries = timed_entries(record_lively(tmp_path, 1, call_s=5.0))
    frames = [index for index, entry in enumerate(entries) if isinstance(entry, FromCaller)]
    without = [entry for index, entry in enumerate(entries) if index != frames[50]]

    assert differences(entries, again(header, without), browser=False)


def test_a_call_is_not_the_same_with_another_opinion_of_the_speech_model(tmp_path: Path) -> None:
    header, entries = timed_entries(record_lively(tmp_path, 1, call_s=5.0))
    deaf = [
        SpeechScore(it.at_s, it.end_ms, 0.0, it.voice_bound) if isinstance(it, SpeechScore) else it for it in entries
    ]
    gone = {it.was.split()[0] for it in differences(entries, again(header, deaf), browser=False) if it.was}

    assert "speech.started" in {entry.name for entry in entries if isinstance(entry, Told)}
    assert "speech.started" in gone


@pytest.mark.parametrize("by_webhook", [True, False])
def test_an_assistant_that_leaves_does_so_again(*, by_webhook: bool, tmp_path: Path) -> None:
    number = "+4930123456"

    async def have() -> None:
        clock.jump(CLOCK_S)
        async with recorded_rig(tmp_path, transfer=TransferConfig(allow=(number,))) as rig:
            await rig.begin()
            rig.assistant.tell(type="transfer-update", destination={"type": "number", "number": "+4930999999"})
            await trio.sleep(1)
            if by_webhook:
                rig.call.asked_by_webhook(Transfer(number))
            else:
                rig.assistant.tell(type="transfer-update", destination={"type": "number", "number": number})
            rig.assistant.say(numbered(0, 100))
            await rig.ended("transferred", within_s=6)

    clock = MockClock(autojump_threshold=0)
    trio.run(have, clock=clock)
    (file,) = tmp_path.iterdir()
    header, entries = timed_entries(file)
    told = [entry.name for entry in entries if isinstance(entry, Told)]

    assert {"transfer.refused", "transfer.accepted"} < set(told)
    assert differences(entries, again(header, entries), browser=False) == []


def test_other_calls_that_come_and_go_are_felt_at_the_same_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many calls frames share messages, from the first one on that is sent then."""
    monkeypatch.setattr("relay.call.calls.MANY_CALLS", 2)

    async def have() -> None:
        clock.jump(CLOCK_S)
        async with recorded_rig(tmp_path, jitter=JitterConfig(target_ms=210)) as rig:
            await rig.begin()
            rig.assistant.say(numbered(0, 300))
            await trio.sleep(0.007)  # the assistant has just been heard; next the speaker is woken
            for number in range(3):
                await trio.sleep(0.5)
                other = rig.ring(f"CA{number + 9:032x}")
                await trio.sleep(0.5)
                other.finish(EndReason.ADMIN)
                await rig.calls.wait_over(other)
            rig.phone.stop()
            await rig.until_over()

    clock = MockClock(autojump_threshold=0)
    trio.run(have, clock=clock)
    recordings = [timed_entries(path) for path in files_in(tmp_path)]
    header, entries = max(recordings, key=lambda recording: len(recording[1]))

    assert sum(isinstance(entry, ManyCalls) for entry in entries) > 2
    assert differences(entries, again(header, entries), browser=False) == []


def store(owner: str, tables: MemoryTables) -> StateStore:
    return StateStore(MemoryBackend(owner, tables, wall=trio.current_time), Metrics(), executor=inline)


def record_taken_over(folder: Path) -> tuple[Path, Path]:
    """A call that is interrupted and goes on in another process, where it is interrupted again: its two files."""

    async def have() -> None:
        clock.jump(CLOCK_S)
        tables = MemoryTables()
        async with recorded_rig(folder, store=store("old", tables)) as rig:
            await rig.begin()
            rig.assistant.speech("started")
            rig.assistant.say(numbered(0, 100))
            rig.assistant.transcript("Hello, how can I help you?", role="assistant", kind="final")
            await trio.sleep(2)
            rig.phone.press("1")
            await trio.sleep(0.1)
            await rig.calls.drain(0)
        async with recorded_rig(folder, store=store("new", tables)) as rig:
            call = await rig.takeover.take(SID)
            assert call is not None
            rig.assistant = await rig.meet_assistant()
            rig.phone = await rig.attach(call)
            await trio.sleep(0.051)  # what comes with the connection, at one moment, is in an order that is chance
            rig.assistant.speech("started")
            rig.assistant.say(numbered(0, 200))
            await trio.sleep(1)
            rig.phone.say(TONE * 50)
            await trio.sleep(2)
            rig.phone.stop()
            await rig.until_over(60)

    clock = MockClock(autojump_threshold=0)
    trio.run(have, clock=clock)
    first, second = sorted(files_in(folder), key=lambda path: len(path.name))
    return first, second


def test_a_call_that_went_on_in_another_process_comes_out_the_same_in_both(tmp_path: Path) -> None:
    files = record_taken_over(tmp_path)
    (_, first), (header, second) = map(timed_entries, files)
    told = {entry.name for entry in second if isinstance(entry, Told)}

    assert files[1].name == f"{header.call_id}-2.relay"
    assert {"assistant.reconnected", "bargein.flushed"} <= told
    for path, entries in zip(files, (first, second), strict=True):
        assert any(isinstance(entry, ToAssistant) for entry in entries)
        assert json.loads(relay("replay", str(path), "--json").stdout)["differences"] == []
    assert json.loads(relay("replay", *map(str, files), "--json").stdout)["identical"] == 2


def test_a_key_that_was_lost_when_the_call_was_handed_over_is_lost_again(tmp_path: Path) -> None:
    async def slowly(function: Callable[[], T]) -> T:
        await trio.sleep(0.5)
        return function()

    async def have() -> None:
        clock.jump(CLOCK_S)
        place = MemoryBackend("old", MemoryTables(), wall=trio.current_time)
        async with recorded_rig(tmp_path, store=StateStore(place, Metrics(), executor=slowly)) as rig:
            await rig.begin()
            rig.phone.press("7")
            await trio.sleep(3)
            rig.nursery.start_soon(rig.calls.drain, 0)
            await trio.sleep(0.11)
            rig.phone.press("8")
            await rig.until_over(60)

    clock = MockClock(autojump_threshold=0)
    trio.run(have, clock=clock)
    (file,) = files_in(tmp_path)
    header, entries = timed_entries(file)
    told = [entry.name for entry in entries if isinstance(entry, Told)]

    assert (told.count("caller.key_pressed"), told.count("assistant.notes_dropped")) == (2, 1)
    assert differences(entries, again(header, entries), browser=False) == []


async def talk(rig: Rig, session: BrowserSession, first: int) -> None:
    """A second of the browser's, while the assistant speaks."""
    rig.assistant = await rig.meet_assistant()
    await trio.sleep(0.051)
    rig.assistant.speech("started")
    rig.assistant.say(numbered(0, 100))
    for number in range(first, first + 50):
        await session.leg.feed(ClientAudio(WIDEBAND, bytes(640), sequence=number, ms=number * 20))
        await trio.sleep(0.02)


@asynccontextmanager
async def recorded_browsers(folder: Path, kept: StateStore) -> AsyncIterator[tuple[Rig, BrowserSessions]]:
    async with (
        recorded_rig(folder, store=kept) as rig,
        open_browser_sessions(rig.calls.services.config, rig.calls, Refusals(rig.metrics)) as sessions,
    ):
        yield rig, sessions


def test_a_browsers_call_that_went_on_in_another_process_comes_out_the_same_in_both(tmp_path: Path) -> None:
    async def have() -> None:
        clock.jump(CLOCK_S)
        tables = MemoryTables()
        async with recorded_browsers(tmp_path, store("old", tables)) as (rig, sessions):
            session = sessions.begin(ClientStart(), "a")
            resume = sessions.renew_resume(session)
            await talk(rig, session, 1)
            await rig.calls.drain(0)
        async with recorded_browsers(tmp_path, store("new", tables)) as (rig, sessions):
            session = await sessions.resume(resume, ClientStart(), "a")
            await talk(rig, session, session.leg.uplink.next)
            await session.leg.feed(ClientStop())
            await rig.calls.wait_empty()

    clock = MockClock(autojump_threshold=0)
    trio.run(have, clock=clock)
    for path in files_in(tmp_path):
        header, entries = timed_entries(path)
        assert any(isinstance(entry, ToAssistant) for entry in entries)
        assert differences(entries, again(header, entries), browser=True) == []
    assert len(files_in(tmp_path)) == 2


def test_what_a_webhook_told_is_told_again(tmp_path: Path) -> None:
    async def have() -> None:
        clock.jump(CLOCK_S)
        async with recorded_rig(tmp_path) as rig:
            await rig.begin()
            lost = str(rig.call.summary()["assistant_call_id"])
            rig.dialer.connect_after_s = 5.0
            await trio.sleep(1.007)  # no frame comes at this moment: which of the two is first would be chance
            rig.dialer.sockets[0].dead.set()
            await trio.sleep(1.004)
            rig.call.told_by_webhook(WebhookAccepted("status-update", lost, "assistant-ended-call"))
            await rig.until_over(60)

    clock = MockClock(autojump_threshold=0)
    trio.run(have, clock=clock)
    (path,) = files_in(tmp_path)
    header, entries = timed_entries(path)
    found = again(header, entries)

    assert differences(entries, found, browser=False) == []
    assert {"webhook.accepted", "assistant.ended"} <= {it.name for it in found if isinstance(it, Told)}


def test_a_machine_that_stalls_within_a_step_does_not_make_another_call_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every few seconds, before a look at the clock. Without the time of that look it would.

    The tasks have their turns in an order that is the same every time: with all that is due at once after a stall, on a
    clock that stands still, which of them is first may make another call of it, too.
    """
    monkeypatch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    with_it, without_it = [], []
    for seed in (8, 15, 26):
        monkeypatch.setattr(trio._core._run, "_r", Random(seed))
        header, entries = timed_entries(record_stalling(tmp_path, seed))
        unseen = [entry for entry in entries if not isinstance(entry, ClockSeen)]
        assert len(entries) - len(unseen) > 1
        with_it += differences(entries, again(header, entries), browser=False)
        without_it += differences(entries, again(header, unseen), browser=False)

    assert with_it == []
    assert len(without_it) > 10


def record_stalling(folder: Path, seed: int) -> Path:
    dice, look, stalled_at = Random(seed), CallRecording.look, [CLOCK_S]

    def stalled_look(self: CallRecording) -> float:
        if (now := trio.current_time()) > stalled_at[-1] + 3 and dice.random() < 0.01:
            stalled_at.append(now)
            clock = trio.lowlevel.current_clock()
            assert isinstance(clock, MockClock)
            clock.jump(dice.uniform(0.3, 0.9))
        return look(self)

    async def write_inline(work: Callable[[], object], **_: object) -> object:
        return work()

    with pytest.MonkeyPatch.context() as stalling:
        stalling.setattr(CallRecording, "look", stalled_look)
        # How far the virtual clock goes while a thread writes is chance.
        stalling.setattr(trio.to_thread, "run_sync", write_inline)
        return record_lively(folder, seed, call_s=12.0)


def test_a_frame_may_come_between_the_assistants_connection_and_the_first_turn_of_who_puts_silence_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From then on silence takes the place of missing audio, the later the later the newest frame came."""
    let_flow, clock = Analysis.let_flow, MockClock(autojump_threshold=0)

    def and_a_frame_comes(self: Analysis) -> None:
        let_flow(self)
        clock.jump(COARSE_S)
        assert self.take_now(CallerAudio(0, TELEPHONE.silent_frame, trio.current_time()))

    async def have() -> None:
        clock.jump(CLOCK_S)
        async with recorded_rig(tmp_path) as rig:
            phone = await rig.attach(rig.ring(), speaking=False)
            await rig.meet_assistant()
            await trio.sleep(3)
            phone.stop()
            await rig.until_over(60)

    with monkeypatch.context() as coming:
        coming.setattr(Analysis, "let_flow", and_a_frame_comes)
        trio.run(have, clock=clock)
    (path,) = files_in(tmp_path)
    header, entries = timed_entries(path)

    assert differences(entries, again(header, entries), browser=False) == []


@pytest.mark.parametrize("seed", range(8))
def test_a_wait_may_be_over_in_the_moment_in_which_the_call_ends(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a stall both are due, and which has its turn first is chance: silence may still go to the assistant."""
    monkeypatch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr(trio._core._run, "_r", Random(seed))
    clock = MockClock(autojump_threshold=0)

    async def have() -> None:
        clock.jump(CLOCK_S)
        async with recorded_rig(tmp_path) as rig:
            phone = await rig.attach(rig.ring(), speaking=False)
            await rig.meet_assistant()
            await trio.sleep_until(CLOCK_S + 2.992)
            clock.jump(0.015)
            phone.stop()
            await rig.until_over(60)

    trio.run(have, clock=clock)
    (path,) = files_in(tmp_path)
    header, entries = timed_entries(path)

    assert differences(entries, again(header, entries), browser=False) == []


def test_a_wait_whose_end_was_not_recorded_ends_at_its_time_once_the_recording_is_over(tmp_path: Path) -> None:
    """A foreign file may have its entries in any order."""
    header, _ = timed_entries(record_lively(tmp_path, 0, call_s=1.0))

    async def waiting() -> float:
        recording = SteppedRecording(header, trio.current_time(), (), lambda _task, _looks: None)
        began_s = trio.current_time()
        with timed_by(recording):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sleep_until, began_s + 5.0, "began before")
                await trio.sleep(7)
                assert len(nursery.child_tasks) == 1
                recording.let_go()
                nursery.start_soon(sleep_until, began_s + 9.0, "begins after")
        return trio.current_time() - began_s

    assert trio.run(waiting, clock=MockClock(autojump_threshold=0)) == pytest.approx(9.0)
