"""What only the file does: its place, its mode, what survives, what cannot be opened."""

import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
import structlog

from relay.state import sqlite
from relay.state.backend import Claim
from relay.state.sqlite import WIPE_EVERY_S, SqliteBackend, file_of


@pytest.mark.parametrize(
    ("path", "environ", "file"),
    [
        ("", {"STATE_DIRECTORY": "/var/lib/relay"}, "/var/lib/relay/relay.db"),
        ("", {"STATE_DIRECTORY": "/var/lib/relay:/var/lib/other"}, "/var/lib/relay/relay.db"),
        ("", {}, "state/relay.db"),
        ("/srv/calls.db", {"STATE_DIRECTORY": "/var/lib/relay"}, "/srv/calls.db"),
        ("here/calls.db", {}, "here/calls.db"),
    ],
)
def test_a_file_without_a_path_is_in_the_state_directory(path: str, environ: dict[str, str], file: str) -> None:
    assert file_of(path, environ) == Path(file)


def test_only_the_user_of_the_relay_can_read_any_of_its_files(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        backend = SqliteBackend("one", tmp_path / "state" / "relay.db")
        backend.save("CA1", b"private", time.time() + 60)
    finally:
        os.umask(former)
    files = list((tmp_path / "state").iterdir())

    assert {file.name for file in files} == {"relay.db", "relay.db-wal", "relay.db-shm"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    backend.close()


def test_a_file_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    path.touch(mode=0o644)
    backend = SqliteBackend("one", path)
    backend.beat()
    backend.close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


KILLED = """
import os, sys, time
from pathlib import Path
from relay.state.sqlite import SqliteBackend
backend = SqliteBackend("killed", Path(sys.argv[1]), lease_s=0.01)
for number in range(50):
    backend.save("CA1", b"record %d" % number, time.time() + 600)
os.kill(os.getpid(), 9)
"""


def test_what_was_saved_survives_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=60)
    time.sleep(0.05)
    backend = SqliteBackend("next", path)

    assert killed.returncode == -9
    assert backend.take("CA1") == Claim(b"record 49", taken=True)
    backend.close()


def test_rows_that_expired_are_removed_from_the_file(tmp_path: Path) -> None:
    now = 1000.0
    backend = SqliteBackend("one", tmp_path / "relay.db", uptime=lambda: now)
    there = backend.now()
    for number in range(100):
        backend.save(f"CA{number}", b"x", there + number)
    gone = SqliteBackend("gone", tmp_path / "relay.db", uptime=lambda: now)
    gone.beat()
    gone.close()
    now += 50
    backend.beat()
    backend.close()

    with sqlite3.connect(tmp_path / "relay.db") as file:
        assert file.execute("SELECT count(*) FROM calls").fetchone() == (49,)
        assert file.execute("SELECT owner FROM owners").fetchall() == [("one",)]
    file.close()


def test_after_an_error_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    backend = SqliteBackend("one", path)
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        backend.beat()
    path.rmdir()

    assert backend.save("CA1", b"now", time.time() + 60)
    backend.close()


def test_another_process_that_writes_is_waited_for_no_longer_than_a_second(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    backend = SqliteBackend("one", path)
    backend.beat()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        backend.save("CA1", b"x", time.time() + 60)
    other.execute("COMMIT")

    assert backend.save("CA1", b"x", time.time() + 60)
    other.close()
    backend.close()


def test_a_disk_that_is_full_costs_what_was_to_be_written_and_no_more(tmp_path: Path) -> None:
    backend = SqliteBackend("one", tmp_path / "relay.db")
    assert backend.save("CA1", b"before", time.time() + 60)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, former[1]))
    try:
        for _ in range(3):
            with pytest.raises((sqlite3.OperationalError, OSError)):
                backend.save("CA2", b"x" * 10_000, time.time() + 60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)

    assert backend.load("CA1") == b"before"
    assert backend.load("CA2") is None
    assert backend.save("CA2", b"after", time.time() + 60)
    backend.close()


# -- what can befall the file


def broken_header(path: Path) -> None:
    path.write_bytes(b"something else entirely" * 100)


