"""A recorded call is read from all its files: in the order of time, and only if they are of one call."""

import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from relay.errors import NotARecording
from relay.record.entries import ENTRY_BYTES, ClearSent, FromCaller, ToldAfterEnd
from relay.record.file_format import HEAD, BlockEncoder, part_after_end
from relay.record.recorded_call import read_call, read_file
from tests.support.recordings_of_calls import attached, ended, header, told, write_recording


def test_the_files_of_two_processes_are_one_call_in_the_order_of_time(tmp_path: Path) -> None:
    first = write_recording(tmp_path / "a", [attached(1.0), told(9.0, "late"), ended(11.0)], header(began_at=100.0))
    second = write_recording(tmp_path / "b", [attached(0.5), ended(5.0)], header(began_at=110.0))
    call = read_call([second, first])

    assert [(event.at_s, event.name) for event in call.events] == [
        (1.0, "caller.attached"),
        (9.0, "late"),
        (10.5, "caller.attached"),
        (11.0, "call.ended"),
        (15.0, "call.ended"),
    ]
    assert (call.start_s, call.end_s, call.header.began_at, call.complete) == (1.0, 15.0, 100.0, True)


def test_a_call_with_a_file_that_was_cut_short_is_not_complete(tmp_path: Path) -> None:
    whole = write_recording(tmp_path / "a", [attached(1.0), *[FromCaller(2.0, None, 0, b"x")] * 3])
    second = write_recording(tmp_path / "b", [ended(5.0)])
    second.write_bytes(second.read_bytes()[:-3])

    assert read_call([whole]).complete
    assert not read_call([whole, second]).complete
    assert len(read_call([whole, second]).entries) == 5


def test_files_of_different_calls_are_refused(tmp_path: Path) -> None:
    files = [write_recording(tmp_path / name, [], header(name)) for name in ("one", "two")]

    with pytest.raises(NotARecording, match="different calls: one and two"):
        read_call(files)


def test_a_file_that_is_no_recording_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"RIFF")

    with pytest.raises(NotARecording, match="x: no recording of a call"):
        read_call([tmp_path / "x"])


def test_without_any_stream_of_the_caller_times_count_from_the_beginning(tmp_path: Path) -> None:
    call = read_call([write_recording(tmp_path / "a", [])])

    assert (call.start_s, call.end_s, call.events) == (0.0, 0.0, [])


@pytest.mark.parametrize(
    "foreign",
    [
        *({"caller_encoding": "opus"}, {"assistant_encoding": ""}, {"caller_rate_hz": 0}, {"assistant_rate_hz": -8000}),
        *({"caller_rate_hz": 10**9}, {"began_at": -1.0}, {"began_at": 1e12}, {"began_at": math.inf}),
        {"began_at": math.nan},
    ],
)
def test_a_header_that_no_call_has_is_refused_and_the_file_named(foreign: dict[str, Any], tmp_path: Path) -> None:
    path = write_recording(tmp_path / "x", [attached()], replace(header(), **foreign))

    with pytest.raises(NotARecording, match="x: a recording with a header that no call has"):
        read_call([path])


@pytest.mark.parametrize("at_s", [math.nan, math.inf, -math.inf, 1e9, -1e9])
def test_a_time_that_no_call_has_is_refused(at_s: float, tmp_path: Path) -> None:
    path = write_recording(tmp_path / "x", [attached(), told(at_s, "late"), ended(5.0)])

    with pytest.raises(NotARecording, match="x: a recording with an entry at a time that no call has"):
        read_call([path])


def test_files_that_a_clock_which_was_set_has_put_too_far_apart_are_refused(tmp_path: Path) -> None:
    """Their sound would be one of years."""
    files = [write_recording(tmp_path / str(at), [ended(5.0)], header(began_at=at)) for at in (1000.0, 1e9)]

    with pytest.raises(NotARecording, match="began 999999000 s apart"):
        read_call(files)


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> int:
    """So many bytes of audio may there be of a call whose files are small."""
    monkeypatch.setattr("relay.record.file_format.UNPACKED_MAX_BYTES", room_bytes := 4_000_000)
    return room_bytes


def packed(path: Path, blocks: int, block_bytes: int) -> Path:
    """A recording with so many blocks of silence, which take next to nothing."""
    encoder = BlockEncoder()
    silent = encoder.block([FromCaller(1.0, None, 0, bytes(block_bytes))])
    path.write_bytes(HEAD + encoder.block([header()]) + silent * blocks)
    return path


def test_a_small_file_that_would_fill_the_memory_is_refused_and_one_that_would_not_is_read(
    little_room: int, tmp_path: Path
) -> None:
    half = little_room // 2
    fits, bomb = packed(tmp_path / "fits", 1, half), packed(tmp_path / "bomb", 2, half)
    assert bomb.stat().st_size < 2000

    assert len(read_call([fits]).entries) == 1
    for read in (read_file, lambda path: read_call([path])):
        with pytest.raises(
            NotARecording, match="bomb: a recording with more in its blocks than a file of its size has"
        ):
            read(bomb)


def test_the_files_of_a_call_share_the_room(little_room: int, tmp_path: Path) -> None:
    files = [packed(tmp_path / name, 1, little_room // 2) for name in "ab"]

    with pytest.raises(NotARecording, match="more in its blocks"):
        read_call(files)


def test_entries_take_room_however_little_each_holds(little_room: int, tmp_path: Path) -> None:
    many = [ClearSent(1.0)] * (little_room // ENTRY_BYTES + 1)

    with pytest.raises(NotARecording, match="more in its blocks"):
        read_file(write_recording(tmp_path / "x", many))


def test_what_was_added_when_the_file_was_closed_takes_room_too(little_room: int, tmp_path: Path) -> None:
    path = packed(tmp_path / "x", 1, little_room // 2)
    told_later = ToldAfterEnd(
        header().began_at, header().call_id, "webhook.accepted", {"type": "x" * (little_room // 2)}
    )
    path.write_bytes(path.read_bytes() + part_after_end(told_later, None))

    with pytest.raises(NotARecording, match="more in its blocks"):
        read_file(path)


def test_a_large_file_may_hold_more(little_room: int, tmp_path: Path) -> None:
    noise = [FromCaller(1.0, None, 0, Random(1).randbytes(little_room // 2))] * 2

    assert len(read_file(write_recording(tmp_path / "x", noise)).entries) == 2
