"""`relay call` places one simulated Twilio call."""

import json
from functools import partial
from pathlib import Path

import click
import trio

from relay.commands import WrongUse, check_address
from relay.errors import FormatMismatch
from relay.scenario.play import play_scenario
from relay.scenario.screen import open_screen
from relay.scenario.script import BadScenario, read_scenario
from relay.standin.phone import Cue, PhoneOptions, PhoneResult, mulaw_of_wav, place_call


def call(
    url: str, wav: Path | None, record: Path | None, seconds: float | None, options: PhoneOptions, *, as_json: bool
) -> int:
    """Place the call, say the recording, print what came of it; 1 if the call or the relay did not do well.

    Raises WrongUse when `url` is no address, `wav` cannot be read or `record` cannot be written.
    """
    check_address(url)
    _check_record(record)
    try:
        says = [] if wav is None else [Cue(mulaw_of_wav(wav))]
    except (OSError, FormatMismatch) as error:
        raise WrongUse(f"--wav: {error}") from None
    result = trio.run(partial(place_call, url, says, options=options, seconds=seconds, record=record))
    click.echo(json.dumps(result.as_json()) if as_json else _as_lines(result))
    return 0 if result.ok else 1


def call_by_script(
    url: str, file: Path, record: Path | None, seconds: float | None, options: PhoneOptions, *, as_json: bool
) -> int:
    """Play the scenario, a line for each step, or one JSON object; 1 if a step, the call or the relay failed.

    Raises WrongUse when `url` is no address, the scenario cannot be played or `record` cannot be written: then no call
    is placed.
    """
    check_address(url)
    try:
        scenario = read_scenario(file)
    except BadScenario as error:
        raise WrongUse(f"--scenario: {error}") from None
    _check_record(record)
    screen = open_screen(as_json=as_json)
    screen.open(str(file), scenario.title)
    playing = partial(play_scenario, url, scenario, screen, options=options, seconds=seconds, record=record)
    try:
        result = trio.run(playing)
    finally:
        screen.close()
    if as_json:
        click.echo(json.dumps({"scenario": str(file), **result.as_json()}))
    screen.conclude(result)
    return 0 if result.ok else 1


def _check_record(record: Path | None) -> None:
    """Now, and not when the call is over and would be lost. Leaves an empty file, or what is there."""
    if record is None:
        return
    try:
        record.open("ab").close()
    except OSError as error:
        raise WrongUse(f"--record {record}: cannot be written: {error.strerror}") from None


def _as_lines(result: PhoneResult) -> str:
    lines = [f"{name}: {value}" for name, value in result.as_json().items() if value not in ([], None)]
    return "\n".join(lines)