def broken_page(path: Path) -> None:
    """The header and the schema are whole; a page of a table is not."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\x63" * (path.stat().st_size - 4096))


def broken_by_power_loss(path: Path) -> None:
    path.write_bytes(bytes(8192))


@pytest.mark.parametrize("breaks", [broken_header, broken_page, broken_by_power_loss])
def test_a_broken_file_is_renamed_and_said_and_a_new_one_begun(breaks: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    with closing(SqliteBackend("one", path)) as backend:
        backend.save("CA1", b"x" * 10_000, backend.now() + 60)
    breaks(path)
    before = path.read_bytes()
    with closing(SqliteBackend("two", path)) as backend, structlog.testing.capture_logs() as logs:
        with pytest.raises(sqlite3.DatabaseError):
            backend.take("CA1")

        assert (tmp_path / "relay.db.broken").read_bytes() == before
        assert backend.save("CA2", b"after", backend.now() + 60)
        assert backend.load("CA2") == b"after"
    (line,) = logs
    assert (line["event"], line["file"], line["renamed_to"]) == ("state.set_aside", str(path), "relay.db.broken")


def test_a_broken_file_that_another_process_has_set_aside_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    with closing(SqliteBackend("one", path)) as one, closing(SqliteBackend("two", path)) as two:
        one.beat()
        two.beat()
        broken_header(path)
        (tmp_path / "relay.db-wal").write_bytes(b"")
        for backend in (one, two):
            with pytest.raises((sqlite3.DatabaseError, OSError)):
                backend.beat()
        assert one.save("CA1", b"new", one.now() + 60)

        assert two.load("CA1") == b"new"


def test_the_database_of_another_program_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE calls (number TEXT)")
        other.commit()
    path.chmod(0o644)
    before = path.read_bytes()
    with closing(SqliteBackend("one", path)) as backend:
        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError, match="another program's"):
                backend.beat()

    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (before, 0o644)
    assert [file.name for file in tmp_path.iterdir()] == ["other.db"]


@pytest.mark.parametrize("lost", ["relay.db", "relay.db-wal", "."])
def test_a_file_that_is_removed_while_it_is_open_is_noticed_and_made_again(lost: str, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    path = folder / "relay.db"
    with closing(SqliteBackend("one", path)) as one, closing(SqliteBackend("two", path)) as two:
        one.save("CA1", b"before", one.now() + 60)
        if lost == ".":
            shutil.rmtree(folder)
        else:
            (folder / lost).unlink()
        with pytest.raises(OSError, match="removed or replaced"):
            one.beat()

        assert one.save("CA1", b"after", one.now() + 60)
        assert two.load("CA1") == b"after"


def test_a_file_that_cannot_be_written_costs_operations_until_it_can(tmp_path: Path) -> None:
    mounted = shutil.which("mount") and os.geteuid() == 0
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=False).returncode:
        pytest.skip("no right to mount a file system")
    try:
        with closing(SqliteBackend("one", tmp_path / "relay.db")) as backend:
            backend.beat()
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        with closing(SqliteBackend("two", tmp_path / "relay.db")) as backend:
            with pytest.raises((sqlite3.OperationalError, OSError)):
                backend.beat()
            subprocess.run(["mount", "-o", "remount,rw", tmp_path], check=True)
            assert backend.save("CA1", b"x", backend.now() + 60)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


# -- what is left of what was said


def spoken(number: int, length: int) -> bytes:
    return b"%d " % number + b"a secret of the caller " * length


def files_tell(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if b"a secret of" in file.read_bytes()]


@pytest.mark.parametrize("seed", range(5))
def test_what_was_said_in_a_call_is_in_no_file_once_its_words_are_gone(seed: int, tmp_path: Path) -> None:
    """Records of every length, which grow, are written anew, and end in turn, as with many calls."""
    dice, now = Random(seed), 1000.0
    with closing(SqliteBackend("one", tmp_path / "relay.db", uptime=lambda: now)) as backend:
        live: dict[str, int] = {}
        for number in range(400):
            sid = f"CA{dice.randrange(30)}"
            live[sid] = live.get(sid, 0) + dice.randrange(40)
            backend.save(sid, spoken(number, live[sid]), backend.now() + 60)
            if dice.random() < 0.1:
                ended = dice.choice(sorted(live))
                del live[ended]
                backend.save(ended, b"over", backend.now() + 60)
        assert files_tell(tmp_path)
        for index, sid in enumerate(sorted(live)):
            backend.save(sid, b"over", backend.now() + 60) if index % 2 else backend.delete(sid)
        now += WIPE_EVERY_S
        backend.beat()

        assert files_tell(tmp_path) == []


def test_a_process_that_ends_leaves_nothing_of_the_calls_that_are_over(tmp_path: Path) -> None:
    with closing(SqliteBackend("one", tmp_path / "relay.db")) as backend:
        backend.beat()
        backend.save("CA1", spoken(1, 100), backend.now() + 60)
        backend.save("CA1", b"over", backend.now() + 60)
        backend.retire()

        assert files_tell(tmp_path) == []


def test_nor_are_the_words_of_a_call_whose_process_was_killed_once_its_record_expired(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    subprocess.run([sys.executable, "-c", KILLED.replace("record", "a secret of"), str(path)], check=False)
    assert files_tell(tmp_path)
    later_s = time.clock_gettime(time.CLOCK_BOOTTIME) + 601
    with closing(SqliteBackend("next", path, uptime=lambda: later_s)) as backend:
        backend.beat()

        assert files_tell(tmp_path) == []


def test_the_file_is_written_anew_no_more_often_than_every_ten_seconds(tmp_path: Path) -> None:
    now = 1000.0
    with closing(SqliteBackend("one", tmp_path / "relay.db", uptime=lambda: now)) as backend:
        lengths = []
        for _ in range(20):
            backend.save("CA1", b"x", backend.now() + 60)
            backend.beat()
            lengths.append((tmp_path / "relay.db-wal").stat().st_size)
            now += 0.5

    assert [length == 0 for length in lengths] == [True] + [False] * 19


def test_where_nobody_tells_which_start_of_the_machine_it_is_each_process_has_a_clock_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BOOT_ID", tmp_path / "nothing")
    clocks = {SqliteBackend(name, tmp_path / "relay.db")._boot_id for name in ("one", "two")}

    assert len(clocks) == 2
