"""The units under deploy/systemd are ones that systemd takes, and that fit the program."""

import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from relay.config import ServerConfig
from relay.net.listen import BACKLOG, INHERITED_NAME

UNITS = Path(__file__).resolve().parent.parent / "deploy" / "systemd"


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd not installed")
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/relay/.venv/bin/relay", sys.executable)
        (tmp_path / unit.name).write_text(text)
    units = [str(tmp_path / name) for name in ("relay.service", "relay.socket")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, [line for line in done.stderr.splitlines() if str(tmp_path) in line]) == (0, [])


def test_what_may_pass_is_tried_again_without_end_and_a_wrong_configuration_is_not() -> None:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # as the library's own text shows it
    unit.read(UNITS / "relay.service")

    assert (unit["Unit"]["StartLimitIntervalSec"], unit["Service"]["Restart"]) == ("0", "always")
    assert unit["Service"]["RestartPreventExitStatus"] == "2"


def test_a_reload_judges_the_file_of_the_daemon_before_the_daemon_reads_it() -> None:
    """Each line of a key that stands twice is a step; ConfigParser keeps the last of them only."""
    lines = (UNITS / "relay.service").read_text().splitlines()
    start, check, reload = (line.partition("=")[2] for line in lines if line.startswith(("ExecStart=", "ExecReload=")))

    assert check == start.replace(" serve ", " check ")
    assert reload == "/bin/kill -HUP $MAINPID"


def test_the_socket_is_the_one_that_the_relay_looks_for() -> None:
    unit = ConfigParser()
    unit.read(UNITS / "relay.socket")
    server = ServerConfig()

    assert unit["Socket"]["ListenStream"] == f"{server.host}:{server.port}"
    assert unit["Socket"]["FileDescriptorName"] == INHERITED_NAME
    assert unit["Socket"]["Backlog"] == str(BACKLOG)
