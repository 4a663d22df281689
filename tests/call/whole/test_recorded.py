"""A call that is recorded: the file holds what happened in it, as the log and both its sides say."""

import threading
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from relay.record.backlog import CALL_MAX_BYTES
from relay.record.entries import (
    BufferTarget,
    ClearSent,
    FromAssistant,
    FromCaller,
    MarkReturned,
    MarkSent,
    PingAnswered,
    RecordingEnd,
    RecordingHeader,
    SpeechScore,
    TextFromAssistant,
    ToAssistant,
    ToCaller,
    Told,
)
from relay.record.folder import RecordingFile
from relay.record.recorded_call import read_call
from relay.state.memory import MemoryTables
from tests.call.whole.test_takeover import go_on, store, talk
from tests.support.callrig import CONTROL_URL, SID, SOCKET_URL, TONE, Assistant, Rig
from tests.support.numbered import numbered, whole_and_in_order
from tests.support.recorded import entries_of, files_in, recorded_rig

UNLOGGED = {"call.state", "assistant.speech", "transcript.partial", "caller.not_back", "assistant.reconnect_failed"}
NOT_OF_THE_REPORT = {"record.kept", "record.removed"}


async def eventful(rig: Rig) -> None:
    """An interruption, a lost assistant, a stream that is attached again, and the end."""
    await rig.begin()
    rig.assistant.say(numbered(0, 400))
    await trio.sleep(2)
    rig.phone.say(TONE * 15)
    await trio.sleep(0.4)
    rig.assistant.interrupted()
    rig.assistant.stop()
    rig.assistant.transcript("stop, please", kind="final")
    await trio.sleep(3)
    rig.dialer.peers[0].lose()
    another = Assistant(await rig.dialer.peer(1, within_s=30), rig.dialer.format)
    rig.nursery.start_soon(another.speak)
    await trio.sleep(2)
    rig.phone.peer.lose()
    await trio.sleep(0.5)
    rig.phone = await rig.attach(rig.call)
    await trio.sleep(2)
    rig.phone.stop()
    await rig.until_over(10)


async def test_the_file_holds_the_call_as_its_sides_and_its_log_have_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with recorded_rig(tmp_path) as rig:
        await eventful(rig)
        logged = [line["event"] for line in rig.logged if line.get("call_id") == rig.call.id]
        counts = rig.call.summary()
    entries = entries_of(tmp_path / f"{rig.call.id}.relay")
    told = [entry.name for entry in entries if isinstance(entry, Told)]

    assert isinstance(entries[0], RecordingHeader)
    assert entries[0].call_sid == SID
    assert isinstance(entries[-1], RecordingEnd)
    assert [name for name in told if name not in UNLOGGED] == [name for name in logged if name in told]
    assert {"bargein.flushed", "assistant.lost", "assistant.reconnected", "caller.reattached", "call.ended"} <= {*told}
    kinds = {FromCaller: "frames_caller_up", ToCaller: "frames_caller_down", ToAssistant: "frames_assistant_up"}
    for kind, total in kinds.items():
        assert sum(isinstance(entry, kind) for entry in entries) == counts[total]
    assert sum(isinstance(entry, ClearSent) for entry in entries) == 1
    for kind in (MarkSent, MarkReturned, FromAssistant, PingAnswered, TextFromAssistant, SpeechScore):
        assert any(isinstance(entry, kind) for entry in entries)
    times = [entry.at_s for entry in entries if not isinstance(entry, RecordingHeader)]
    assert times == sorted(times)


async def test_the_target_of_the_buffer_is_taken_down_when_it_changes(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with recorded_rig(tmp_path) as rig:
        rig.call = rig.ring()
        assistant = Assistant(await rig.dialer.peer(0, within_s=1), rig.dialer.format)
        rig.phone = await rig.attach(rig.call)
        for word in range(50):
            assistant.send(numbered(word, 1))
            await trio.sleep(0.4 if word == 25 else 0.02)
        adapted_ms = rig.call.summary()["target_ms"]
        rig.phone.stop()
        await rig.until_over(10)
    entries = entries_of(tmp_path / f"{rig.call.id}.relay")
    targets_ms = [entry.target_ms for entry in entries if isinstance(entry, BufferTarget)]

    assert targets_ms[0] == 200
    assert targets_ms[-1] == adapted_ms != 200
    assert all(one != other for one, other in pairwise(targets_ms))


async def test_no_address_of_the_assistants_call_is_in_the_file(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with recorded_rig(tmp_path) as rig:
        await rig.begin()
        rig.assistant.tell(type="status-update", status="in-progress", call={"monitor": {"controlUrl": CONTROL_URL}})
        rig.assistant.tell(type=SOCKET_URL)
        await trio.sleep(0.2)
        rig.phone.stop()
        await rig.until_over(10)
    shown = str(entries_of(tmp_path / f"{rig.call.id}.relay"))

    assert "***" in shown
    assert CONTROL_URL not in shown
    assert SOCKET_URL not in shown


async def test_by_trouble_a_call_that_went_well_leaves_no_file(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with recorded_rig(tmp_path, "trouble") as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 50))
        await trio.sleep(2)
        rig.phone.stop()
        await rig.until_over(10)

    assert files_in(tmp_path) == []


async def test_by_trouble_a_call_that_lost_its_assistant_stays(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with recorded_rig(tmp_path, "trouble") as rig:
        await eventful(rig)

    assert isinstance(entries_of(tmp_path / f"{rig.call.id}.relay")[-1], RecordingEnd)


async def test_a_call_that_goes_on_in_another_process_has_a_second_file_and_is_read_as_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    tables = MemoryTables()
    async with recorded_rig(tmp_path, store=store("old", tables)) as rig:
        await rig.begin()
        await talk(rig)
    async with recorded_rig(tmp_path, store=store("new", tables)) as rig:
        await go_on(rig)
        rig.phone.stop()
        await rig.until_over(10)
    call_id = rig.call.id
    files = files_in(tmp_path)
    call = read_call(files)

    assert [path.name for path in files] == [f"{call_id}-2.relay", f"{call_id}.relay"]
    assert [event.name for event in call.events].count("caller.attached") == 2
    assert call.complete
    assert call.events[-1].values["reason"] == "caller_hangup"


async def test_a_disk_that_hangs_costs_the_recording_and_nothing_of_the_call(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer's thread stands still from the first write on; the call goes on for as long as 2 MB last, and more."""
    works, write = threading.Event(), RecordingFile.append

    def append(file: RecordingFile, data: bytes) -> None:
        works.wait()
        write(file, data)

    monkeypatch.setattr(RecordingFile, "append", append)
    async with recorded_rig(tmp_path) as rig:
        try:
            await rig.begin()
            recording = rig.call.report.recording
            assert recording is not None
            most_bytes = 0
            rig.assistant.say(numbered(0, 3000))
            for _ in range(70):
                await trio.sleep(1)
                most_bytes = max(most_bytes, recording.waiting_bytes)
            failed = rig.events("record.failed")
            rig.phone.stop()
            await rig.until_over(10)
        finally:
            works.set()

    assert whole_and_in_order(rig.phone.heard(), 0, 3000)
    assert rig.event("call.ended")["reason"] == "caller_hangup"
    assert [line["error"] for line in failed] == ["the disk is too slow"]
    assert len(rig.events("record.failed")) == 1
    assert CALL_MAX_BYTES / 2 < most_bytes <= CALL_MAX_BYTES
