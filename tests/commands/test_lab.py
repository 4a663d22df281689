"""`relay lab`: what it prints, what it replays, and what it refuses."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from relay.standin.lab import LinkConditions, NetworkEvent, Schedule, scheduled
from tests.support.commands import one_line, relay
from tests.support.daemons import RELAY, environment


def run_until_told(file: Path, words: str) -> tuple[str, list[str], int, str]:
    """The first line, all lines until one holds the words, the exit status, what was written to standard error."""
    command = [*RELAY, "lab", "--listen", "0", "--target", "localhost:9", "--profile", "train", "--schedule", str(file)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        first = run.stdout.readline()
        told: list[str] = []
        while not told or words not in told[-1]:
            told.append(run.stdout.readline())
            assert told[-1]
        run.send_signal(signal.SIGINT)
        rest, errors = run.communicate(timeout=60)
    return first, [*told, *rest.splitlines()], run.returncode, errors


def test_it_says_what_happens_and_when_and_ends_on_a_signal(tmp_path: Path) -> None:
    file = tmp_path / "schedule.json"
    file.write_text(
        Schedule(
            LinkConditions(delay_ms=5), (NetworkEvent(0.25, "stall", 1.5), NetworkEvent(0.5, "drop")), 60
        ).to_json()
    )
    first, told, status, errors = run_until_told(file, "drop")

    assert first.startswith("lab at 127.0.0.1:")
    assert [line.split("s  ", 1)[1].strip() for line in told[1:3]] == ["stall for 1.5 s (0)", "drop (0)"]
    assert told[-1] == "0 connections, 0 refused, 0 bytes up, 0 bytes down"
    assert (status, errors) == (0, "")


def test_a_schedule_that_is_not_there_is_written(tmp_path: Path) -> None:
    file = tmp_path / "schedule.json"
    run_until_told(file, "seed 1")

    assert Schedule.from_json(file.read_text()) == scheduled("train", 1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--target", "nowhere"], "--target nowhere: must be HOST:PORT"),
        (["--target", "localhost:0"], "must be HOST:PORT"),
        (["--target", "localhost:99999"], "must be HOST:PORT"),
        (["--target", "localhost:9", "--profile", "moon"], "--profile moon: must be one of clean, home"),
        (["--target", "localhost:9", "--schedule", "/nowhere/x"], "--schedule /nowhere/x: "),
    ],
)
def test_wrong_use_is_status_2_and_one_line(arguments: list[str], told: str) -> None:
    done = relay("lab", *arguments)

    assert done.exit_code == 2
    assert told in one_line(done)


def test_a_wrong_schedule_is_wrong_use(tmp_path: Path) -> None:
    file = tmp_path / "schedule.json"
    file.write_text("{}x")
    done = relay("lab", "--target", "localhost:9", "--schedule", str(file))

    assert done.exit_code == 2
    assert "not a schedule" in one_line(done)


def test_a_taken_port_is_wrong_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = relay("lab", "--listen", str(taken.getsockname()[1]), "--target", "localhost:9")

    assert done.exit_code == 2
    assert "--listen" in one_line(done)
