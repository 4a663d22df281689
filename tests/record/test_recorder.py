"""The recorder writes what calls take down, keeps what is to be kept, and never makes a call wait for a disk."""

import errno
import os
import shutil
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Literal

import msgspec
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from relay.config import AssistantConfig, Config, RecordConfig
from relay.media.frames import TELEPHONE, WIDEBAND
from relay.record import believed_time, recorder
from relay.record.call_recording import CallRecording
from relay.record.entries import FromAssistant, Recorded, RecordingEnd, RecordingHeader
from relay.record.file_format import read
from relay.record.folder import Pruned, RecordingFile
from relay.record.keys import RecordKey, parse_key
from relay.record.recorder import Recorder, open_recorder
from relay.redaction import Redactor
from relay.secrets import Secrets

KEY = "a-private-key-of-vapi"
YEAR_S = 365 * 86400.0
OLD_KEY, NEW_KEY = (b64encode(bytes(range(n, n + 32))).decode() for n in (1, 2))


@asynccontextmanager
async def recording_to(
    folder: Path,
    mode: Literal["trouble", "all"] = "all",
    keys: tuple[str, ...] = (),
    failed: Callable[[], None] = lambda: None,
    **record: Any,
) -> AsyncIterator[tuple[Recorder, list[Any]]]:
    """The recorder and the log."""
    config = Config(
        assistants=(AssistantConfig("vapi", "assistant-id"),),
        secrets=Secrets(vapi_api_keys={"vapi": KEY}, record_keys=keys),
        record=RecordConfig(mode=mode, dir=str(folder), **record),
    )
    with capture_logs() as logged:
        async with open_recorder(config, Redactor({KEY}), failed) as opened:
            yield opened, logged


def begin(opened: Recorder, call_id: str = "call") -> CallRecording:
    return opened.begin(call_id, "CA1", TELEPHONE, WIDEBAND)


def entries(path: Path, *keys: RecordKey) -> list[Recorded]:
    header, rest = read(path.read_bytes(), keys)
    return [header, *rest]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*"))


def open_files(folder: Path) -> list[str]:
    """The files of the folder that this process has open; files of others come and go."""
    opened = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            opened.append(str(descriptor.readlink()))
    return [path for path in opened if path.startswith(str(folder))]


def told(logged: list[Any], event: str) -> list[Any]:
    return [line for line in logged if line["event"] == event]


async def test_nothing_is_opened_or_written_when_recording_is_off(tmp_path: Path) -> None:
    config = Config(assistants=(), secrets=Secrets(), record=RecordConfig(dir=str(tmp_path / "calls")))
    async with open_recorder(config, Redactor()):
        await trio.sleep(recorder.WRITE_EVERY_S)

    assert files(tmp_path) == []


async def test_what_was_recorded_before_goes_by_its_age_when_recording_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(believed_time, "AFTER_START_S", 0.0)
    monkeypatch.setattr(recorder, "PRUNE_EVERY_S", 0.01)
    for name, age_s in (("old", YEAR_S), ("new", 0.0)):
        RecordingFile(tmp_path, name).close(keep=True)
        os.utime(tmp_path / f"{name}.relay", (time.time() - age_s,) * 2)
    config = Config(assistants=(), secrets=Secrets(), record=RecordConfig(dir=str(tmp_path)))
    with trio.fail_after(5):
        async with open_recorder(config, Redactor()):
            while len(files(tmp_path)) == 2:  # noqa: ASYNC110 - a folder
                await trio.sleep(0.01)

    assert files(tmp_path) == ["new.relay"]


async def test_a_call_is_in_its_file_within_the_second_and_whole_at_its_end(tmp_path: Path) -> None:
    async with recording_to(tmp_path) as (opened, logged):
        call = begin(opened)
        call.from_assistant(b"first", has_floor=True)
        await opened.write()
        before = entries(tmp_path / "call.relay")
        call.from_assistant(b"second", has_floor=True)
        call.end()
        await opened.write()
    found = entries(tmp_path / "call.relay")

    assert found[: len(before)] == before
    assert [entry.data for entry in found if isinstance(entry, FromAssistant)] == [b"first", b"second"]
    assert isinstance(found[-1], RecordingEnd)
    size = (tmp_path / "call.relay").stat().st_size
    assert told(logged, "record.kept") == [
        {
            "event": "record.kept",
            "call_id": "call",
            "file": "call.relay",
            "bytes": size,
            "key_id": None,
            "troubles": [],
            "log_level": "info",
        }
    ]


async def test_what_was_taken_down_is_written_when_the_daemon_ends(tmp_path: Path) -> None:
    async with recording_to(tmp_path) as (opened, _):
        begin(opened).end()

    assert isinstance(entries(tmp_path / "call.relay")[-1], RecordingEnd)


