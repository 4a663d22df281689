"""What only the file does: its place, its mode, what survives, what cannot be opened."""

import os
import resource
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relay.state.backend import Claim
from relay.state.sqlite import SqliteBackend, file_of


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
    SqliteBackend("gone", tmp_path / "relay.db", uptime=lambda: now).beat()
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
