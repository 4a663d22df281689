"""The commands: exit status, and what is printed where."""

import subprocess
import sys
from pathlib import Path

import pytest

from relay import __version__
from relay.cli import main
from relay.commands import call
from tests.support.commands import one_line, relay
from tests.support.daemons import settings


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


@pytest.mark.parametrize("group", [[], ["probe"]])
def test_what_a_command_does_is_said_in_full_in_the_list_of_commands(group: list[str]) -> None:
    lines = relay(*group, "--help").stdout.partition("Commands:")[2].splitlines()[1:]

    assert len(lines) > 1
    assert [line for line in lines if not line.endswith(".") or line.endswith("...") or len(line) > 80] == []


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["serve", "--nonsense"], ["call"], ["assistant", "--script", "file"], ["assistant", "x"]],
)
def test_wrong_use_is_status_2(arguments: list[str]) -> None:
    assert relay(*arguments).exit_code == 2


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_wrong_configuration_is_status_2_and_one_line(command: str, config: Path) -> None:
    config.write_text(settings(max_calls=0))
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


def test_commands_load_only_their_own_part_of_the_program() -> None:
    code = "import sys, relay.cli; print([m for m in ('trio', 'numpy', 'quart', 'onnxruntime') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "[]\n"


def test_an_interrupted_command_says_so_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object, **__: object) -> None:
        raise BaseExceptionGroup("nursery", [KeyboardInterrupt()])

    monkeypatch.setattr(call, "place_call", interrupted)
    done = relay("call", "http://127.0.0.1:9")

    assert (done.exit_code, done.output) == (1, "Aborted!\n")
