"""The commands that look at calls refuse what contradicts itself, and need to be told of which call."""

import pytest

from tests.support.commands import relay


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--erase", "x", "FILE"],
        ["FILE", "--text", "--json"],
        ["--erase", "x", "--json"],
        ["--erase", "x", "--wav", "F"],
        ["--erase", "x", "--html", "F"],
        ["FILE", "--html", "-", "--json"],
    ],
)
def test_options_that_contradict_each_other_are_wrong_use(arguments: list[str]) -> None:
    assert relay("report", *arguments).exit_code == 2


@pytest.mark.parametrize("command", ["tail", "replay"])
def test_a_call_must_be_named(command: str) -> None:
    done = relay(command)

    assert done.exit_code == 2
    assert "Missing argument" in done.stderr
