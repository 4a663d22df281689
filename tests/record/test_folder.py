"""The folder of the recordings: names and modes of its files, what is removed and what stays."""

import errno
import os
import shutil
import stat
import time
from pathlib import Path

import pytest

from relay.record.folder import PROCESSES_MAX, Pruned, RecordingFile, erase, folder_of, prune, recorded_calls

CALL = "a" * 32
DAY_S = 86400.0


@pytest.mark.parametrize(
    ("configured", "environ", "folder"),
    [
        ("", {"STATE_DIRECTORY": "/var/lib/relay"}, "/var/lib/relay/calls"),
        ("", {"STATE_DIRECTORY": "/var/lib/relay:/var/lib/other"}, "/var/lib/relay/calls"),
        ("", {}, "state/calls"),
        ("/srv/calls", {"STATE_DIRECTORY": "/var/lib/relay"}, "/srv/calls"),
    ],
)
def test_without_a_name_the_folder_is_in_the_state_directory(
    configured: str, environ: dict[str, str], folder: str
) -> None:
    assert folder_of(configured, environ) == Path(folder)


def made(folder: Path, call_id: str, n_bytes: int = 10, *, age_s: float = 0.0) -> Path:
    file = RecordingFile(folder, call_id)
    file.append(bytes(n_bytes))
    file.close(keep=True)
    os.utime(file.path, (time.time() - age_s,) * 2)
    return file.path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_only_the_user_of_the_relay_can_read_a_recording(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        path = made(tmp_path / "calls", CALL)
    finally:
        os.umask(former)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("call_id", [CALL, f"12.{CALL}"], ids=["the only process", "one of several"])
def test_each_process_that_has_a_call_writes_a_file_of_its_own(call_id: str, tmp_path: Path) -> None:
    paths = [made(tmp_path, call_id).name for _ in range(3)]

    assert paths == [f"{call_id}.relay", f"{call_id}-2.relay", f"{call_id}-3.relay"]
    assert [path.name for path in erase(tmp_path, call_id)] == sorted(paths)


def test_a_call_has_no_files_without_end(tmp_path: Path) -> None:
    for _ in range(PROCESSES_MAX):
        made(tmp_path, CALL)

    with pytest.raises(FileExistsError, match="recordings already"):
        made(tmp_path, CALL)


@pytest.mark.parametrize("call_id", ["", "../x", "a/b", "a-2", "a" * 65, "a\n"])
def test_a_call_id_that_could_name_another_file_makes_none(call_id: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no name"):
        made(tmp_path / "calls", call_id)


def test_a_file_that_is_not_to_be_kept_is_gone_once_closed(tmp_path: Path) -> None:
    file = RecordingFile(tmp_path, CALL)
    file.append(b"x")
    file.close(keep=False)

    assert names(tmp_path) == []


def test_what_is_too_old_goes_and_then_the_oldest_until_the_rest_fits(tmp_path: Path) -> None:
    for age in range(5):
        made(tmp_path, f"call{age}", 10, age_s=age * DAY_S)

    assert prune(tmp_path, max_bytes=1000, keep_s=3.5 * DAY_S, spare=()) == Pruned(1)
    assert names(tmp_path) == [f"call{age}.relay" for age in range(4)]
    assert prune(tmp_path, max_bytes=25, keep_s=3.5 * DAY_S, spare=()) == Pruned(2)
    assert names(tmp_path) == ["call0.relay", "call1.relay"]
    assert prune(tmp_path, max_bytes=25, keep_s=3.5 * DAY_S, spare=()) == Pruned(0)


def test_a_recording_that_is_being_written_stays_and_counts(tmp_path: Path) -> None:
    live = made(tmp_path, "live", 30, age_s=9 * DAY_S)
    made(tmp_path, "over", 10)

    assert prune(tmp_path, max_bytes=35, keep_s=DAY_S, spare={live}) == Pruned(1)
    assert names(tmp_path) == ["live.relay"]


def test_nothing_is_removed_for_its_age_while_the_time_cannot_be_believed(tmp_path: Path) -> None:
    for age in (0, 9, 3650):
        made(tmp_path, f"call{age}", 10, age_s=age * DAY_S)

    assert prune(tmp_path, max_bytes=1000, keep_s=None, spare=()) == Pruned(0)
    assert prune(tmp_path, max_bytes=20, keep_s=None, spare=()) == Pruned(1)
    assert names(tmp_path) == ["call0.relay", "call9.relay"]


def test_a_file_from_the_future_is_kept_no_longer_than_one_of_today(tmp_path: Path) -> None:
    path = made(tmp_path, CALL, age_s=-3650 * DAY_S)
    prune(tmp_path, max_bytes=1000, keep_s=DAY_S, spare=())

    assert abs(path.stat().st_mtime - time.time()) < 60


def test_a_file_that_cannot_be_removed_keeps_no_other_from_it_and_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age in (4, 3, 2, 1):
        made(tmp_path, f"call{age}", 10, age_s=age * DAY_S)
    unlink = Path.unlink

    def guarded(path: Path, **options: bool) -> None:
        if path.name in {"call4.relay", "call3.relay"}:
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", guarded)
    pruned = prune(tmp_path, max_bytes=1000, keep_s=1.5 * DAY_S, spare=())

    assert pruned == Pruned(1, "call4.relay: Permission denied")
    assert names(tmp_path) == ["call1.relay", "call3.relay", "call4.relay"]


@pytest.mark.parametrize("lost", ["file", "folder"])
def test_a_file_that_was_removed_is_noticed_by_the_next_write_and_at_the_end(lost: str, tmp_path: Path) -> None:
    file = RecordingFile(tmp_path / "calls", CALL)
    file.append(b"x")
    if lost == "folder":
        shutil.rmtree(tmp_path / "calls")
    else:
        file.path.unlink()

    with pytest.raises(FileNotFoundError, match="was removed"):
        file.append(b"y")
    with pytest.raises(FileNotFoundError, match="was removed"):
        file.close(keep=True)


def test_a_folder_that_has_moved_takes_its_open_files_along(tmp_path: Path) -> None:
    file = RecordingFile(tmp_path / "calls", CALL)
    file.append(b"x")
    (tmp_path / "calls").rename(tmp_path / "moved")
    (tmp_path / "calls").symlink_to(tmp_path / "moved")
    file.append(b"y")
    file.close(keep=True)

    assert (tmp_path / "moved" / f"{CALL}.relay").read_bytes() == b"xy"


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_what_has_the_name_of_a_recording_already_is_left_as_it_is(kind: str, tmp_path: Path) -> None:
    there, target = tmp_path / f"{CALL}.relay", tmp_path / "of others"
    if kind == "file":
        there.write_bytes(b"theirs")
    elif kind == "folder":
        there.mkdir()
    else:
        there.symlink_to(target)
        if kind == "link":
            target.write_bytes(b"theirs")
    path = made(tmp_path, CALL)

    assert path.name == f"{CALL}-2.relay"
    assert not target.exists() or target.read_bytes() == b"theirs"
    assert kind != "file" or there.read_bytes() == b"theirs"


def test_a_recording_that_is_kept_has_reached_the_disk_and_so_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def sync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", sync)
    made(tmp_path / "calls", CALL)
    assert synced == [f"{CALL}.relay", "calls"]
    RecordingFile(tmp_path / "calls", "other").close(keep=False)

    assert synced == [f"{CALL}.relay", "calls"]


def test_files_that_are_no_recordings_are_left_alone(tmp_path: Path) -> None:
    strange = ["notes.txt", "a_b.relay", f"{CALL}.relay.bak"]
    for name in strange:
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "link.relay").symlink_to(tmp_path / "notes.txt")

    assert prune(tmp_path, max_bytes=0, keep_s=DAY_S, spare=()) == Pruned(0)
    assert names(tmp_path) == sorted([*strange, "link.relay"])


def test_erasing_a_call_removes_all_its_files_and_no_other(tmp_path: Path) -> None:
    for call_id in (CALL, CALL, "other", CALL):
        made(tmp_path, call_id)

    assert [path.name for path in erase(tmp_path, CALL)] == [f"{CALL}-2.relay", f"{CALL}-3.relay", f"{CALL}.relay"]
    assert names(tmp_path) == ["other.relay"]
    assert erase(tmp_path, CALL) == []


def test_a_folder_that_is_not_there_yet_has_nothing_to_remove(tmp_path: Path) -> None:
    assert prune(tmp_path / "none", max_bytes=0, keep_s=0, spare=()) == Pruned(0)
    assert erase(tmp_path / "none", CALL) == []


def test_the_calls_of_a_folder_are_known_by_when_their_newest_file_was_written(tmp_path: Path) -> None:
    for call_id, age_s in ((CALL, 0.0), ("b", 40.0), (CALL, 30.0)):
        made(tmp_path, call_id, age_s=age_s)
    (tmp_path / "notes.txt").touch()
    found = recorded_calls(tmp_path)

    assert {call_id: round(time.time() - at) for call_id, at in found.items()} == {CALL: 0, "b": 40}
    assert recorded_calls(tmp_path / "none") == {}


def test_a_recording_that_is_gone_between_two_looks_does_not_keep_the_others_from_being_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that writes removes files while others list them."""
    for call_id in ("gone", "stays"):
        (tmp_path / f"{call_id}.relay").write_bytes(b"x")
    scandir = os.scandir

    def scanned(folder: Path) -> list[os.DirEntry[str]]:
        found = list(scandir(folder))
        (tmp_path / "gone.relay").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(os, "scandir", scanned)

    assert list(recorded_calls(tmp_path)) == ["stays"]