async def test_the_header_says_what_decided_and_no_secret(tmp_path: Path) -> None:
    async with recording_to(tmp_path) as (opened, _):
        begin(opened).end()
    header = entries(tmp_path / "call.relay")[0]

    assert isinstance(header, RecordingHeader)
    tables = {"audio", "vad", "barge_in", "jitter", "reconnect", "session", "transfer"}
    assert set(header.settings) == {*tables, "twilio", "assistants"}
    assert set(header.settings["twilio"]) == {"token_ttl_s", "media_start_timeout_s"}
    assert set(header.settings["assistants"][0]) == {"name", "audio_format", "sample_rate_hz", "max_call_s"}
    assert header.settings["vad"]["threshold"] == 0.5
    assert (header.caller_encoding, header.caller_rate_hz) == ("mulaw", 8000)
    assert KEY not in str(header)


@pytest.mark.parametrize(("trouble", "kept"), [("assistant.lost", ["call.relay"]), ("assistant.ready", [])])
async def test_by_trouble_only_what_went_wrong_stays(trouble: str, kept: list[str], tmp_path: Path) -> None:
    async with recording_to(tmp_path, "trouble") as (opened, logged):
        call = begin(opened)
        await opened.write()
        call.told(trouble, {"error": "x"})
        call.end()
        await opened.write()
        assert files(tmp_path) == kept
        assert [line["troubles"] for line in told(logged, "record.kept")] == [["leg_lost"]] * len(kept)


async def test_a_recording_has_a_greatest_size_and_says_that_it_reached_it(tmp_path: Path) -> None:
    async with recording_to(tmp_path, max_call_mb=1) as (opened, logged):
        call, dice = begin(opened), Random(1)
        for _ in range(8):
            call.from_assistant(dice.randbytes(200_000), has_floor=True)
            await opened.write()
        call.end()
        await opened.write()
    found = entries(tmp_path / "call.relay")

    assert (tmp_path / "call.relay").stat().st_size <= 1_000_100
    assert len([entry for entry in found if isinstance(entry, FromAssistant)]) == 4
    assert isinstance(found[-1], RecordingEnd)
    assert found[-1].why == "full"
    assert [line["error"] for line in told(logged, "record.failed")] == ["it has the size of record.max_call_mb"]


