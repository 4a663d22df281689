"""What is told of a call after its end stands behind its recording, is read as such, and costs that nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from relay.errors import NotARecording
from relay.record import after_end
from relay.record.after_end import WAITING_MAX, Added, AfterEnd, add
from relay.record.entries import ToldAfterEnd
from relay.record.file_format import HEAD, MAGIC, BlockEncoder, part_after_end, read_after_end
from relay.record.folder import RecordingFile, erase, files_of
from relay.record.keys import RecordKey
from relay.record.recorded_call import RecordedCall, read_call
from relay.redaction import Redactor
from tests.support.recordings_of_calls import attached, ended, header, write_recording

KEY, OTHER = RecordKey(bytes(range(32))), RecordKey(bytes(range(1, 33)))
CALL = "call"
MAX_BYTES = 1_000_000
REPORT = {"type": "end-of-call-report", "assistant_call_id": "a", "ended_reason": "silence-timed-out", "cost_usd": 0.5}


def report(call_id: str = CALL, told_at: float = 1_000_020.0) -> ToldAfterEnd:
    return ToldAfterEnd(told_at, call_id, "webhook.accepted", REPORT)


def recording(folder: Path, key: RecordKey | None = None, name: str = f"{CALL}.relay") -> Path:
    return write_recording(folder / name, [attached(1.0), ended(11.0)], header(CALL), key)


@pytest.mark.parametrize(("key", "later"), [(None, None), (None, KEY), (KEY, KEY), (KEY, OTHER)])
def test_it_is_read_behind_the_call_which_is_as_it_was(
    key: RecordKey | None, later: RecordKey | None, tmp_path: Path
) -> None:
    path = recording(tmp_path, key)
    before = read_call([path], [KEY, OTHER])

    assert [add(report(), tmp_path, later, MAX_BYTES) for _ in range(2)] == [Added(report(), path.name)] * 2
    call = read_call([path], [KEY, OTHER])
    assert [(event.at_s, event.name, event.values) for event in call.after_end] == [
        (20.0, "webhook.accepted", REPORT)
    ] * 2
    assert (call.entries, call.complete, call.end_s) == (before.entries, True, 11.0)
    assert later is None or b"silence-timed-out" not in path.read_bytes()


def test_it_stands_in_the_file_of_the_last_process_and_goes_with_the_recording(tmp_path: Path) -> None:
    first, last = recording(tmp_path), recording(tmp_path, name=f"{CALL}-2.relay")
    size = first.stat().st_size

    assert add(report(), tmp_path, None, MAX_BYTES) == Added(report(), last.name)
    assert first.stat().st_size == size
    assert len(read_call([first, last]).after_end) == 1
    assert sorted(erase(tmp_path, CALL)) == sorted([first, last])
    assert files_of(tmp_path, CALL) == []


@pytest.mark.parametrize("call_id", ["other", "../call", "", "x" * 99])
def test_without_a_recording_of_this_call_nothing_is_written(call_id: str, tmp_path: Path) -> None:
    path = recording(tmp_path)
    before = path.read_bytes()

    assert add(report(call_id), tmp_path, None, MAX_BYTES) is None
    assert [it.read_bytes() for it in tmp_path.iterdir()] == [before]


def test_a_file_that_a_process_still_writes_is_left_alone(tmp_path: Path) -> None:
    file = RecordingFile(tmp_path, CALL)
    file.append(recording(tmp_path, name="x").read_bytes())

    assert add(report(), tmp_path, None, MAX_BYTES) is None
    file.close(keep=True)
    assert add(report(), tmp_path, None, MAX_BYTES) == Added(report(), file.path.name)


def test_behind_what_is_sealed_nothing_is_written_in_the_clear(tmp_path: Path) -> None:
    path = recording(tmp_path, KEY)
    before = path.read_bytes()
    added = add(report(), tmp_path, None, MAX_BYTES)

    assert added is not None
    assert added.failed is not None
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (part_after_end(report(), None), "not sealed"),
        (part_after_end(report("other"), KEY), "of another call"),
        (part_after_end(report(), OTHER), "sealed with the key"),
        (part_after_end(report(), KEY)[:-1], None),
        (part_after_end(report(), KEY)[:20], None),
    ],
    ids=["in the clear", "another call", "another key", "a torn block", "a torn head"],
)
def test_what_somebody_else_has_put_there_is_refused_and_what_is_torn_is_left_out(
    part: bytes, told: str | None, tmp_path: Path
) -> None:
    path = recording(tmp_path, KEY)
    path.write_bytes(path.read_bytes() + part)
    if told is None:
        call = read_call([path], [KEY])
        assert (call.after_end, call.complete) == ([], True)
        return
    with pytest.raises(NotARecording, match=told):
        read_call([path], [KEY])


@given(st.binary(max_size=200), st.sampled_from([b"", MAGIC, HEAD, part_after_end(report(), None)]))
def test_whatever_stands_behind_a_recording_it_is_read_or_refused(garbage: bytes, before: bytes) -> None:
    data = HEAD + BlockEncoder().block([header(CALL)]) + before + garbage
    try:
        found = list(read_after_end(data, [KEY], CALL))
    except NotARecording:
        return

    assert found in ([], [report()])


def test_two_recordings_one_behind_the_other_are_none(tmp_path: Path) -> None:
    path = recording(tmp_path)
    path.write_bytes(path.read_bytes() * 2)

    with pytest.raises(NotARecording, match="cannot be read"):
        read_call([path])


def test_a_recording_that_was_cut_short_stays_so(tmp_path: Path) -> None:
    path = recording(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    add(report(), tmp_path, None, MAX_BYTES)

    assert not read_call([path]).complete


def no_room(_descriptor: int, _data: bytes) -> int:
    raise OSError(28, "No space left on device")


def half(descriptor: int, data: bytes) -> int:
    return os.pwrite(descriptor, data[: len(data) // 2], 0)


@pytest.mark.parametrize("write", [no_room, half])
def test_a_disk_that_is_full_leaves_the_file_as_it_was(
    write: Callable[[int, bytes], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recording(tmp_path)
    before: RecordedCall = read_call([path])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space left"):
            add(report(), tmp_path, None, MAX_BYTES)

    assert read_call([path]) == before
    assert add(report(), tmp_path, None, MAX_BYTES) == Added(report(), path.name)


def test_it_has_room_behind_a_recording_of_the_greatest_size_and_not_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recording(tmp_path)
    monkeypatch.setattr(after_end, "ROOM_BYTES", 1000)
    call_max_bytes = path.stat().st_size
    part_bytes = len(part_after_end(report(), None))
    for _ in range(after_end.ROOM_BYTES // part_bytes):
        add(report(), tmp_path, None, call_max_bytes)

    with pytest.raises(OSError, match=r"record\.max_call_mb"):
        add(report(), tmp_path, None, call_max_bytes)
    assert path.stat().st_size == call_max_bytes + after_end.ROOM_BYTES // part_bytes * part_bytes


def test_no_more_waits_than_is_allowed_and_the_log_says_what_was_lost() -> None:
    waiting = AfterEnd(Redactor({"a-secret-of-ours"}))
    with capture_logs() as logged:
        for number in range(WAITING_MAX + 2):
            waiting.note(str(number), "webhook.accepted", {"type": "a-secret-of-ours"})

    assert [(line["event"], line["call_id"]) for line in logged] == [("record.not_told", "0"), ("record.not_told", "1")]
    taken = waiting.take()
    assert (len(taken), len(waiting)) == (WAITING_MAX, 0)
    assert "secret" not in str(taken)
