"""What would end or confuse another process: signals without a meaning, and closed standard descriptors."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio

from relay.daemon.process import IGNORED, shielded_process
from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.phone import open_phone
from tests.support.daemons import RELAY, VAPI_KEY, environment, running_daemon, settings
from tests.support.places import OPTIONS

SENDS_ITSELF = """
import os, sys
from relay.daemon.process import IGNORED, shielded_process
with shielded_process():
    for number in IGNORED:
        os.kill(os.getpid(), number)
    print("lives")
"""
OPENS = """
import os, sys
for number in map(int, sys.argv[1:]):
    os.close(number)
from relay.daemon.process import shielded_process
with shielded_process():
    number = os.open("/", os.O_RDONLY)
    same = {os.stat(fd).st_rdev == os.stat("/dev/null").st_rdev for fd in map(int, sys.argv[1:])}
    sys.exit(0 if number > 2 and same <= {True} else 1)
"""


def test_every_signal_is_ignored_that_means_nothing_to_the_daemon() -> None:
    done = subprocess.run([sys.executable, "-c", SENDS_ITSELF], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (0, "lives\n")


def test_signals_do_what_they_did_before_when_the_daemon_is_done() -> None:
    before = [signal.getsignal(number) for number in signal.valid_signals()]
    with shielded_process():
        assert [signal.getsignal(number) for number in IGNORED] == [signal.SIG_IGN] * len(IGNORED)

    assert [signal.getsignal(number) for number in signal.valid_signals()] == before


@pytest.mark.parametrize("closed", ["", "0", "1", "2", "0 2", "0 1 2"])
def test_what_is_opened_later_is_never_a_standard_descriptor(closed: str) -> None:
    done = subprocess.run([sys.executable, "-c", OPENS, *closed.split()], timeout=60, check=False)

    assert done.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
async def test_a_signal_that_changes_nothing_is_said_and_the_calls_go_on(number: signal.Signals) -> None:
    async with (
        open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone")) as assistant,
        running_daemon(settings(assistant.base_url)) as daemon,
        open_phone(daemon.url, OPTIONS) as phone,
    ):
        assert await phone.wait_heard(200)
        daemon.signal(number)
        with trio.fail_after(20):
            while not daemon.events_of("daemon.signal_ignored"):  # noqa: ASYNC110 - another process
                await trio.sleep(0.02)
        assert await phone.wait_heard(1000)

        assert [line["signal"] for line in daemon.events_of("daemon.signal_ignored")] == [number.name]
        assert (phone.end, phone.result().streams) == (None, 1)


async def test_a_signal_during_the_start_does_not_end_it(tmp_path: Path) -> None:
    """Which systemd would take for a clean end, and not start the next process."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    (tmp_path / "config.toml").write_text(settings(port=port))
    command = [sys.executable, "-m", "relay", "serve", "--config", str(tmp_path / "config.toml")]
    process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE, env=environment())
    assert process.stderr is not None
    log = b""
    while not ignores(process.pid, signal.SIGHUP):  # noqa: ASYNC110 - another process
        await trio.sleep(0.005)
    with trio.fail_after(60):
        while b"daemon.ready" not in log and process.poll() is None:
            process.send_signal(signal.SIGHUP)
            with trio.move_on_after(0.05):
                log += await process.stderr.receive_some()
    assert process.poll() is None
    process.terminate()
    assert await process.wait() == 0
    await process.stderr.aclose()


async def test_a_daemon_without_standard_descriptors_serves_and_writes_to_no_socket(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    (tmp_path / "config.toml").write_text(settings(port=port))
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "relay", "serve", "--config"]
    process = await trio.lowlevel.open_process([*command, str(tmp_path / "config.toml")], env=environment())
    try:
        with trio.fail_after(60):
            assert (await health(port)).status_code == 200
        assert standard_descriptors(process.pid) == ["/dev/null"] * 3
        process.terminate()
        assert await process.wait() == 0
    finally:
        process.kill()


async def health(port: int) -> httpx.Response:
    """What it says as soon as it answers."""
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        while True:
            try:
                return await client.get(f"http://127.0.0.1:{port}/health")
            except httpx.ConnectError:
                await trio.sleep(0.05)


def standard_descriptors(pid: int) -> list[str]:
    return [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)]


def ignores(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 1)])
def test_a_signal_while_the_daemon_starts_ends_it_before_anything_was_begun(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    os.mkfifo(config)
    command = [*RELAY, "serve", "--config", str(config)]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as process,
        config.open("w"),  # which returns when the daemon reads
    ):
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)

    assert process.returncode == status
    assert errors.strip() == ("" if number is signal.SIGTERM else "Aborted!")


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGSEGV])
async def test_a_signal_that_stands_for_a_crash_ends_the_daemon_at_once_and_says_nothing(
    number: signal.Signals,
) -> None:
    async with running_daemon(settings()) as daemon:
        said = daemon.log()
        daemon.signal(number)
        with trio.fail_after(20):
            assert await daemon.process.wait() == -number
        assert daemon.log() == said