@contextmanager
def broken_disk(monkeypatch: pytest.MonkeyPatch, error: Exception, after: int) -> Iterator[None]:
    """So many writes succeed."""
    write, left = RecordingFile.append, iter(range(after))

    def append(file: RecordingFile, data: bytes) -> None:
        if next(left, None) is None:
            raise error
        write(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(RecordingFile, "append", append)
        yield


@pytest.mark.parametrize("after", [0, 1, 2, 3])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("anything else")])
async def test_a_disk_that_fails_costs_the_recording_with_one_line_in_the_log(
    error: Exception, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording_to(tmp_path) as (opened, logged):
        call = begin(opened)
        with broken_disk(monkeypatch, error, after):
            for number in range(4):
                call.from_assistant(bytes([number]), has_floor=True)
                await opened.write()
        call.from_assistant(b"the disk is well again", has_floor=True)
        call.end()
        await opened.write()
        assert open_files(tmp_path) == []

    (line,) = told(logged, "record.failed")
    assert line["error"] in {"No space left on device", "anything else"}
    if after >= 2:
        found = [entry.data for entry in entries(tmp_path / "call.relay") if isinstance(entry, FromAssistant)]
        assert found == [bytes([number]) for number in range(after - 1)]


async def test_a_folder_that_cannot_be_made_costs_the_recording(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failed: list[None] = []
    async with recording_to(tmp_path / "file" / "calls", failed=lambda: failed.append(None)) as (opened, logged):
        begin(opened).end()
        await opened.write()
        begin(opened, "next").end()
        await opened.write()

    assert [line["call_id"] for line in told(logged, "record.failed")] == ["call", "next"]
    assert len(failed) == 2


async def test_no_call_waits_for_a_disk_that_hangs_and_the_next_recordings_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = threading.Event()
    write = RecordingFile.append

    def append(file: RecordingFile, data: bytes) -> None:
        works.wait()
        write(file, data)

    monkeypatch.setattr(RecordingFile, "append", append)
    async with recording_to(tmp_path) as (opened, logged), trio.open_nursery() as nursery:
        call = begin(opened)
        nursery.start_soon(opened.write)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(7000):
            call.from_assistant(bytes(640), has_floor=True)
        assert [line["error"] for line in told(logged, "record.failed")] == ["the disk is too slow"]
        works.set()
        call.end()
        begin(opened, "next").end()
        await opened.write()

    assert isinstance(entries(tmp_path / "next.relay")[-1], RecordingEnd)
    assert not isinstance(entries(tmp_path / "call.relay")[-1], RecordingEnd)


async def test_the_daemon_ends_although_the_disk_hangs_and_says_what_was_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = threading.Event()
    monkeypatch.setattr(RecordingFile, "append", lambda *_: works.wait())
    monkeypatch.setattr(recorder, "CLOSE_S", 0.05)
    with trio.fail_after(5):
        async with recording_to(tmp_path) as (opened, logged):
            begin(opened).end()
            begin(opened, "live")
    works.set()

    assert [line["call_id"] for line in told(logged, "record.failed")] == ["call", "live"]


async def test_all_calls_are_written_before_a_slow_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete_at_syncs: list[list[bool]] = []

    def sync(descriptor: int) -> None:
        synced = Path(f"/proc/self/fd/{descriptor}").readlink()
        if synced.parent != tmp_path:  # the folder, or a file of another thread's
            return
        last = [entries(tmp_path / name)[-1] for name in files(tmp_path)]
        complete_at_syncs.append([isinstance(entry, RecordingEnd) for entry in last])

    monkeypatch.setattr(os, "fsync", sync)
    async with recording_to(tmp_path) as (opened, _):
        for call_id in ("one", "two", "three"):
            begin(opened, call_id).end()

    assert complete_at_syncs == [[True] * 3] * 3


async def test_what_waits_for_a_disk_that_hangs_is_bounded_over_all_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = threading.Event()
    write = RecordingFile.append

    def append(file: RecordingFile, data: bytes) -> None:
        works.wait()
        write(file, data)

    monkeypatch.setattr(RecordingFile, "append", append)
    async with recording_to(tmp_path) as (opened, logged), trio.open_nursery() as nursery:
        nursery.start_soon(opened.write)
        await trio.testing.wait_all_tasks_blocked()
        calls = [begin(opened, f"call{number}") for number in range(40)]
        for call in calls:
            for _ in range(100):
                call.from_assistant(bytes(9000), has_floor=True)
        works.set()
        for call in calls:
            call.end()
        await opened.write()
    lost = [line["call_id"] for line in told(logged, "record.failed")]

    assert {line["error"] for line in told(logged, "record.failed")} == {"the disk is too slow for all calls together"}
    assert 0 < len(lost) < 10
    assert len(files(tmp_path)) == 40 - len(lost)
    assert all(isinstance(entries(tmp_path / name)[-1], RecordingEnd) for name in files(tmp_path))


@pytest.mark.parametrize("mode", ["all", "trouble"])
@pytest.mark.parametrize("lost", ["file", "folder"])
async def test_a_file_that_is_removed_while_it_is_written_is_said_once_and_the_next_call_is_recorded(
    lost: str, mode: Literal["trouble", "all"], tmp_path: Path
) -> None:
    folder = tmp_path / "calls"
    async with recording_to(folder, mode) as (opened, logged):
        call = begin(opened)
        await opened.write()
        if lost == "folder":
            shutil.rmtree(folder)
        else:
            (folder / "call.relay").unlink()
        for _ in range(3):
            call.from_assistant(b"x", has_floor=True)
            await opened.write()
        after = begin(opened, "after")
        after.told("assistant.lost", {})
        for it in (after, call):
            it.end()
        await opened.write()
        assert open_files(tmp_path) == []

    assert [(line["call_id"], line["error"]) for line in told(logged, "record.failed")] == [
        ("call", "its file was removed")
    ]
    assert files(folder) == ["after.relay"]


async def test_with_a_key_the_file_is_sealed_by_the_newest_of_them(tmp_path: Path) -> None:
    async with recording_to(tmp_path, keys=(OLD_KEY, NEW_KEY)) as (opened, logged):
        call = begin(opened)
        call.from_assistant(b"what was said", has_floor=True)
        await opened.write()
        call.end()
        await opened.write()
    key = parse_key(NEW_KEY)
    found = entries(tmp_path / "call.relay", key)

    assert [entry.data for entry in found if isinstance(entry, FromAssistant)] == [b"what was said"]
    assert isinstance(found[-1], RecordingEnd)
    assert [line["key_id"] for line in told(logged, "record.kept")] == [key.id.hex()]
    assert NEW_KEY not in str(logged)


async def test_a_sealed_recording_that_is_full_can_be_read_to_its_end(tmp_path: Path) -> None:
    async with recording_to(tmp_path, keys=(NEW_KEY,), max_call_mb=1) as (opened, _):
        call, dice = begin(opened), Random(1)
        for _ in range(8):
            call.from_assistant(dice.randbytes(200_000), has_floor=True)
            await opened.write()
    found = entries(tmp_path / "call.relay", parse_key(NEW_KEY))

    assert isinstance(found[-1], RecordingEnd)
    assert found[-1].why == "full"


async def test_a_clock_that_jumps_by_years_removes_nothing_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(believed_time, "AFTER_START_S", 0.0)
    monkeypatch.setattr(recorder, "PRUNE_EVERY_S", 0.0)
    now, jumped_s = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: now() + jumped_s)
    async with recording_to(tmp_path) as (opened, logged):
        for jumped_s in (0.0, 10 * YEAR_S):
            begin(opened, "before" if not jumped_s else "after").end()
            await opened.write()
            await opened.write()
        assert files(tmp_path) == ["after.relay", "before.relay"]
        assert [line["by_s"] for line in told(logged, "record.clock_jumped")] == [pytest.approx(10 * YEAR_S, abs=2)]


async def test_an_old_recording_is_removed_once_the_time_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "PRUNE_EVERY_S", 0.0)
    RecordingFile(tmp_path, "old").close(keep=True)
    os.utime(tmp_path / "old.relay", (time.time() - YEAR_S,) * 2)
    async with recording_to(tmp_path):
        pass
    assert files(tmp_path) == ["old.relay"]

    monkeypatch.setattr(believed_time, "AFTER_START_S", 0.0)
    async with recording_to(tmp_path) as (_, logged):
        pass
    assert files(tmp_path) == []
    assert [line["files"] for line in told(logged, "record.removed")] == [1]


