"""The commands as one program: what there is, what its help loads, and the status of wrong use."""

import subprocess
import sys

import pytest

from relay import __version__
from relay.cli import main
from tests.support.commands import relay


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


def test_commands_load_only_their_own_part_of_the_program() -> None:
    code = "import sys, relay.cli; print([m for m in ('trio', 'numpy', 'quart', 'onnxruntime') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "[]\n"


def test_the_garbage_collector_rests_until_the_command_is_loaded() -> None:
    code = """if True:
        import gc, sys
        from relay.cli import main, run
        from relay.cli.options import finish

        @main.command()
        def look():
            loading = gc.isenabled()
            finish(lambda: print(loading, gc.isenabled(), gc.get_freeze_count() > 0))

        sys.argv[1:] = ["look"]
        run()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "False True True\n"
