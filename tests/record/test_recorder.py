"""The recorder writes what calls take down, keeps what is to be kept, and never makes a call wait for a disk."""

import errno
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from relay.config import AssistantConfig, Config, RecordConfig
from relay.media.frames import TELEPHONE, WIDEBAND
from relay.record import recorder
from relay.record.call_recording import CallRecording
from relay.record.entries import FromAssistant, Recorded, RecordingEnd, RecordingHeader
from relay.record.file_format import read
from relay.record.folder import RecordingFile
from relay.record.recorder import Recorder, open_recorder
from relay.redaction import Redactor
from relay.secrets import Secrets

KEY = "a-private-key-of-vapi"


@asynccontextmanager
async def recording_to(
    folder: Path, mode: Literal["trouble", "all"] = "all", **record: Any
) -> AsyncIterator[tuple[Recorder, list[Any]]]:
    """The recorder and the log."""
    config = Config(
        assistants=(AssistantConfig("vapi", "assistant-id"),),
        secrets=Secrets(vapi_api_keys={"vapi": KEY}),
        record=RecordConfig(mode=mode, dir=str(folder), **record),
    )
    with capture_logs() as logged:
        async with open_recorder(config, Redactor({KEY})) as opened:
            assert opened is not None
            yield opened, logged


def begin(opened: Recorder, call_id: str = "call") -> CallRecording:
    return opened.begin(call_id, "CA1", TELEPHONE, WIDEBAND)


def entries(path: Path) -> list[Recorded]:
    header, rest = read(path.read_bytes())
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
    async with open_recorder(config, Redactor()) as opened:
        assert opened is None

    assert files(tmp_path) == []


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
    tables = {"audio", "vad", "barge_in", "jitter", "reconnect", "session"}
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
    async with recording_to(tmp_path / "file" / "calls") as (opened, logged):
        begin(opened).end()
        await opened.write()
        begin(opened, "next").end()
        await opened.write()

    assert [line["call_id"] for line in told(logged, "record.failed")] == ["call", "next"]


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


async def test_the_daemon_ends_although_the_disk_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    works = threading.Event()
    monkeypatch.setattr(RecordingFile, "append", lambda *_: works.wait())
    monkeypatch.setattr(recorder, "CLOSE_S", 0.05)
    with trio.fail_after(5):
        async with recording_to(tmp_path) as (opened, _):
            begin(opened).end()
    works.set()


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