async def test_what_cannot_be_removed_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "PRUNE_EVERY_S", 0.0)
    faults = iter([Pruned(0, "a: Permission denied"), Pruned(0, "a: Permission denied"), Pruned(1), Pruned(0, "b: x")])
    monkeypatch.setattr(recorder, "prune", lambda *_, **__: next(faults, Pruned()))
    async with recording_to(tmp_path) as (opened, logged):
        for _ in range(4):
            await opened.write()

    assert [line["error"] for line in told(logged, "record.not_removed")] == ["a: Permission denied", "b: x"]


async def test_a_process_that_can_have_no_thread_costs_the_recordings_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording_to(tmp_path) as (opened, logged):
        call = begin(opened)
        await opened.write()
        call.end()
        with monkeypatch.context() as patch:
            patch.setattr(trio.to_thread, "run_sync", no_thread)
            await opened.write()
        await opened.write()
        assert open_files(tmp_path) == []

    assert [line["error"] for line in told(logged, "record.failed")] == ["no thread"]


async def no_thread(*_: object, **__: object) -> None:
    raise RuntimeError("no thread")


async def test_old_recordings_make_room_and_the_log_says_so(tmp_path: Path) -> None:
    for name in ("old1", "old2"):
        file = RecordingFile(tmp_path, name)
        file.append(bytes(600_000))
        file.close(keep=True)
    async with recording_to(tmp_path, max_call_mb=1, max_total_mb=1) as (opened, logged):
        begin(opened).end()
        await opened.write()

    assert len(files(tmp_path)) == 2
    assert [line["files"] for line in told(logged, "record.removed")] == [1]


async def test_a_recording_keeps_its_mode_and_the_next_has_the_new_mode_key_and_generation(tmp_path: Path) -> None:
    async with recording_to(tmp_path, "trouble", keys=(OLD_KEY,)) as (opened, logged):
        quiet = begin(opened, "quiet")
        await opened.write()
        secrets = Secrets(record_keys=(OLD_KEY, NEW_KEY))
        all_calls = Config(assistants=(), secrets=secrets, record=RecordConfig(mode="all", dir=str(tmp_path)))
        opened.renew(all_calls, generation=2)
        kept = begin(opened, "kept")
        await opened.write()
        opened.renew(Config(assistants=(), secrets=secrets, record=RecordConfig(dir=str(tmp_path))), generation=3)
        quiet.end()
        kept.end()

    (line,) = told(logged, "record.kept")
    header = entries(tmp_path / "kept.relay", parse_key(NEW_KEY))[0]
    assert files(tmp_path) == ["kept.relay"]
    assert (line["call_id"], line["key_id"]) == ("kept", parse_key(NEW_KEY).id.hex())
    assert isinstance(header, RecordingHeader)
    assert header.generation == 2


def test_a_recording_of_a_version_without_generations_can_be_read() -> None:
    header = RecordingHeader("1", "call", "CA1", 0.0, "mulaw", 8000, "mulaw", 8000, {})

    assert (
        msgspec.msgpack.decode(msgspec.msgpack.encode(msgspec.to_builtins(header)[:-1]), type=RecordingHeader) == header
    )


async def test_what_waits_is_not_lost_when_the_task_that_writes_is_cancelled_before_it_begins(tmp_path: Path) -> None:
    """A daemon that ends by an error cancels it, perhaps in the moment in which it wakes up to write."""
    async with recording_to(tmp_path) as (opened, _):
        recording = begin(opened)
        with trio.CancelScope() as scope:
            scope.cancel()
            await opened.write()
        recording.end()

    assert [type(it) for it in entries(tmp_path / "call.relay")] == [RecordingHeader, RecordingEnd]
