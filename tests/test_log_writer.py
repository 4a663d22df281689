"""The thread that writes the log: in order, never in the way, every loss told."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from relay import log_writer
from relay.log_writer import LogWriter


def test_lines_are_written_in_order_and_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lost: list[None] = []
    with path.open("wb") as file:
        writer = LogWriter(file.fileno(), lambda: lost.append(None))
        for number in range(1000):
            writer.write(f"line {number}")
        writer.close()

    assert path.read_text().splitlines() == [f"line {number}" for number in range(1000)]
    assert lost == []


def test_a_full_pipe_holds_nobody_up_and_what_is_lost_is_counted() -> None:
    """Nobody reads: the queue fills, later lines are dropped and counted, and write still returns."""
    reader, pipe = os.pipe()
    lost: list[None] = []
    writer = LogWriter(pipe, lambda: lost.append(None), lines=10)
    line = "x" * 65536
    for _ in range(100):
        writer.write(line)

    assert 80 <= len(lost) < 100
    drain = threading.Thread(target=lambda: list(iter(lambda: os.read(reader, 65536), b"")))
    drain.start()
    writer.close(timeout_s=60)
    os.close(pipe)
    drain.join()
    os.close(reader)


def test_a_closed_pipe_loses_lines_and_raises_nothing() -> None:
    reader, pipe = os.pipe()
    os.close(reader)
    lost: list[None] = []
    writer = LogWriter(pipe, lambda: lost.append(None))
    writer.write("a")
    writer.write("b")
    writer.close(timeout_s=60)
    os.close(pipe)

    assert len(lost) == 2


def test_a_file_that_does_not_block_gets_every_line() -> None:
    reader, pipe = os.pipe()
    os.set_blocking(pipe, False)
    received: list[bytes] = []
    drain = threading.Thread(target=lambda: received.extend(iter(lambda: os.read(reader, 65536), b"")))
    writer = LogWriter(pipe, lambda: None)
    for _ in range(10):
        writer.write("x" * 50_000)
    drain.start()
    writer.close(timeout_s=60)
    os.close(pipe)
    drain.join()
    os.close(reader)

    assert b"".join(received) == (b"x" * 50_000 + b"\n") * 10


def test_a_process_whose_standard_error_is_stuck_still_ends() -> None:
    """The thread is left inside its write; the interpreter must end all the same, and with its own exit status."""
    code = (
        "import sys; from relay.log_writer import LogWriter\n"
        "writer = LogWriter(2, lambda: None)\n"
        "for _ in range(100): writer.write('x' * 65536)\n"
        "writer.close(timeout_s=0.1); sys.exit(7)"
    )
    reader, pipe = os.pipe()
    process = subprocess.run([sys.executable, "-c", code], stderr=pipe, timeout=60, check=False)
    os.close(pipe)
    os.close(reader)

    assert process.returncode == 7


def test_now_and_then_the_writer_does_what_else_is_to_be_done_also_while_lines_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "LOOK_EVERY_S", 0.01)
    done = threading.Semaphore(0)
    with (tmp_path / "log").open("wb") as file:
        writer = LogWriter(file.fileno(), lambda: None, now_and_then=done.release)
        assert [done.acquire(timeout=10) for _ in range(3)] == [True] * 3
        while not done.acquire(blocking=False):
            writer.write("a line")
        writer.close()


def test_of_many_lines_those_that_come_close_together_are_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []

    def write(fd: int, data: bytes) -> int:
        writes.append(data)
        return len(data)

    monkeypatch.setattr("relay.log_writer.GATHER_S", 30.0)
    monkeypatch.setattr("relay.log_writer.AT_ONCE_BURST", 1.0)
    monkeypatch.setattr("relay.log_writer.AT_ONCE_PER_S", 0.0)
    monkeypatch.setattr(os, "write", write)
    writer = LogWriter(2, lambda: None)
    for number, line in enumerate(("first", "second"), start=1):
        writer.write(line)
        while len(writes) < number:
            time.sleep(0.001)
    for number in range(3):
        writer.write(f"line {number}")
    writer.close()

    assert writes == [b"first\n", b"second\n", b"line 0\nline 1\nline 2\n"]
