"""The commands that measure refuse options that do not go together, before they measure."""

import pytest

from tests.support.commands import relay


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--browsers", "--find-limit"], "give one of --find-limit, --ring, --browsers and --vad-cost"),
        (["--browsers", "--vad-cost"], "give one of"),
        (["--ring", "--find-limit"], "give one of"),
        (["--browsers", "--echo-loss-db", "30"], "--echo-loss-db is for calls by telephone"),
        (["--vad-cost", "--echo-loss-db", "0"], "--echo-loss-db is for calls by telephone"),
        (["--browsers", "--record"], "--record is for calls by telephone"),
        (["--write", "config.toml"], "--write needs --find-limit"),
        (["--vad-cost", "--rounds", "2"], "--rounds is for calls by telephone"),
    ],
)
def test_one_thing_is_measured_at_a_time(arguments: list[str], says: str) -> None:
    done = relay("bench", *arguments)

    assert done.exit_code == 2
    assert says in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--json"],
        ["a.wav", "--calibrate", "b.wav"],
        ["--calibrate", "b.wav", "--evaluate", "."],
        ["--calibrate", "b.wav", "--plot", "x.png"],
        ["--calibrate", "b.wav", "--noise-reduction"],
        ["a.wav", "--source", "speech"],
        ["a.wav", "--echo"],
        ["a.wav", "--decisions", "x.json"],
        ["--evaluate"],
        [".", "--evaluate", "--plot", "x.png"],
        [".", "--evaluate", "--write-cases", "x", "--decisions", "x.json"],
        [".", "--evaluate", "--decisions", "x.json", "--threshold", "0.6"],
        [".", "--evaluate", "--decisions", "x.json", "--model-rate", "8000"],
        ["a.wav", "--model-rate", "48000"],
        ["a.wav", "--threshold", "0.2"],
        ["a.wav", "--threshold", "much"],
    ],
)
def test_options_of_the_detector_that_make_no_sense_are_wrong_use(arguments: list[str]) -> None:
    assert relay("vad", *arguments).exit_code == 2
