"""Runs `relay report`: says what a recorded call was like, and erases the recordings of a call."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from relay.commands import WrongUse
from relay.config import RecordConfig
from relay.errors import NotARecording
from relay.record.event_log import event_log
from relay.record.folder import erase, folder_of
from relay.record.keys import KEY_BYTES, RecordKey, parse_keys
from relay.record.recorded_call import RecordedCall, read_call
from relay.record.sides import CallSides
from relay.record.stereo import write_stereo
from relay.record.summary import summarise
from relay.record.verdict import WORST, moments, verdict
from relay.secrets import SecretSource
from relay.toml_table import parse_toml, read_table


def report(files: Sequence[Path], wav: Path | None, *, as_json: bool, as_text: bool) -> int:
    """Print what the call in these files was like; write its sound to `wav`, if given. Raises ConfigError, WrongUse."""
    call = _read(files)
    sides = CallSides(call)
    if wav is not None:
        _write(wav, sides)
    if as_json:
        click.echo(json.dumps(_as_json(call, sides)))
    elif as_text:
        for line in event_log(call):
            click.echo(line)
    elif wav is None:
        for sentence in verdict(call, summarise(call, sides)):
            click.echo(sentence)
    else:
        click.echo(f"written: {wav}")
    return 0


def erase_call(call_id: str, config_file: Path) -> int:
    """Remove the recordings of a call; 1 if there are none. Raises ConfigError, and WrongUse where it cannot."""
    table = read_table(str(config_file), "record", parse_toml(config_file).get("record", {}), RecordConfig)
    folder = folder_of(table.dir, os.environ)
    try:
        erased = erase(folder, call_id)
    except OSError as error:
        raise WrongUse(f"{error.filename or folder}: cannot be erased: {error.strerror}") from None
    for path in erased:
        click.echo(f"erased: {path}")
    if not erased:
        click.echo(f"relay: no recording of {call_id} in {folder}", err=True)
    return 0 if erased else 1


def _as_json(call: RecordedCall, sides: CallSides) -> dict[str, object]:
    summary = summarise(call, sides)
    worst = [moment.as_json() for moment in moments(call, summary)[:WORST]]
    return {**asdict(summary), "verdict": verdict(call, summary), "worst": worst}


def _read(files: Sequence[Path]) -> RecordedCall:
    try:
        return read_call(files, record_keys())
    except NotARecording as error:
        raise WrongUse(str(error)) from None
    except OSError as error:
        raise WrongUse(f"{error.filename}: cannot be read: {error.strerror}") from None


def record_keys() -> tuple[RecordKey, ...]:
    """The keys of RELAY_RECORD_KEY, where it is set. Raises ConfigError, and WrongUse for what is no key."""
    text = SecretSource("relay", os.environ).find("RELAY_RECORD_KEY", "record.key_file", "")
    try:
        return parse_keys(text) if text else ()
    except ValueError as error:
        raise WrongUse(f"a key of RELAY_RECORD_KEY {error}, must be {KEY_BYTES} bytes in Base64") from None


def _write(wav: Path, sides: CallSides) -> None:
    try:
        write_stereo(wav, sides)
    except OSError as error:
        raise WrongUse(f"--wav {wav}: cannot be written: {error.strerror}") from None
