"""The stand-ins' commands offer what there is, and refuse options that do not go together."""

from typing import get_args

import click
import pytest

from relay.cli.simulated import assistant
from relay.standin.assistant.behaviour import ScriptName
from tests.support.commands import relay


def test_it_offers_every_script_that_there_is() -> None:
    (script,) = (option for option in assistant.params if option.name == "script")
    assert isinstance(script.type, click.Choice)
    assert tuple(script.type.choices) == get_args(ScriptName)


@pytest.mark.parametrize("arguments", [["--script", "file"], ["--script", "tone", "--audio", __file__]])
def test_the_script_file_and_a_file_go_together(arguments: list[str]) -> None:
    done = relay("assistant", *arguments)

    assert done.exit_code == 2
    assert "--audio and --script file go together" in done.stderr


def test_a_recording_and_a_scenario_do_not_go_together() -> None:
    done = relay("call", "http://127.0.0.1:9", "--scenario", __file__, "--wav", __file__)

    assert done.exit_code == 2
    assert "give --wav or --scenario" in done.stderr
