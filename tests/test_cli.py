"""The commands: exit status, and what is printed where."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from relay import __version__
from relay.cli import main
from relay.commands import call
from tests.support.commands import one_line, relay
from tests.support.daemons import RELAY, environment, settings
from tests.support.recordings import sine, wav


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(settings())
    return path


def test_the_version_is_told() -> None:
    assert relay("--version").stdout == f"relay, version {__version__}\n"


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_has_help(command: str) -> None:
    done = relay(command, "--help")

    assert done.exit_code == 0
    assert done.stdout.startswith("Usage:")


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["serve", "--nonsense"], ["call"], ["assistant", "--script", "file"], ["assistant", "x"]],
)
def test_wrong_use_is_status_2(arguments: list[str]) -> None:
    assert relay(*arguments).exit_code == 2


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_wrong_configuration_is_status_2_and_one_line(command: str, config: Path) -> None:
    config.write_text(config.read_text() + "\n[limits]\nmax_calls = 0\n")
    done = relay(command, "--config", str(config))

    assert done.exit_code == 2
    line = one_line(done)
    assert str(config) in line
    assert "limits.max_calls" in line


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_missing_secret_is_status_2_and_one_line(command: str, config: Path) -> None:
    done = relay(command, "--config", str(config), VAPI_API_KEY="")

    assert done.exit_code == 2
    assert "VAPI_API_KEY" in one_line(done)


def test_a_call_to_nobody_is_a_failure_that_was_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = relay("call", f"http://127.0.0.1:{port}", "--json")

    assert done.exit_code == 1
    assert json.loads(done.stdout)["end"] == "webhook_failed"


@pytest.mark.parametrize("url", ["nowhere", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "wss://127.0.0.1"])
def test_a_call_to_what_is_no_address_is_wrong_use(url: str) -> None:
    done = relay("call", url)

    assert done.exit_code == 2
    assert "URL" in one_line(done)


@pytest.mark.parametrize(
    "command",
    [["call", "http://127.0.0.1:9", "--wav"], ["assistant", "--port", "0", "--script", "file", "--audio"]],
    ids=lambda it: it[0],
)
@pytest.mark.parametrize("content", [b"no audio", wav(np.zeros(0), 8000), wav(sine(8000), 8000)[:999]])
def test_a_recording_that_is_none_is_wrong_use(tmp_path: Path, command: list[str], content: bytes) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    done = relay(*command, str(path))

    assert done.exit_code == 2
    assert f"{command[-1]}: {path}: " in one_line(done)


def test_an_assistant_on_a_taken_port_is_wrong_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = relay("assistant", "--port", str(taken.getsockname()[1]))

    assert done.exit_code == 2
    assert "--port" in one_line(done)


def test_commands_load_only_their_own_part_of_the_program() -> None:
    code = "import sys, relay.cli; print([m for m in ('trio', 'numpy', 'quart', 'onnxruntime') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "[]\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_assistant_runs_until_a_signal(number: signal.Signals) -> None:
    command = [*RELAY, "assistant", "--port", "0"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        first = run.stdout.readline()
        run.send_signal(number)
        _, errors = run.communicate(timeout=60)

    assert first.startswith("assistant at http://127.0.0.1:")
    assert (run.returncode, errors) == (0, "")


def test_an_interrupted_command_says_so_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object, **__: object) -> None:
        raise BaseExceptionGroup("nursery", [KeyboardInterrupt()])

    monkeypatch.setattr(call, "place_call", interrupted)
    done = relay("call", "http://127.0.0.1:9")

    assert (done.exit_code, done.output) == (1, "Aborted!\n")
