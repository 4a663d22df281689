"""The commands: exit status, and what is printed where."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from relay import __version__
from relay.commands import call, serve
from tests.support.commands import one_line, relay
from tests.support.daemons import AUTH_TOKEN, RELAY, VAPI_KEY, settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(settings())
    return path


def test_python_m_relay_is_the_same_as_relay() -> None:
    done = subprocess.run([*RELAY, "--version"], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == relay("--version").stdout == f"relay, version {__version__}\n"


@pytest.mark.parametrize("command", ["serve", "check", "assistant", "call"])
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


def test_an_address_that_is_not_ours_is_status_2_and_one_line(config: Path) -> None:
    config.write_text(config.read_text().replace("[server]", '[server]\nhost = "192.0.2.1"'))
    done = relay("serve", "--config", str(config))

    assert done.exit_code == 2
    assert "server.host is '192.0.2.1'" in one_line(done)


@pytest.mark.parametrize("command", ["serve", "check"])
def test_an_apology_that_cannot_be_played_is_status_2_and_one_line(command: str, config: Path) -> None:
    config.write_text(config.read_text() + '\n[reconnect]\napology_file = "/nowhere.wav"\n')
    done = relay(command, "--config", str(config))

    assert done.exit_code == 2
    assert f"{config}: reconnect.apology_file is '/nowhere.wav'" in one_line(done)


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_missing_secret_is_status_2_and_one_line(command: str, config: Path) -> None:
    done = relay(command, "--config", str(config), VAPI_API_KEY="")

    assert done.exit_code == 2
    assert "VAPI_API_KEY" in one_line(done)


def test_a_port_that_is_taken_is_status_2_and_one_line(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config.write_text(settings(port=taken.getsockname()[1]))
        done = relay("serve", "--config", str(config))

    assert done.exit_code == 2
    assert "server.port is" in one_line(done)


def test_check_prints_the_effective_configuration_and_no_secret(config: Path) -> None:
    done = relay("check", "--config", str(config))

    assert (done.exit_code, done.stderr) == (0, "")
    assert 'server.public_url = "https://relay.example.com"' in done.stdout.splitlines()
    assert "vad.threshold = 0.5" in done.stdout.splitlines()
    assert AUTH_TOKEN not in done.stdout
    assert VAPI_KEY not in done.stdout


def test_check_prints_one_json_object_if_asked(config: Path) -> None:
    done = relay("check", "--json", "--config", str(config))
    printed = json.loads(done.stdout)

    assert printed["ok"] is True
    assert printed["config"]["server"]["public_url"] == "https://relay.example.com"
    assert AUTH_TOKEN not in done.stdout


def test_commands_load_only_their_own_part_of_the_program() -> None:
    code = "import sys, relay.cli; print([m for m in ('trio', 'numpy', 'quart', 'onnxruntime') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "[]\n"


def test_a_crash_of_the_daemon_is_status_1_and_the_last_log_line_says_why(
    config: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def crash(*_: object) -> None:
        raise RuntimeError("why")

    monkeypatch.setattr(serve, "run_daemon", crash)
    done = relay("serve", "--config", str(config))
    line = json.loads(capfd.readouterr().err.splitlines()[-1])

    assert done.exit_code == 1
    assert line["event"] == "daemon.failed"
    assert "why" in json.dumps(line)


def test_an_interrupted_command_says_so_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object, **__: object) -> None:
        raise BaseExceptionGroup("nursery", [KeyboardInterrupt()])

    monkeypatch.setattr(call, "place_call", interrupted)
    done = relay("call", "http://127.0.0.1:9")

    assert (done.exit_code, done.output) == (1, "Aborted!\n")
